"""Lifts a 2D box to a cuboid: the points in its frustum, and the box on the ground that explains them best.

A cuboid is moved, turned and resized until the points lie on the faces that the sensor can see, none sticks out, its
projection meets the sides of the 2D box, and its size is one of its class. Several clusters of points are tried,
because a frustum also holds what stands before and behind the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from autolabel.cuboids.clusters import LEAST, clusters
from autolabel.cuboids.geometry import NEAREST, Array, Cuboid, Projection, corners
from autolabel.cuboids.ground import Ground, find_ground
from autolabel.cuboids.sizes import SIZES, Size
from autolabel.labels import Box

# Points of an object are between these heights above the ground, in metres: lower ones are ground.
_LOWEST, _HIGHEST_SHARE = 0.2, 1.9
_MOST_CLUSTERS = 4
# More points of a cluster cost time and change nothing.
_MOST_POINTS = 250
# Weights of the cost's parts, by which the fit of the whole is a number: the mean distance of points to faces and what
# sticks out, both in metres, the sides of the projection off as shares of the 2D box, and the size in squared
# deviations. The first three are of the source of the method; the last was chosen on the development frames.
_FACES, _OUTSIDE, _SIDES, _SIZE = 1.0, 2.0, 1.2, 0.02
# Sides of models' boxes are off by 5 % of the box, and those of persons' by 1 %: they weigh less.
_MODEL_SIDES = 0.5
# A cluster with more points is preferred, by their logarithm: it is what the box shows, and not a piece of something
# behind.
_POINTS = 0.2
# A point farther than this from a face, in metres, is inside the object (a seat, a mirror); and the most that a point
# which sticks out costs.
_FACE_CAP, _OUTSIDE_CAP = 0.3, 1.0
# Sides of a 2D box within this many pixels of the image's edge are cut by it, and tell nothing. Models' boxes end some
# pixels before it.
_EDGE = 8.0
# The search: headings and offsets of the first grid, then rounds of the best ones with random changes that shrink.
_HEADINGS = 18
_ACROSS, _AWAY = (-1.2, -0.4, 0.4, 1.2), (0.0, 0.6, 1.2, 1.8)
_POPULATION, _ROUNDS, _KEPT, _SHRINK = 160, 14, 24, 0.78
# Changes of x, z, yaw, length, width and height in the first round, for an object as large as a car.
_CHANGES = np.array([0.35, 0.35, 0.12, 0.25, 0.06, 0.08])
_LEAST_SIZE = 0.3
# The result is the mean of this many cuboids about the best, spread by the same changes: one that costs _MORE more than
# the best weighs 1/e of it.
_NEAR_BEST, _MORE = 600, 0.1

Reason = Literal[
    # Of the drive or the frame.
    "no calibration of the camera",
    "unknown distortion of the camera",
    "the vehicle's z axis is not up",
    "another image size than that of the intrinsics",
    "no calibrated LiDAR",
    "no point cloud near in time",
    "point cloud too large",
    "no readable point cloud",
    "point cloud not in metres",
    "no points in the picture",
    "no ground",
    # Of the box.
    "no size of its class",
    "too few points",
    "poor fit",
    "too many boxes",
]


class Fit(NamedTuple):
    """How well a cuboid explains what was seen, each part weighted; their sum is the cost, and less is better.

    `faces`: points beside the visible faces; `outside`: points that stick out; `sides`: the projection beside the 2D
    box; `size`: an unusual size.
    """

    faces: float
    outside: float
    sides: float
    size: float

    @property
    def cost(self) -> float:
        return sum(self)


class Lifted(NamedTuple):
    """A cuboid in the camera's frame, with its number of points."""

    cuboid: Cuboid
    fit: Fit
    points: int


class NotLifted(NamedTuple):
    """Why a box has no cuboid."""

    reason: Reason


