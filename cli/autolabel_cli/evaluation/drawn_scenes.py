"""Draws street scenes whose masks are known exactly, to measure segmenters with.

Cars, persons, bicycles and signs of many colours stand before blocks of other colours, some in front of others, some
cut off by the border. A drawing is easier than a street: it has no shadows or reflections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from autolabel.labels import Box

Pixels = npt.NDArray[np.bool_]
Colors = npt.NDArray[np.float32]

# Pixels of a scene across and down, and how many objects are drawn. Fewer stay visible.
_SIZE, _OBJECTS = (640, 400), 6
KINDS = ("car", "person", "bicycle", "sign")
# An object is not in the truth with fewer visible pixels, or with a smaller share of its own.
_LEAST_PIXELS, _LEAST_SHARE = 150, 0.3
# Up to this visible share an object counts as hidden by others.
_HIDDEN = 0.95
# How unsharp a camera is and its noise, in pixels and levels of 255.
_BLUR, _NOISE = 0.7, 3.0


class DrawnObject(NamedTuple):
    """One object. `mask` [height, width]: its visible pixels; `box`: around them (xyxy pixels).

    `hidden`: others cover a part of it.
    """

    kind: str
    mask: Pixels
    box: Box
    hidden: bool


class DrawnScene(NamedTuple):
    """A picture, and the objects in it with the farthest first."""

    picture: Image.Image
    objects: tuple[DrawnObject, ...]

    def encoded(self) -> bytes:
        """Return the picture as PNG."""
        written = BytesIO()
        self.picture.save(written, "PNG")
        return written.getvalue()


def draw_scene(seed: int) -> DrawnScene:
    """Draw the scene of a seed."""
    random = np.random.default_rng(seed)
    width, height = _SIZE
    colors = _background(random, width, height)
    drawn = list[tuple[str, Pixels]]()
    # The farther ones come first and are smaller, so that the nearer ones hide them.
    for size in np.sort(random.uniform(0.15, 0.6, _OBJECTS)):
        kind = KINDS[random.integers(len(KINDS))]
        tall = size * height
        middle = random.uniform(0.05, 0.95) * width, random.uniform(0.35, 0.75) * height
        shape = _SHAPES[kind](random, middle, tall)
        drawn.append((kind, _paint(random, colors, shape, width, height)))
    picture = Image.fromarray(np.clip(colors, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(_BLUR))
    noisy = np.asarray(picture, np.float32) + random.normal(0, _NOISE, (height, width, 3))
    return DrawnScene(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), tuple(_visible(drawn)))


class _Part(NamedTuple):
    """A part of a shape: corners (x, y) in pixels. `filled`: no hole in the object; `own`: of another color."""

    corners: list[tuple[float, float]]
    filled: bool = True
    own: bool = False


def _car(random: np.random.Generator, middle: tuple[float, float], tall: float) -> list[_Part]:
    x, y, high = *middle, tall * 0.55
    long = high * random.uniform(1.8, 2.6)
    body = [
        (-0.5, 0.35),
        (-0.5, -0.02),
        (-0.3, -0.1),
        (-0.18, -0.5),
        (0.2, -0.5),
        (0.36, -0.1),
        (0.5, 0.0),
        (0.5, 0.35),
    ]
    window = [(-0.24, -0.1), (-0.15, -0.42), (0.17, -0.42), (0.28, -0.1)]
    wheels = [_round(x + at * long, y + 0.33 * high, 0.17 * high, 0.17 * high) for at in (-0.28, 0.28)]
    return [
        _Part([(x + a * long, y + b * high) for a, b in body]),
        _Part([(x + a * long, y + b * high) for a, b in window], own=True),
        *(_Part(wheel, own=True) for wheel in wheels),
    ]


def _person(random: np.random.Generator, middle: tuple[float, float], tall: float) -> list[_Part]:
    x, y = middle
    step = random.uniform(0.02, 0.12)
    torso = [(-0.12, -0.34), (0.12, -0.34), (0.15, 0.0), (0.09, 0.08), (-0.09, 0.08), (-0.15, 0.0)]
    legs = [[(s * 0.01, 0.05), (s * 0.09, 0.05), (s * (step + 0.06), 0.5), (s * step, 0.5)] for s in (-1, 1)]
    return [
        *(_Part([(x + a * tall, y + b * tall) for a, b in leg], own=True) for leg in legs),
        _Part([(x + a * tall, y + b * tall) for a, b in torso]),
        _Part(_round(x, y - 0.42 * tall, 0.065 * tall, 0.08 * tall), own=True),
    ]


def _bicycle(random: np.random.Generator, middle: tuple[float, float], tall: float) -> list[_Part]:
    x, y, wheel = *middle, tall * 0.22
    thick, apart = max(1.5, wheel * 0.13), wheel * random.uniform(1.2, 1.5)
    parts = list[_Part]()
    for at in (x - apart, x + apart):
        parts.append(_Part(_round(at, y + wheel, wheel, wheel)))
        parts.append(_Part(_round(at, y + wheel, wheel - thick, wheel - thick), filled=False))
    back, front, saddle, head = (-apart, wheel), (apart, wheel), (-apart * 0.3, 0.0), (apart * 0.7, 0.0)
    pedals, handle = (0.0, wheel), (apart * 0.6, -wheel * 0.6)
    tubes = [(back, saddle), (saddle, head), (head, front), (saddle, pedals), (pedals, head), (head, handle)]
    for (ax, ay), (bx, by) in tubes:
        aside = thick / 2 if abs(bx - ax) < abs(by - ay) else 0.0
        above = 0.0 if aside else thick / 2
        corners = [
            (ax - aside, ay - above),
            (ax + aside, ay + above),
            (bx + aside, by + above),
            (bx - aside, by - above),
        ]
        parts.append(_Part([(x + cx, y + cy) for cx, cy in corners]))
    return parts


def _sign(random: np.random.Generator, middle: tuple[float, float], tall: float) -> list[_Part]:
    x, y, half = *middle, tall * 0.2
    thin, foot = 0.015 * tall, y + 0.5 * tall
    corners = (3, 4, 8, 40)[random.integers(4)]
    return [
        _Part([(x - thin, y - half), (x + thin, y - half), (x + thin, foot), (x - thin, foot)], own=True),
        _Part(_round(x, y - half, half, half, corners)),
        _Part(_round(x, y - half, half * 0.6, half * 0.6, corners), own=True),
    ]


_SHAPES: dict[str, Callable[[np.random.Generator, tuple[float, float], float], list[_Part]]] = {
    "car": _car,
    "person": _person,
    "bicycle": _bicycle,
    "sign": _sign,
}


def _round(x: float, y: float, across: float, down: float, corners: int = 40) -> list[tuple[float, float]]:
    turns = np.arange(corners) * 2 * np.pi / corners - np.pi / 2
    return [(x + across * float(np.cos(turn)), y + down * float(np.sin(turn))) for turn in turns]


def _background(random: np.random.Generator, width: int, height: int) -> Colors:
    """Paint colors [height, width, 3]: a ground, and blocks of many colors as buildings have them."""
    colors = np.empty((height, width, 3), np.float32)
    colors[:] = random.uniform(60, 190, 3)
    for _ in range(random.integers(4, 16)):
        left, right = np.sort(random.integers(0, width + 1, 2))
        top, bottom = np.sort(random.integers(0, height + 1, 2))
        colors[top:bottom, left:right] = random.uniform(20, 235, 3)
    return colors + _texture(random, width, height, 40.0)


def _paint(random: np.random.Generator, colors: Colors, shape: list[_Part], width: int, height: int) -> Pixels:
    """Paint a shape over the colors [height, width, 3]; return its pixels."""
    # Of each pixel: 0 for what is not of the shape, 1 for its color, and one more for each part of another color.
    places = Image.new("L", (width, height))
    paints = [np.zeros(3), random.uniform(10, 245, 3)]
    for part in shape:
        if part.own:
            paints.append(random.uniform(10, 245, 3))
        ImageDraw.Draw(places).polygon(part.corners, fill=part.filled and (len(paints) - 1 if part.own else 1))
    which = np.asarray(places)
    painted = which > 0
    colors[painted] = (np.array(paints, np.float32)[which] + _texture(random, width, height, 25.0))[painted]
    return painted


def _texture(random: np.random.Generator, width: int, height: int, spread: float) -> Colors:
    """Return levels [height, width, 1] that change slowly, as light does, and a little from pixel to pixel."""
    coarse = random.normal(0, 1, (5, 6)).astype(np.float32)
    slow = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    fine = random.normal(0, 6.0, (height, width)).astype(np.float32)
    return np.asarray(spread / 2 * slow + fine, np.float32)[..., None]


def _visible(drawn: list[tuple[str, Pixels]]) -> Iterator[DrawnObject]:
    for place, (kind, whole) in enumerate(drawn):
        mask = whole.copy()
        for _, nearer in drawn[place + 1 :]:
            mask &= ~nearer
        share = mask.sum() / max(1, whole.sum())
        if mask.sum() < _LEAST_PIXELS or share < _LEAST_SHARE:
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        yield DrawnObject(kind, mask, box, bool(share < _HIDDEN))
