"""Reads where a drive's cameras and LiDARs are, and how its cameras project."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from autolabel.contracts.drive import DriveDocument
from autolabel.contracts.errors import LogRefused
from autolabel.contracts.logs import CameraIntrinsics, Transform
from autolabel.cuboids.geometry import NEAREST, Array, Projection
from autolabel.cuboids.lifting import NotLifted
from autolabel.labels.detections import Box
from autolabel.logs.transforms import checked_transform

_MODELS = ("", "plumb_bob", "rational_polynomial")
# Coefficients of the rational polynomial: k1, k2, p1, p2, k3, k4, k5, k6.
_COEFFICIENTS = 8
_ROUNDS = 30
# How near they must come in the end, as a share of the focal length: less than a pixel.
_CLOSE = 5e-4
# The clouds of all LiDARs near a picture are in memory at once.
_MOST_LIDARS = 8
# The most cameras into whose pictures cuboids are projected.
_MOST_CAMERAS = 16
# The widest angle that a lens may show, as its tangent: 84° beside the axis. Farther points are taken to be there.
_WIDEST = 10.0
# How far up a camera's upright points in the vehicle's frame: less than 30° beside z.
_LEAST_UP = 0.86


class MountedCamera(NamedTuple):
    """A calibrated camera. `vehicle`: the name of the vehicle's frame; `to_camera` (4 x 4): from there to the camera's.

    `projection`: to an ideal picture, without the lens's distortion, whose pixel 0, 0 is at `corner`. `lens`: focal
    lengths, principal point and distortion, or None without one. `width`, `height`: of the stored pictures.
    """

    vehicle: str
    to_camera: Array
    projection: Projection
    corner: tuple[float, float]
    lens: tuple[float, ...] | None
    width: int
    height: int

    def ideal(self, box: Box) -> Box:
        """Return where a box (xyxy, pixels of the stored picture) is in the ideal picture."""
        left, top, right, bottom = _ideal(self.lens, box) if self.lens else box
        x, y = self.corner
        return left - x, top - y, right - x, bottom - y

    @property
    def intrinsics(self) -> Array:
        """Return the matrix (3 x 3) to pixels of the stored picture, from its ideal lens."""
        matrix = self.projection.matrix[:, :3].copy()
        matrix[:2, 2] += self.corner
        return matrix

    @property
    def eye(self) -> Array:
        """Return where all lines of sight meet, in the camera's frame: its origin, but for rectified stereo."""
        matrix = self.projection.matrix
        place: Array = -np.linalg.pinv(matrix[:, :3]) @ matrix[:, 3]
        return place

    def project(self, points: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Project points (..., 3) of the camera's frame to pixels (..., 2) of the stored picture.

        Also tells of each point whether it is ahead, and inside the angle that the lens can show. Those beside this
        angle are projected to its border, and those nearer than NEAREST as if they were there.
        """
        ahead = points[..., 2] >= NEAREST
        if self.lens is None:
            return self.projection.pixels(points), ahead
        x, y = np.moveaxis(points[..., :2] / np.maximum(points[..., 2:], NEAREST), -1, 0)
        radius, widest = np.hypot(x, y), _widest(self.lens)
        inside = radius <= widest
        scale = np.where(inside, 1.0, widest / np.maximum(radius, widest))
        x, y = x * scale, y * scale
        near, aside, down = _bent(self.lens, x, y)
        fx, fy, cx, cy = self.lens[:4]
        pixels: Array = np.stack([(x * near + aside) * fx + cx, (y * near + down) * fy + cy], axis=-1)
        return pixels, ahead & inside


class Rig:
    """The calibrated sensors of a drive."""

    def __init__(self, document: DriveDocument) -> None:
        self._cameras = document.cameras
        self._lidars = {name: _place(lidar.extrinsics) for name, lidar in document.lidars.items()}
        self._known: dict[str, MountedCamera | NotLifted] = {}

    def camera(self, name: str) -> MountedCamera | NotLifted:
        """Return a camera, or why it cannot be used."""
        if name not in self._known:
            camera = self._cameras[name]
            self._known[name] = _mounted(camera.intrinsics, _place(camera.extrinsics))
        return self._known[name]

    def cameras(self, vehicle: str) -> dict[str, MountedCamera]:
        """Return the cameras of a vehicle's frame that can be used: the first 16 by name."""
        cameras = ((name, self.camera(name)) for name in sorted(self._cameras))
        good = ((name, one) for name, one in cameras if isinstance(one, MountedCamera) and one.vehicle == vehicle)
        return dict(islice(good, _MOST_CAMERAS))

    def place(self, camera: str) -> Transform | None:
        """Return where a camera is in the vehicle's frame; None if its extrinsics have another form."""
        return _place(self._cameras[camera].extrinsics)

    def lidars(self, vehicle: str) -> dict[str, Array]:
        """Return the matrices (4 x 4) from the frames of the LiDARs to that of the vehicle: of the first 8 by name."""
        places = [(name, at) for name, at in sorted(self._lidars.items()) if at and at.parent == vehicle]
        return {name: matrix_of(at) for name, at in places[:_MOST_LIDARS]}


def matrix_of(place: Transform) -> Array:
    """Return the matrix (4 x 4) from the frame of a transform to its parent."""
    return matrix_at(np.array(place.translation), np.array(place.rotation))


def matrix_at(translation: Array, rotation: Array) -> Array:
    """Return the matrix (4 x 4) of a translation in metres and a quaternion x, y, z, w of length 1."""
    x, y, z, w = rotation
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    matrix: Array = np.eye(4)
    matrix[:3, :3] += 2 * (w * skew + skew @ skew)
    matrix[:3, 3] = translation
    return matrix


def quaternion_of(rotation: Array) -> tuple[float, float, float, float]:
    """Return the quaternion x, y, z, w of length 1, w not negative, of a rotation matrix (3 x 3)."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    # The eigenvector of the largest eigenvalue (Bar-Itzhack, 2000): stable for all rotations.
    symmetric = np.array(
        [
            [a - e - i, d + b, g + c, h - f],
            [d + b, e - a - i, h + f, c - g],
            [g + c, h + f, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    vector = np.linalg.eigh(symmetric)[1][:, -1]
    x, y, z, w = (float(value) + 0.0 for value in vector * (-1 if vector[3] < 0 else 1))
    return x, y, z, w


# `Any`: fleets may write calibrations of any form.
def _place(extrinsics: Mapping[str, Any] | None) -> Transform | None:
    """Read extrinsics in the form of those from logs; None for others."""
    try:
        at = msgspec.convert(extrinsics, Transform, strict=False)
        return checked_transform(at.frame, at.parent, at.translation, at.rotation)
    except (msgspec.ValidationError, LogRefused):
        return None


def _mounted(intrinsics: Mapping[str, Any] | None, place: Transform | None) -> MountedCamera | NotLifted:
    try:
        found = msgspec.convert(intrinsics, CameraIntrinsics, strict=False)
        k = np.array(found.k).reshape(3, 3)
        p, r = np.array(found.p or (0.0,) * 12).reshape(3, 4), np.array(found.r or (0.0,) * 9).reshape(3, 3)
    except (msgspec.ValidationError, ValueError):
        return NotLifted("no calibration of the camera")
    distorted = any(found.d)
    numbers = np.concatenate([k.ravel(), p.ravel(), r.ravel(), found.d])
    if place is None or not np.isfinite(numbers).all() or min(found.width, found.height, k[0, 0], k[1, 1]) <= 0:
        return NotLifted("no calibration of the camera")
    if distorted and (found.distortion_model not in _MODELS or len(found.d) > _COEFFICIENTS):
        return NotLifted("unknown distortion of the camera")
    to_camera: Array = np.linalg.inv(matrix_of(place)).astype(np.float64)
    if to_camera[:3, :3].T[2] @ (0.0, -1.0, 0.0) < _LEAST_UP:
        return NotLifted("the vehicle's z axis is not up")
    if distorted:
        # Pictures as the lens gives them. P and R are of the rectified ones.
        lens = (k[0, 0], k[1, 1], k[0, 2], k[1, 2], *found.d, *(0.0,) * (_COEFFICIENTS - len(found.d)))
        left, top, right, bottom = _ideal(lens, (0.0, 0.0, found.width, found.height))
        if not all(map(np.isfinite, (left, top, right, bottom))):
            return NotLifted("unknown distortion of the camera")
        matrix = np.column_stack([k, np.zeros(3)])
        matrix[0, 2] -= left
        matrix[1, 2] -= top
        ideal = Projection(matrix, round(right - left), round(bottom - top))
        return MountedCamera(place.parent, to_camera, ideal, (left, top), lens, found.width, found.height)
    if p[0, 0] > 0:
        matrix = p
        if abs(np.linalg.det(r) - 1) < 1e-3:
            to_camera[:3] = r @ to_camera[:3]
    else:
        matrix = np.column_stack([k, np.zeros(3)])
    projection = Projection(matrix, found.width, found.height)
    return MountedCamera(place.parent, to_camera, projection, (0.0, 0.0), None, found.width, found.height)


def _ideal(lens: tuple[float, ...], box: Box) -> Box:
    """Return where the middles of a box's sides are without the distortion: found by going back again and again.

    NaN where that leads nowhere, because the coefficients are not of a lens.
    """
    left, top, right, bottom = box
    middle, height = (left + right) / 2, (top + bottom) / 2
    fx, fy, cx, cy = lens[:4]
    xs = (np.array([left, middle, right, middle]) - cx) / fx
    ys = (np.array([height, top, height, bottom]) - cy) / fy
    x, y = xs, ys
    with np.errstate(all="ignore"):
        for _ in range(_ROUNDS):
            near, aside, down = _bent(lens, x, y)
            off = np.hypot(x * near + aside - xs, y * near + down - ys)
            x, y = (xs - aside) / near, (ys - down) / near
    if not (off < _CLOSE).all():
        return (np.nan,) * 4
    return float(x[0] * fx + cx), float(y[1] * fy + cy), float(x[2] * fx + cx), float(y[3] * fy + cy)


def _bent(lens: tuple[float, ...], x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Return how a lens moves points at x, y of the plane z = 1: the factor along the radius, and two shifts.

    The formula is OpenCV's, of the rational polynomial.
    """
    k1, k2, p1, p2, k3, k4, k5, k6 = lens[4:]
    square = x * x + y * y
    near = (1 + square * (k1 + square * (k2 + square * k3))) / (1 + square * (k4 + square * (k5 + square * k6)))
    return near, 2 * p1 * x * y + p2 * (square + 2 * x * x), p1 * (square + 2 * y * y) + 2 * p2 * x * y


@lru_cache
def _widest(lens: tuple[float, ...]) -> float:
    """Return the radius in the plane z = 1 up to which the polynomial goes outwards. Behind it, it folds back."""
    radii = np.linspace(0, _WIDEST, 2001)
    with np.errstate(all="ignore"):
        near, _, _ = _bent(lens, radii, np.zeros_like(radii))
        grows = np.diff(radii * near) > 0
    return float(radii[len(grows) if grows.all() else int(np.argmin(grows))])
