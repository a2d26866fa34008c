"""Makes the cuboids of a track consistent: one size, a steady heading, a smooth path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from autolabel.cuboids.geometry import Array
from autolabel.cuboids.lifted_boxes import rounded
from autolabel.labels.box_cuboids import BoxCuboid

# More points of a cuboid say no more.
_MOST_POINTS = 250
# Cuboids up to this far in time count for heading and path, the less the farther they are, in seconds.
_REACH = 0.5
_LEAST_WEIGHT = 0.05
# A place that is this far off the path of the others, in metres, counts half.
_OFF = 0.3
# Headings and paths are smoothed in stretches of this many cuboids: their weights take the square of it.
_STRETCH = 500
# A track that moves this far, in metres, is headed where it goes.
_MOVED = 2.0


class TrackCuboid(NamedTuple):
    """A cuboid of a track. `time`: in seconds; `sensor`: the place of the camera in the vehicle's frame.

    `to_world` (4 x 4): from the vehicle's frame to one that stands still; None where the pose is not known.
    """

    time: float
    cuboid: BoxCuboid
    sensor: Array
    to_world: Array | None = None


def smooth_track(track: Sequence[TrackCuboid]) -> list[BoxCuboid]:
    """Give the cuboids of a track one size, and smooth their headings and path. All have a place; times rise.

    The size is the median, weighted by points. A new size keeps the faces that the camera sees where they are. A track
    that moves is headed where it goes; of others the headings agree, and front and back may be exchanged. Without all
    poses, nothing is known of what moves, and the vehicle's frame is smoothed in.
    """
    if len(track) < 2:
        return [one.cuboid for one in track]
    points = np.minimum([one.cuboid.points for one in track], _MOST_POINTS).astype(np.float64)
    size = np.array([_median(column, points) for column in np.array([one.cuboid.size for one in track]).T])
    stretches = (track[begin : begin + _STRETCH] for begin in range(0, len(track), _STRETCH))
    return [cuboid for stretch in stretches for cuboid in _smooth(stretch, size)]


def _smooth(track: Sequence[TrackCuboid], size: Array) -> list[BoxCuboid]:
    # From the first one, since squares of seconds since 1970 have no digits left for a frame.
    times = np.array([one.time for one in track]) - track[0].time
    points = np.minimum([one.cuboid.points for one in track], _MOST_POINTS).astype(np.float64)
    known = [one.to_world for one in track if one.to_world is not None]
    worlds = known if len(known) == len(track) else [np.eye(4)] * len(track)
    turns = np.array([np.arctan2(world[1, 0], world[0, 0]) for world in worlds])
    raw = np.array([one.cuboid.yaw for one in track]) + turns
    # By time and points: a row for each cuboid.
    weights = np.maximum(1 - np.abs(times[:, None] - times) / _REACH, 0) * points
    yaws = _headings(raw, weights)
    placed = [_resized(one, size, yaw - turn) for one, yaw, turn in zip(track, yaws, turns, strict=True)]
    places = np.array([world[:3] @ (*center, 1) for world, center in zip(worlds, placed, strict=True)])
    path = _path(times, places, weights)
    if worlds is known:
        yaws = _directed(yaws, path)
    return [
        rounded(
            np.linalg.inv(world)[:3] @ (*place, 1),
            size,
            yaw - turn,
            cost=one.cuboid.cost or 0.0,
            points=one.cuboid.points,
        )
        for one, world, place, yaw, turn in zip(track, worlds, path, yaws, turns, strict=True)
    ]


def _median(values: Array, weights: Array) -> float:
    order = np.argsort(values, kind="stable")
    rising = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(rising, rising[-1] / 2)])


def _headings(raw: Array, weights: Array) -> Array:
    """Return the headings modulo half a turn that most neighbours agree with, unwrapped along the track.

    A fit may take the side for the front, so a heading across is an outlier: it counts the less the more it is off.
    """
    axes = np.exp(2j * raw)
    # The neighbours' heading with the least sum of distances to the others.
    distances = np.abs(axes[:, None] - axes)
    best = axes[np.array([row @ distances for row in weights]).argmin(axis=1)]
    near = np.maximum(1 - np.abs(axes - best[:, None]), _LEAST_WEIGHT)
    mean = (weights * near) @ axes
    unwrapped: Array = np.unwrap(np.angle(mean), period=2 * np.pi) / 2
    return unwrapped


def _resized(one: TrackCuboid, size: Array, yaw: float) -> Array:
    """Return the middle of a cuboid of another size and heading, whose faces towards the sensor stay in their place."""
    center, before = np.array(one.cuboid.center), np.array(one.cuboid.size)
    turned = yaw - (one.cuboid.yaw or 0.0)
    across = abs(np.sin(turned)) > abs(np.cos(turned))
    half = (before[[1, 0]] if across else before[:2]) / 2
    cos, sin = np.cos(yaw), np.sin(yaw)
    axes = np.array([[cos, sin], [-sin, cos]])
    sensor = axes @ (one.sensor - center)[:2]
    # A face is seen from outside only. The middle of the others stays.
    shift = np.where(np.abs(sensor) > half, np.sign(sensor) * (half - size[:2] / 2), 0.0)
    # The bottom stays on the ground.
    moved: Array = center + np.array([*(axes.T @ shift), (size[2] - before[2]) / 2])
    return moved


def _path(times: Array, places: Array, weights: Array) -> Array:
    """Smooth places (n, 3) by weighted straight lines through their neighbours; those off the lines count less."""
    path = _lines(times, places, weights)
    off = np.linalg.norm(places - path, axis=1)
    return _lines(times, places, weights / (1 + (off / _OFF) ** 2))


def _lines(times: Array, places: Array, weights: Array) -> Array:
    shares = weights / weights.sum(axis=1, keepdims=True)
    middle = shares @ times
    spread = shares @ times**2 - middle**2
    slopes = (shares * (times - middle[:, None])) @ places / np.maximum(spread, 1e-9)[:, None]
    found: Array = shares @ places + slopes * np.where(spread > 1e-9, times - middle, 0.0)[:, None]
    return found


def _directed(yaws: Array, path: Array) -> Array:
    """Turn all headings of a track by half a turn if it moves against them."""
    steps = np.diff(path[:, :2], axis=0)
    if np.linalg.norm(path[-1, :2] - path[0, :2]) < _MOVED:
        return yaws
    heading = (yaws[1:] + yaws[:-1]) / 2
    ahead = (steps * np.column_stack([np.cos(heading), np.sin(heading)])).sum()
    return yaws if ahead >= 0 else yaws + np.pi
