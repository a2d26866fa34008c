"""Measure how much of a box the ego mask covers: the region of a frame in which boxes do not count."""

from __future__ import annotations

from collections.abc import Sequence

from autolabel.labels.detections import Box

Point = tuple[float, float]

# A box shows the recording vehicle itself if more than this share of the box is under the ego mask.
EGO_SHARE = 0.5


def covered_share(box: Box, polygon: Sequence[Point]) -> float:
    """Return the share, 0 to 1, of a box (xyxy) that a simple polygon covers; both in pixels of the frame."""
    x1, y1, x2, y2 = box
    area = (x2 - x1) * (y2 - y1)
    if area <= 0:
        return 0.0
    return min(1.0, _area(_clip(list(polygon), box)) / area)


def _clip(points: list[Point], box: Box) -> list[Point]:
    """Cut a polygon by the four edges of the box, after Sutherland and Hodgman."""
    for axis, limit, keep_greater in (
        (0, box[0], True),
        (1, box[1], True),
        (0, box[2], False),
        (1, box[3], False),
    ):
        clipped: list[Point] = []
        for current, following in zip(points, points[1:] + points[:1], strict=True):
            inside = (current[axis] >= limit) == keep_greater or current[axis] == limit
            next_inside = (following[axis] >= limit) == keep_greater or following[axis] == limit
            if inside:
                clipped.append(current)
            if inside != next_inside:
                share = (limit - current[axis]) / (following[axis] - current[axis])
                clipped.append(
                    (
                        current[0] + share * (following[0] - current[0]),
                        current[1] + share * (following[1] - current[1]),
                    )
                )
        points = clipped
        if not points:
            return []
    return points


def _area(points: Sequence[Point]) -> float:
    total = 0.0
    for (ax, ay), (bx, by) in zip(points, [*points[1:], *points[:1]], strict=True):
        total += ax * by - bx * ay
    return abs(total) / 2
