"""Clouds with one object on flat ground, whose cuboid is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from autolabel.cuboids import Cuboid, Projection, corners
from autolabel.labels import Box

Points = npt.NDArray[np.float64]
# 70° wide, as front cameras are.
CAMERA = Projection(np.array([[700.0, 0, 600, 0], [0, 700, 180, 0], [0, 0, 1, 0]]), 1200, 370)
GROUND = 1.65


def box_of(cuboid: Cuboid, camera: Projection = CAMERA) -> Box:
    """Return the box of the cuboid's projection, clipped to the image."""
    pixels = camera.pixels(corners(np.array([cuboid])))[0]
    (left, top), (right, bottom) = pixels.min(axis=0), pixels.max(axis=0)
    return max(0.0, left), max(0.0, top), min(float(camera.width), right), min(float(camera.height), bottom)


def cloud_of(cuboid: Cuboid, seed: int = 0, noise: float = 0.02) -> Points:
    """Sample ground points, and those of the two faces of the cuboid that a sensor at the origin sees."""
    draw = np.random.default_rng(seed)
    ground = np.column_stack([draw.uniform(-12, 12, 4000), np.full(4000, GROUND), draw.uniform(4, 45, 4000)])
    cos, sin = np.cos(cuboid.yaw), np.sin(cuboid.yaw)
    front = np.sign(-cos * cuboid.x + sin * cuboid.z)
    side = np.sign(-sin * cuboid.x - cos * cuboid.z)
    along, across = draw.uniform(-0.5, 0.5, (2, 400)) * [[cuboid.length], [cuboid.width]]
    end = draw.random(400) < cuboid.width / (cuboid.width + cuboid.length)
    along[end], across[~end] = front * cuboid.length / 2, side * cuboid.width / 2
    body = np.column_stack(
        [
            cuboid.x + cos * along + sin * across,
            cuboid.y - draw.uniform(0.1, 1, 400) * cuboid.height,
            cuboid.z - sin * along + cos * across,
        ]
    )
    points: Points = np.concatenate([ground, body])
    return points + draw.normal(0, noise, points.shape)


# A drive with a camera and a LiDAR. The camera looks along the vehicle's x; the LiDAR is turned by 10°.
VEHICLE = "base_link"
_EYE: dict[str, Any] = {
    "frame": "eye",
    "parent": VEHICLE,
    "translation": [1.5, 0.1, 1.65],
    "rotation": [-0.5, 0.5, -0.5, 0.5],
}
_TURNED = [0.0, 0.0, float(np.sin(np.radians(5))), float(np.cos(np.radians(5)))]
_TOP: dict[str, Any] = {"frame": "top", "parent": VEHICLE, "translation": [0.8, 0.0, 1.9], "rotation": _TURNED}
CAR = Cuboid(-1.5, GROUND, 9.0, 4.1, 1.65, 1.5, 1.3)


def camera_that_sees(cuboid: Cuboid, box: Box, width: int, height: int) -> Projection:
    """Make the camera for which a cuboid's projection is this box (xyxy, pixels)."""
    bare = corners(np.array([cuboid]))[0]
    bare = bare[:, :2] / bare[:, 2:]
    low, high = bare.min(axis=0), bare.max(axis=0)
    focal = (np.array(box[2:]) - box[:2]) / (high - low)
    center = box[:2] - focal * low
    return Projection(np.array([[focal[0], 0, center[0], 0], [0, focal[1], center[1], 0], [0, 0, 1, 0]]), width, height)


def lidar_drive(camera: Projection, name: str = "front") -> dict[str, Any]:
    """Give the fields of drive.json of a drive with this camera and the LiDAR `top`, which asks for cuboids."""
    intrinsics = {
        **{"width": camera.width, "height": camera.height, "distortion_model": "plumb_bob", "D": [0.0] * 5},
        **{"K": camera.matrix[:, :3].ravel().tolist(), "R": np.eye(3).ravel().tolist()},
        "P": camera.matrix.ravel().tolist(),
    }
    return {
        "cameras": {name: {"intrinsics": intrinsics, "extrinsics": _EYE}},
        "lidars": {"top": {"extrinsics": _TOP}},
        "cuboids": True,
    }


def in_vehicle(points: Points) -> Points:
    """Move points (…, 3) of the camera's frame to the vehicle's."""
    moved: Points = np.stack([points[..., 2], -points[..., 0], -points[..., 1]], axis=-1) + _EYE["translation"]
    return moved


def cuboid_in_vehicle(cuboid: Cuboid) -> tuple[Points, float]:
    """Give the middle of a cuboid in the vehicle's frame, and its heading modulo half a turn."""
    middle = in_vehicle(np.array([cuboid.x, cuboid.y - cuboid.height / 2, cuboid.z]))
    return middle, float(np.arctan2(-np.cos(cuboid.yaw), -np.sin(cuboid.yaw)) % np.pi)


def cloud_file(points: Points, shift: tuple[float, float, float] = (0, 0, 0)) -> bytes:
    """Encode points of the camera's frame as the LiDAR sees them when the vehicle is shifted in its own frame."""
    angle = np.radians(10)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    seen = (in_vehicle(points) - shift - _TOP["translation"]) @ turn
    return np.column_stack([seen, np.zeros(len(seen))]).astype("<f4").tobytes()
