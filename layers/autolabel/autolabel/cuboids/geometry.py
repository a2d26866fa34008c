"""Cuboids and cameras.

The frame of coordinates is a camera's: x to the right, y down, z forward, in metres. A level frame is the same frame
turned so that the ground is a plane of one y.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
# Nearer than this, in metres along z, points are not projected: they are beside or behind the lens.
NEAREST = 0.3
# The corners of a cuboid as shares of length, height (down) and width from the middle of its bottom: the bottom first.
_LENGTHS = np.array([1, 1, -1, -1, 1, 1, -1, -1]) / 2
_WIDTHS = np.array([1, -1, -1, 1, 1, -1, -1, 1]) / 2
_HEIGHTS = np.array([0.0, 0, 0, 0, -1, -1, -1, -1])


class Cuboid(NamedTuple):
    """A box that stands on the ground.

    `x`, `y`, `z`: the middle of its bottom. `yaw`: its heading in radians, 0 along x and π/2 against z, as KITTI's
    rotation_y; the points tell it modulo π only.
    """

    x: float
    y: float
    z: float
    length: float
    width: float
    height: float
    yaw: float


class Projection(NamedTuple):
    """A pinhole camera: the projection `matrix` (3 x 4) from its frame to pixels, and its image size in pixels."""

    matrix: Array
    width: int
    height: int

    def pixels(self, points: Array) -> Array:
        """Project points (..., 3) in metres to pixels (..., 2). Points nearer than NEAREST count as there."""
        seen = points @ self.matrix[:, :3].T + self.matrix[:, 3]
        pixels: Array = seen[..., :2] / np.maximum(seen[..., 2:], NEAREST)
        return pixels


def corners(cuboids: Array) -> Array:
    """Return the corners (n, 8, 3) of cuboids (n, 7), whose columns are Cuboid's fields: the four of the bottom first.

    The first four go round the bottom, and the last four are above them.
    """
    x, y, z, length, width, height, yaw = cuboids.T[..., None]
    along, across = _LENGTHS * length, _WIDTHS * width
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.stack([x + cos * along + sin * across, y + _HEIGHTS * height, z - sin * along + cos * across], axis=-1)
