"""Streets with cars, persons, houses and poles, whose points, boxes and pictures are exact.

The frame of coordinates is the front camera's: x to the right, y down, z ahead, in metres.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from autolabel.calibration import Grey
from autolabel.cuboids import Array, Cuboid, MountedCamera, Projection, corners
from autolabel.labels import LabelledBox

GROUND = 1.65
_WIDTH, _HEIGHT, _FOCAL = 1_000, 400, 600.0
# The LiDAR stands above the camera. Its beams: upwards angles and directions, in radians.
_LIDAR = np.array([0.1, -0.25, -0.3])
_BEAMS, _DIRECTIONS = np.radians(np.linspace(2, -24, 48)), np.radians(np.arange(-48, 48, 0.2))
_FARTHEST = 80.0
_NOISE = 0.01
# Length, width and height by class; houses and poles have no label.
_SIZES = {"car": (4.1, 1.7, 1.5), "person": (0.7, 0.6, 1.75), "house": (8.0, 6.0, 6.0), "pole": (0.25, 0.25, 4.0)}
LABELLED = ("car", "person")


class Thing(NamedTuple):
    """An object of a scene. `points`: that the LiDAR has of it."""

    name: str
    cuboid: Cuboid
    points: int


class GeneratedScene(NamedTuple):
    """A scene. `things`: with points at least; `points` (n, 3): of the LiDAR, beam after beam."""

    things: tuple[Thing, ...]
    points: Array


def camera_at(x: float = 0.0, degrees: float = 0.0) -> MountedCamera:
    """Make a camera beside the front one, turned to the right."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    to_camera = np.eye(4)
    to_camera[:3, :3] = [[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]]
    to_camera[:3, 3] = -to_camera[:3, :3] @ (x, 0, 0)
    matrix = np.array([[_FOCAL, 0, _WIDTH / 2, 0], [0, _FOCAL, _HEIGHT / 2, 0], [0, 0, 1, 0]])
    return MountedCamera("vehicle", to_camera, Projection(matrix, _WIDTH, _HEIGHT), (0.0, 0.0), None, _WIDTH, _HEIGHT)


def generate_scene(seed: int) -> GeneratedScene:
    """Make a scene. The same seed gives the same one."""
    chance = np.random.default_rng(seed)
    placed = list[tuple[str, Cuboid]]()
    for name, count in (("car", 7), ("person", 4), ("pole", 4), ("house", 4)):
        length, width, height = _SIZES[name]
        for _ in range(count):
            scale = chance.uniform(0.93, 1.07) if name in LABELLED else 1.0
            side = chance.choice((-1, 1)) * chance.uniform(14, 18)
            x = side if name == "house" else chance.uniform(-9, 9)
            yaw = chance.normal(np.pi / 2, 0.1) if chance.random() < 0.8 else chance.uniform(0, np.pi)
            one = Cuboid(x, GROUND, chance.uniform(7, 38), length * scale, width * scale, height * scale, float(yaw))
            if all(np.hypot(one.x - other.x, one.z - other.z) > (one.length + other.length) / 2 for _, other in placed):
                placed.append((name, one))
    points, hits = scan([cuboid for _, cuboid in placed], chance)
    counts = np.bincount(hits[hits >= 0], minlength=len(placed))
    things = (Thing(name, cuboid, int(n)) for (name, cuboid), n in zip(placed, counts, strict=True) if n)
    return GeneratedScene(tuple(things), points)


def box_of(thing: Thing, camera: MountedCamera) -> LabelledBox | None:
    """Return the box of an object in a camera's picture; None if it has no label there: below 15 pixels, or outside."""
    there = corners(np.array([thing.cuboid]))[0] @ camera.to_camera[:3, :3].T + camera.to_camera[:3, 3]
    if thing.name not in LABELLED or there[:, 2].min() < 1:
        return None
    pixels = camera.projection.pixels(there)
    low, high = (np.clip(ends, 0, (camera.width, camera.height)) for ends in (pixels.min(axis=0), pixels.max(axis=0)))
    wide, tall = (float(side) for side in high - low)
    return LabelledBox(thing.name, float(low[0]), float(low[1]), wide, tall, 0.0) if wide > 5 and tall >= 15 else None


def draw_picture(scene: GeneratedScene, camera: MountedCamera) -> Grey:
    """Draw the scene as a camera sees it: flat grey faces, and the far ones first."""
    picture = np.full((camera.height, camera.width), 150, np.uint8)
    picture[camera.height // 2 :] = 100
    far_first = sorted(enumerate(scene.things), key=lambda pair: -float(np.hypot(pair[1].cuboid.x, pair[1].cuboid.z)))
    for at, thing in far_first:
        there = corners(np.array([thing.cuboid]))[0] @ camera.to_camera[:3, :3].T + camera.to_camera[:3, 3]
        if there[:, 2].min() < 1:
            continue
        hull = cv2.convexHull(camera.projection.pixels(there).astype(np.float32))
        # Sixteen steps of a pixel, as OpenCV draws them.
        cv2.fillConvexPoly(picture, (hull * 16).round().astype(np.int32), 20 + 53 * at % 230, cv2.LINE_AA, 4)
    return picture


def scan(cuboids: list[Cuboid], chance: np.random.Generator) -> tuple[Array, npt.NDArray[np.intp]]:
    """Return the points (n, 3) of all beams, and which cuboid each is of: -1 for the ground."""
    up, aside = np.meshgrid(_BEAMS, _DIRECTIONS, indexing="ij")
    rays = np.stack([np.cos(up) * np.sin(aside), -np.sin(up), np.cos(up) * np.cos(aside)], axis=-1).reshape(-1, 3)
    with np.errstate(divide="ignore"):
        nearest = np.where(rays[:, 1] > 0, (GROUND - _LIDAR[1]) / rays[:, 1], np.inf)
    hits = np.full(len(rays), -1)
    for at, one in enumerate(cuboids):
        cos, sin = np.cos(one.yaw), np.sin(one.yaw)
        turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
        start = turn @ (_LIDAR - (one.x, one.y - one.height / 2, one.z))
        half = np.array([one.length, one.height, one.width]) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = (np.stack([-half, half]) - start)[:, None] / (rays @ turn.T)
        first, last = ends.min(axis=0).max(axis=1), ends.max(axis=0).min(axis=1)
        struck = (first > 0.5) & (first <= last) & (first < nearest)
        nearest[struck], hits[struck] = first[struck], at
    back = nearest < _FARTHEST
    ranges = nearest[back] + chance.normal(0, _NOISE, int(back.sum()))
    return _LIDAR + rays[back] * ranges[:, None], hits[back]
