"""Finds where a LiDAR's beams jump from a near surface to a far one: the outlines of objects."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from autolabel.cuboids import Array

# Levinson and Thrun, "Automatic online calibration of cameras and lasers" (RSS 2013): metres.
_LEAST_JUMP = 0.3
# Neighbours of one beam are this number of points apart in the file: 1 where beam follows beam, else the number of
# beams of common LiDARs, which write all beams of one direction together.
_STRIDES = (1, 16, 32, 40, 64, 80, 128)
# Points farther apart than this, in radians, are not neighbours: a beam that did not come back is between them.
_NEIGHBOURS = np.radians(0.6)
# Points that tell the stride.
_SAMPLE = 20_000


class RangeJumps(NamedTuple):
    """Points (n, 3) on outlines, of the nearer side, with their `weights` (n): the square root of the jump."""

    points: Array
    weights: Array


def find_range_jumps(points: Array) -> RangeJumps:
    """Find the points (n, 3) behind which the range jumps by 0.3 m or more. They are in the LiDAR's frame, in metres.

    They must be in the order of the LiDAR's message: a beam's neighbours are found by it. Other orders give few jumps.
    """
    ranges = np.linalg.norm(points, axis=1)
    directions = points / np.maximum(ranges, 1e-9)[:, None]
    stride = min(_STRIDES, key=lambda step: _gap(directions[:_SAMPLE], step))
    if len(points) <= stride:
        return RangeJumps(np.empty((0, 3)), np.empty(0))
    beside = (directions[stride:] * directions[:-stride]).sum(axis=1) > np.cos(_NEIGHBOURS)
    steps = np.where(beside, ranges[stride:] - ranges[:-stride], 0.0)
    jumps = np.zeros(len(points))
    jumps[:-stride] = np.maximum(jumps[:-stride], steps)
    jumps[stride:] = np.maximum(jumps[stride:], -steps)
    found = jumps > _LEAST_JUMP
    return RangeJumps(points[found], np.sqrt(jumps[found]))


def _gap(directions: Array, step: int) -> float:
    """Return the median chord between points that are `step` apart."""
    if len(directions) <= step:
        return np.inf
    return float(np.median(np.linalg.norm(directions[step:] - directions[:-step], axis=1)))