class Scene:
    """The points that a camera sees in a frame. `points` (n, 3): finite, in the camera's frame, in metres."""

    def __init__(self, points: Array, camera: Projection) -> None:
        ahead = points[points[:, 2] > NEAREST]
        pixels = camera.pixels(ahead)
        seen = ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(axis=1)
        self._points, self._pixels, self._camera = ahead[seen], pixels[seen], camera

    @property
    def is_empty(self) -> bool:
        """Whether the camera sees none of the points."""
        return not len(self._points)

    @cached_property
    def ground(self) -> Ground | None:
        """The ground plane; None without enough of it."""
        return find_ground(self._points)

    @cached_property
    def _level(self) -> tuple[Ground, Array, Array] | None:
        """The ground, the points in its level frame, and those of them near the ground."""
        if self.ground is None:
            return None
        level: Array = self._points @ self.ground.turn.T
        return self.ground, level, self.ground.near(level)

    def lift(self, name: str, box: Box, *, drawn: bool = True) -> Lifted | NotLifted:
        """Lift the 2D box (xyxy, pixels) of an object of class `name`. The same input gives the same cuboid.

        `drawn`: a person drew the box, so its sides are true; those of a model's box count less.
        """
        size = SIZES.get(name)
        if size is None:
            return NotLifted("no size of its class")
        if self._level is None:
            return NotLifted("no ground")
        plane, level, near_ground = self._level
        left, top, right, bottom = box
        inside = ((self._pixels >= (left, top)) & (self._pixels <= (right, bottom))).all(axis=1)
        points = level[inside]
        above = plane.y - points[:, 1]
        points = points[(above > _LOWEST) & (above < _HIGHEST_SHARE * size.height[0])]
        if len(points) < LEAST:
            return NotLifted("too few points")
        draw, sides = np.random.default_rng(0), _SIDES if drawn else _MODEL_SIDES
        best: tuple[float, Array, _Problem, int] | None = None
        for chosen in clusters(points[:, [0, 2]], _MOST_CLUSTERS):
            worth = _POINTS * float(np.log(len(chosen)))
            if best and best[0] <= -worth:
                # It cannot win, since a cost is never below 0, and those after it are smaller.
                break
            cluster = points[chosen]
            if len(cluster) > _MOST_POINTS:
                cluster = cluster[draw.choice(len(cluster), _MOST_POINTS, replace=False)]
            ground = plane.under(np.median(cluster[:, [0, 2]], axis=0), near_ground)
            problem = _Problem(cluster, ground, self._camera, box, size, sides)
            found, cost = _search(problem, draw)
            if not best or cost - worth < best[0]:
                best = cost - worth, found, problem, len(chosen)
        if not best:
            return NotLifted("too few points")
        _, found, problem, count = best
        x, z, yaw, length, width, height = found
        place = plane.turn.T @ (x, problem.ground, z)
        yaw = (yaw + np.pi / 2) % np.pi - np.pi / 2
        numbers = map(float, (*place, length, width, height, yaw))
        fit = Fit(*(float(part[0]) for part in problem.parts(found[None])))
        # Told as for a drawn box, so that costs of all boxes compare.
        return Lifted(Cuboid(*numbers), fit._replace(sides=fit.sides * _SIDES / sides), count)


