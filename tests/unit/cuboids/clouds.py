"""Clouds with one object on flat ground, whose cuboid is known."""

from __future__ import annotations

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
