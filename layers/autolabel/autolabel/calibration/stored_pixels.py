"""Projects points to the pixels of stored pictures, with the lens's distortion."""

from __future__ import annotations

import numpy as np

from autolabel.cuboids import Array, MountedCamera
from autolabel.cuboids.geometry import NEAREST


def stored_pixels(camera: MountedCamera, points: Array) -> Array:
    """Project points (n, 3) of the camera's frame, in metres, to pixels (n, 2) of the stored picture.

    NaN for points that are behind the lens, and for those far outside the picture, where a distortion means nothing.
    """
    pixels = camera.projection.pixels(points)
    width, height = camera.projection.width, camera.projection.height
    around = np.abs(pixels - np.array([width, height]) / 2) < np.array([width, height])
    pixels[~(around.all(axis=1) & (points[:, 2] > NEAREST))] = np.nan
    if camera.lens is None:
        return pixels
    fx, fy, cx, cy, k1, k2, p1, p2, k3, k4, k5, k6 = camera.lens
    x = (pixels[:, 0] + camera.corner[0] - cx) / fx
    y = (pixels[:, 1] + camera.corner[1] - cy) / fy
    square = x * x + y * y
    near = (1 + square * (k1 + square * (k2 + square * k3))) / (1 + square * (k4 + square * (k5 + square * k6)))
    aside, down = 2 * p1 * x * y + p2 * (square + 2 * x * x), p1 * (square + 2 * y * y) + 2 * p2 * x * y
    return np.column_stack([(x * near + aside) * fx + cx, (y * near + down) * fy + cy])
