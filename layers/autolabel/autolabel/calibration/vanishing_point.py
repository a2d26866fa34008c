"""Measures yaw and pitch of a camera by the lanes: on a straight road they meet where the vehicle drives to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from autolabel.cuboids import Array, MountedCamera

# Segments of lanes are this steep in the picture, in degrees, and in its lower half.
_STEEP = (15.0, 80.0)
# Random pairs of segments whose crossing is tried.
_TRIALS = 2_000
# How far a segment's line passes the point that it leads to, in pixels at 1,000 pixels of focal length: what RANSAC
# takes for agreement, and where the refinement's weight ends.
_NEAR, _END = 2.0, 3.0
_ROUNDS = 20
# Groups of frames, whose scatter tells the uncertainty.
_GROUPS = 4
# Fewer agreeing segments in a group of frames say nothing, and so does a smaller share of all.
_LEAST_SEGMENTS, _LEAST_SHARE = 20, 0.3
# Of a picture, this number of its longest segments counts.
_LONGEST = 100
# More segments of a group are thinned evenly: all are compared with all trials at once.
_MOST_SEGMENTS = 2_000
# Lanes on one side only do not fix the point along themselves: this share must be on the other side.
_LEAST_SIDE = 0.15


class Lanes(NamedTuple):
    """Where the lanes lead, against where drive.json has the vehicle's x axis, in degrees.

    `yaw`: positive if the lanes meet farther right than they should; `pitch`: farther down. `uncertainty`: one standard
    deviation of the angle. `segments`: that agree, over all frames.
    """

    yaw: float
    pitch: float
    uncertainty: float
    segments: int


def lane_segments(segments: Array, camera: MountedCamera) -> Array:
    """Return those of a picture's line segments (n, 4: x, y, x, y) that may be of lanes, in rays (m, 2, 3).

    A ray is a direction in the camera's frame, without the lens's distortion.
    """
    left, top, right, bottom = segments.reshape(-1, 4).T
    slope = np.degrees(np.arctan2(np.abs(bottom - top), np.abs(right - left)))
    low = np.minimum(top, bottom) > camera.height / 2
    kept = segments.reshape(-1, 4)[(slope > _STEEP[0]) & (slope < _STEEP[1]) & low]
    lengths = np.hypot(kept[:, 2] - kept[:, 0], kept[:, 3] - kept[:, 1])
    kept = kept[np.argsort(-lengths, kind="stable")[:_LONGEST]]
    ends = kept.reshape(-1, 2)
    if camera.lens is not None:
        ends = np.array([camera.ideal((x, y, x, y))[:2] for x, y in ends]).reshape(-1, 2)
    rays = np.column_stack([ends, np.ones(len(ends))]) @ np.linalg.inv(camera.projection.matrix[:, :3]).T
    found: Array = rays.reshape(-1, 2, 3)
    return found[np.isfinite(found).all(axis=(1, 2))]


def measure_lanes(frames: Sequence[Array], camera: MountedCamera) -> Lanes | None:
    """Measure where the lanes of some frames lead; None without enough lanes that agree.

    `frames`: what `lane_segments` gives, in the order of time. The same input gives the same result.
    """
    cuts = [at * len(frames) // _GROUPS for at in range(_GROUPS + 1)]
    points, counts = list[Array](), list[int]()
    for start, end in pairwise(cuts):
        found = _vanishing_point(np.concatenate([np.empty((0, 2, 3)), *frames[start:end]]))
        if found is None:
            return None
        points.append(found[0])
        counts.append(found[1])
    angles = np.degrees(np.arctan(np.array(points)))
    ahead = camera.to_camera[:3, 0]
    if ahead[2] <= 0:
        return None
    expected = np.degrees(np.arctan2(ahead[:2], ahead[2]))
    yaw, pitch = angles.mean(axis=0) - expected
    uncertainty = float(np.linalg.norm(angles.std(axis=0, ddof=1)) / _GROUPS**0.5)
    return Lanes(float(yaw), float(pitch), uncertainty, sum(counts))


def _vanishing_point(segments: Array) -> tuple[Array, int] | None:
    """Return where segments of rays (n, 2, 3) meet, as x/z and y/z, and the number of those that do."""
    if len(segments) < _LEAST_SEGMENTS:
        return None
    segments = segments[:: -(-len(segments) // _MOST_SEGMENTS)]
    ends = segments[..., :2] / segments[..., 2:]
    steps = ends[:, 1] - ends[:, 0]
    lengths = np.linalg.norm(steps, axis=1)
    good = lengths > 1e-6
    ends, steps, lengths = ends[good], steps[good], lengths[good]
    normals = np.column_stack([-steps[:, 1], steps[:, 0]]) / lengths[:, None]
    offsets = (normals * ends[:, 0]).sum(axis=1)
    side = np.sign(steps[:, 0] * steps[:, 1])
    near, end = _NEAR / 1_000, _END / 1_000
    one, other = np.random.default_rng(0).integers(0, len(normals), (2, _TRIALS))
    cross = normals[one, 0] * normals[other, 1] - normals[one, 1] * normals[other, 0]
    usable = (np.abs(cross) > 1e-3) & (side[one] != side[other])
    if not usable.any():
        return None
    one, other, cross = one[usable], other[usable], cross[usable]
    x = (offsets[one] * normals[other, 1] - offsets[other] * normals[one, 1]) / cross
    y = (offsets[other] * normals[one, 0] - offsets[one] * normals[other, 0]) / cross
    tried = np.column_stack([x, y])
    misses = np.abs(normals @ tried.T - offsets[:, None])
    votes = lengths[:, None] * np.clip(1 - misses / near, 0, None)
    # Lanes to the left and right of the camera both count: those of one side may be parallel and meet anywhere.
    point = tried[np.minimum(votes[side > 0].sum(axis=0), votes[side <= 0].sum(axis=0)).argmax()]
    for _ in range(_ROUNDS):
        weights = lengths * np.clip(1 - ((normals @ point - offsets) / end) ** 2, 0, None) ** 2
        form = (normals * weights[:, None]).T @ normals
        if abs(np.linalg.det(form)) < 1e-12:
            return None
        point = np.linalg.solve(form, (normals * weights[:, None]).T @ offsets)
    agree = weights > 0
    rising = float((side[agree] > 0).mean()) if agree.any() else 0.0
    if agree.sum() < max(_LEAST_SEGMENTS, _LEAST_SHARE * len(agree)) or not _LEAST_SIDE <= rising <= 1 - _LEAST_SIDE:
        return None
    return point, int(agree.sum())
