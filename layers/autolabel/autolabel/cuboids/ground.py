"""Finds the ground in a point cloud: one plane for a frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from autolabel.cuboids.geometry import Array

# Where ground is looked for, in metres from the camera: to each side, ahead, and below it. Cameras on roofs of lorries
# are 3 m high.
_ASIDE, _AHEAD, _BELOW = 15.0, (3.0, 50.0), (0.5, 4.0)
# The plane's normal differs from the camera's upright by this at most.
_TILT = np.radians(12.0)
_THICK = 0.1
_SAMPLE, _TRIALS = 6_000, 200
# Fewer points on the best plane say nothing.
_LEAST = 100
# Points this near to the plane, and to an object, are of the ground beside it, in metres. Beside _PLANE of them,
# the plane counts half.
_NEAR_PLANE, _BESIDE, _PLANE = 0.3, 3.0, 30


class Ground(NamedTuple):
    """The ground: `turn` (3 x 3) turns the camera's frame into the level frame, where the ground has `y`, in metres."""

    turn: Array
    y: float

    def near(self, points: Array) -> Array:
        """Return those of points (n, 3) of the level frame that may be of the ground."""
        near: Array = points[np.abs(points[:, 1] - self.y) < _NEAR_PLANE]
        return near

    def under(self, place: Array, near: Array) -> Ground:
        """Return the ground at a place (x, z) of the level frame, since roads are not planes.

        Its height is the median of those of `near` beside the place, drawn to the plane where they are few.
        """
        heights = near[np.hypot(*(near[:, [0, 2]] - place).T) < _BESIDE, 1] - self.y
        if not len(heights):
            return self
        return self._replace(y=self.y + float(np.median(heights)) * len(heights) / (len(heights) + _PLANE))


def find_ground(points: Array) -> Ground | None:
    """Find the ground plane under points (n, 3) of a camera's frame; None without enough of it.

    The best of random planes by its number of points, then refined. The random numbers are always the same.
    """
    x, y, z = points.T
    near = points[(np.abs(x) < _ASIDE) & (z > _AHEAD[0]) & (z < _AHEAD[1]) & (y > _BELOW[0]) & (y < _BELOW[1])]
    if len(near) < _LEAST:
        return None
    draw = np.random.default_rng(0)
    if len(near) > _SAMPLE:
        near = near[draw.choice(len(near), _SAMPLE, replace=False)]
    a, b, c = near[draw.integers(0, len(near), (3, _TRIALS))]
    normals = np.cross(b - a, c - a)
    sizes = np.linalg.norm(normals, axis=1)
    # The normal points up, which is against y.
    normals *= -np.sign(normals[:, 1:2]) / np.maximum(sizes, 1e-9)[:, None]
    upright = (sizes > 1e-6) & (normals[:, 1] < -np.cos(_TILT))
    if not upright.any():
        return None
    normals, offsets = normals[upright], (normals * a)[upright].sum(axis=1)
    best = (np.abs(near @ normals.T - offsets) < _THICK).sum(axis=0).argmax()
    normal, offset = normals[best], offsets[best]
    for _ in range(3):
        plane = near[np.abs(near @ normal - offset) < _THICK]
        if len(plane) < _LEAST:
            return None
        middle = plane.mean(axis=0)
        normal = np.linalg.eigh(np.cov((plane - middle).T))[1][:, 0]
        normal *= -np.sign(normal[1]) or 1.0
        offset = normal @ middle
    if normal[1] > -np.cos(_TILT):
        return None
    return Ground(_turn(normal), float(-offset))


def _turn(up: Array) -> Array:
    """Return the least rotation that turns `up` (unit) into (0, -1, 0): Rodrigues' formula."""
    to = np.array([0.0, -1.0, 0.0])
    vx, vy, vz = np.cross(up, to)
    skew = np.array([[0, -vz, vy], [vz, 0, -vx], [-vy, vx, 0]])
    turn: Array = np.eye(3) + skew + skew @ skew / (1 + up @ to)
    return turn
