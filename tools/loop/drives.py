"""Generated drives: drawn vehicles on a drawn road, with exact truth.

A frame depends on the name of its drive and its number alone, so that the scripted reviewer draws it again in its mind
instead of reading a file of labels.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 640, 360
# The class that the first model lacks: COCO has no trailers.
NEW_CLASS = "trailer"
CLASSES = ("car", NEW_CLASS)
HORIZON = 150
# Frames a second of the drives.
RATE = 10


class Box(NamedTuple):
    """An object of a frame: class, left, top, width and height in whole pixels, inside the frame."""

    name: str
    left: int
    top: int
    width: int
    height: int


class _Object(NamedTuple):
    """A vehicle: where its middle is in the first frame, how it moves by frame, its width there and its colour."""

    name: str
    x: float
    depth: float
    sideways: float
    nearer: float
    colour: tuple[int, int, int]


def draw_frame(drive: str, number: int) -> tuple[Image, tuple[Box, ...]]:
    """Draw a frame of a drive: pixels [360, 640, 3] in BGR, and its objects, the nearest last."""
    image = _background(drive).copy()
    boxes = list[Box]()
    for one in sorted(_objects(drive), key=lambda each: each.depth + each.nearer * number):
        depth = one.depth + one.nearer * number
        middle = (one.x + one.sideways * number) % WIDTH
        width = round(26 + 110 * depth)
        height = round(width * (0.78 if one.name == "car" else 0.62))
        bottom = round(HORIZON + 20 + (HORIZON + 20) * depth)
        left, top = round(middle - width / 2), bottom - height
        if left < 2 or left + width > WIDTH - 2 or bottom > HEIGHT - 2:
            continue
        box = Box(one.name, left, top, width, height)
        # A vehicle that hides another would make its box a question of taste.
        if any(_touch(box, other) for other in boxes):
            continue
        (_draw_car if one.name == "car" else _draw_trailer)(image, box, one.colour)
        boxes.append(box)
    seed = int.from_bytes(hashlib.sha256(f"{drive}/{number}".encode()).digest()[:8], "big")
    noise = np.random.default_rng(seed).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), tuple(boxes)


def encode_frame(drive: str, number: int) -> bytes:
    """Draw a frame of a drive as a PNG file."""
    done, encoded = cv2.imencode(".png", draw_frame(drive, number)[0])
    assert done
    return encoded.tobytes()


def _touch(a: Box, b: Box) -> bool:
    return (
        a.left < b.left + b.width + 4
        and b.left < a.left + a.width + 4
        and a.top < b.top + b.height + 4
        and b.top < a.top + a.height + 4
    )


def _random(drive: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(drive.encode()).digest()[:8], "big"))


@functools.lru_cache(maxsize=64)
def _background(drive: str) -> npt.NDArray[np.int16]:
    random = _random(f"{drive}/background")
    image = np.zeros((HEIGHT, WIDTH, 3), np.int16)
    sky, road = random.integers(150, 240, 3), random.integers(70, 120)
    image[:HORIZON] = sky
    image[HORIZON:] = road
    for _ in range(12):
        left, width, height = random.integers(0, WIDTH), random.integers(30, 110), random.integers(20, 110)
        image[HORIZON - height : HORIZON, left : left + width] = random.integers(60, 200, 3)
    for lane in (0.2, 0.5, 0.8):
        for start in range(HORIZON + 12, HEIGHT, 34):
            x = round(WIDTH / 2 + (lane - 0.5) * WIDTH * (start - HORIZON) / 90)
            if 0 <= x < WIDTH:
                image[start : start + 14, max(0, x - 2) : x + 2] = 220
    return image


@functools.lru_cache(maxsize=64)
def _objects(drive: str) -> Sequence[_Object]:
    random = _random(f"{drive}/objects")
    found = []
    for number in range(6):
        name = CLASSES[number % len(CLASSES)]
        low, high = (40, 200) if name == "car" else (180, 250)
        blue, green, red = (int(each) for each in random.integers(low, high, 3))
        found.append(
            _Object(
                name,
                float(random.uniform(60, WIDTH - 60)),
                float(random.uniform(0.05, 0.75)),
                float(random.uniform(-4, 4)),
                float(random.uniform(-0.006, 0.006)),
                (blue, green, red),
            )
        )
    return tuple(found)


def _fill(
    image: npt.NDArray[np.int16], box: Box, part: tuple[float, float, float, float], colour: Sequence[int]
) -> None:
    """Fill a part of a box: left, top, right and bottom as shares of it."""
    left, top = box.left + round(part[0] * box.width), box.top + round(part[1] * box.height)
    right, bottom = box.left + round(part[2] * box.width), box.top + round(part[3] * box.height)
    image[top:bottom, left:right] = colour


def _draw_car(image: npt.NDArray[np.int16], box: Box, colour: Sequence[int]) -> None:
    """Draw a car from behind: roof, window, body, lamps, plate and two wheels."""
    _fill(image, box, (0.16, 0, 0.84, 0.45), colour)
    _fill(image, box, (0.22, 0.08, 0.78, 0.38), (60, 50, 40))
    _fill(image, box, (0, 0.4, 1, 0.88), colour)
    _fill(image, box, (0.03, 0.48, 0.17, 0.62), (30, 30, 220))
    _fill(image, box, (0.83, 0.48, 0.97, 0.62), (30, 30, 220))
    _fill(image, box, (0.36, 0.62, 0.64, 0.74), (235, 235, 235))
    _fill(image, box, (0.06, 0.86, 0.24, 1), (20, 20, 20))
    _fill(image, box, (0.76, 0.86, 0.94, 1), (20, 20, 20))


def _draw_trailer(image: npt.NDArray[np.int16], box: Box, colour: Sequence[int]) -> None:
    """Draw a trailer from behind: a bright box with stripes of warning over two wheels."""
    _fill(image, box, (0, 0, 1, 0.84), colour)
    for number in range(6):
        left = number / 6
        _fill(image, box, (left, 0.58, left + 1 / 12, 0.8), (30, 30, 210))
        _fill(image, box, (left + 1 / 12, 0.58, left + 1 / 6, 0.8), (60, 220, 240))
    _fill(image, box, (0.1, 0.84, 0.26, 1), (20, 20, 20))
    _fill(image, box, (0.74, 0.84, 0.9, 1), (20, 20, 20))