class _Problem:
    """The cost of states (n, 6) in the level frame: x, z, yaw, length, width, height."""

    def __init__(self, points: Array, ground: Ground, camera: Projection, box: Box, size: Size, sides: float) -> None:
        self.points, self.size, self.ground = points, size, ground.y
        level = camera.matrix.copy()
        level[:, :3] = level[:, :3] @ ground.turn.T
        self._camera = Projection(level, camera.width, camera.height)
        left, top, right, bottom = box
        wide, high = max(right - left, 1.0), max(bottom - top, 1.0)
        cut = (left <= _EDGE, top <= _EDGE, right >= camera.width - 1 - _EDGE, bottom >= camera.height - 1 - _EDGE)
        self._box = np.array(box)
        self._side_weights = sides * np.where(cut, 0.0, (1 / wide, 1 / high, 1 / wide, 1 / high))

    def cost(self, states: Array) -> Array:
        total: Array = np.sum(self.parts(states), axis=0)
        return total

    def parts(self, states: Array) -> tuple[Array, Array, Array, Array]:
        x, z, yaw, length, width, height = states.T[..., None]
        cos, sin = np.cos(yaw), np.sin(yaw)
        right, ahead = self.points[:, 0] - x, self.points[:, 2] - z
        along, across = cos * right - sin * ahead, sin * right + cos * ahead
        # The sensor is taken to be at the camera, which is at the origin: it sees the faces on its side.
        from_front, from_side = -cos * x + sin * z, -sin * x - cos * z
        top = self.ground - height
        faces = [
            np.where(np.abs(from_front) > length / 2, np.abs(length / 2 - np.sign(from_front) * along), np.inf),
            np.where(np.abs(from_side) > width / 2, np.abs(width / 2 - np.sign(from_side) * across), np.inf),
            np.where(top > 0, np.abs(self.points[:, 1] - top), np.inf),
        ]
        near = np.minimum(np.minimum(np.minimum(*faces[:2]), faces[2]), _FACE_CAP)
        outside = np.hypot(
            np.maximum(np.abs(along) - length / 2, 0), np.maximum(np.abs(across) - width / 2, 0)
        ) + np.maximum(top - self.points[:, 1] - 0.05, 0)
        return (
            _FACES * near.mean(axis=1),
            _OUTSIDE * np.minimum(outside, _OUTSIDE_CAP).mean(axis=1),
            self._off(states),
            _SIZE * self._unusual(states),
        )

    def _off(self, states: Array) -> Array:
        """Return how far the sides of the projections are off, as weighted shares of the 2D box."""
        x, z, yaw, length, width, height = states.T
        y = np.full_like(x, self.ground)
        pixels = self._camera.pixels(corners(np.stack([x, y, z, length, width, height, yaw], 1)))
        sides = np.concatenate([pixels.min(axis=1), pixels.max(axis=1)], axis=1)
        off: Array = np.abs(sides - self._box) @ self._side_weights
        return off

    def _unusual(self, states: Array) -> Array:
        means, deviations = np.array(self.size).T
        unusual: Array = (((states[:, 3:] - means) / deviations) ** 2).sum(axis=1)
        return unusual


def _search(problem: _Problem, draw: np.random.Generator) -> tuple[Array, float]:
    """Find the state of least cost: a grid of headings and places, random changes of the best, and the mean of the end.

    Many cuboids explain the points about as well as the best, which is at one end or the other of them by chance.
    """
    length, width, height = (mean for mean, _ in problem.size)
    # Offsets and changes are of a car; larger and smaller objects scale them.
    scale = length / 3.9
    right, _, ahead = np.median(problem.points, axis=0)
    distance = float(np.hypot(right, ahead)) or 1.0
    yaw, across, away = (
        values.ravel()
        for values in np.meshgrid(
            np.linspace(0, np.pi, _HEADINGS, endpoint=False), np.multiply(_ACROSS, scale), np.multiply(_AWAY, scale)
        )
    )
    best = np.empty((len(yaw), 6))
    best[:, 0] = right + (right * away - ahead * across) / distance
    best[:, 1] = ahead + (ahead * away + right * across) / distance
    best[:, 2] = yaw
    best[:, 3:] = length, width, height
    best, costs = _fittest(best, problem.cost(best))
    changes = _CHANGES * (scale, scale, 1, *np.array(_sizes_of(problem.size)) / _sizes_of(SIZES["car"]))
    for turn in range(_ROUNDS):
        parents, ones, others = best[draw.integers(0, len(best), (3, _POPULATION))]
        children = parents + draw.normal(size=parents.shape) * changes * _SHRINK**turn
        # A step along the difference of two good ones, but for the heading, whose difference wraps around.
        steps = 0.5 * (ones - others) * (1, 1, 0, 1, 1, 1)
        children += np.where(draw.random((_POPULATION, 1)) < 0.5, steps, 0)
        children[:, 3:] = np.maximum(children[:, 3:], _LEAST_SIZE)
        best, costs = _fittest(np.concatenate([best, children]), np.concatenate([costs, problem.cost(children)]))
    # Each change and its opposite, so that the mean does not move by chance.
    spread = draw.normal(size=(_NEAR_BEST // 2, 6)) * changes
    near = best[0] + np.concatenate([spread, -spread])
    near[:, 3:] = np.maximum(near[:, 3:], _LEAST_SIZE)
    weights = np.exp((costs[0] - problem.cost(near)) / _MORE)
    mean: Array = weights @ near / weights.sum()
    return mean, float(problem.cost(mean[None])[0])


def _sizes_of(size: Size) -> Sequence[float]:
    return [mean for mean, _ in size]


def _fittest(states: Array, costs: Array) -> tuple[Array, Array]:
    order = np.argsort(costs, kind="stable")[:_KEPT]
    return states[order], costs[order]
