"""Turns the points of LiDAR messages into the bytes of point clouds: float32 x, y, z, intensity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.frames import MAX_FRAME_BYTES
from autolabel.contracts.logs import Transform
from autolabel.logs.schemas import NO_POINTS, PointField, RawPoints

_NAMES = ("x", "y", "z", "intensity")
_POINT_BYTES = 16
_MAX_POINTS = MAX_FRAME_BYTES // _POINT_BYTES


class PointFile(NamedTuple):
    """The bytes of a point cloud. `dropped`: points that are left out; `note`: what was done, empty for nothing."""

    body: bytes
    dropped: int
    note: str = ""


def point_file(points: RawPoints) -> PointFile:
    """Make the point cloud of a message: little endian, in its order, without points that are not finite.

    LogRefused, with the reason NO_POINTS for one without points, if it cannot be read.
    """
    if not 0 <= points.width * points.height <= _MAX_POINTS:
        raise LogRefused(
            "too-many-points", f"it has {points.width:,} x {points.height:,} points, the limit is {_MAX_POINTS:,}"
        )
    fields = _fields(points)
    cloud = np.zeros((points.height, points.width, len(_NAMES)), np.float64 if points.pose else np.float32)
    # Values beyond float32 become infinite, and are dropped.
    with np.errstate(over="ignore", invalid="ignore"):
        for at, field in enumerate(fields):
            if field:
                cloud[..., at] = _column(points, field)
        if points.pose:
            _move(cloud, points.pose)
        found = cloud.reshape(-1, len(_NAMES)).astype("<f4", copy=False)
    finite = np.isfinite(found[:, :3]).all(axis=1)
    kept = found if finite.all() else found[finite]
    kept[~np.isfinite(kept[:, 3]), 3] = 0
    if not len(kept):
        raise LogRefused(NO_POINTS, f"none of its {len(found):,} points is finite")
    notes = [] if fields[3] else ["without intensity"]
    notes += ["moved by the message's pose"] if points.pose else []
    return PointFile(kept.tobytes(), len(found) - len(kept), ", ".join(notes))


def _fields(points: RawPoints) -> list[PointField | None]:
    """Find the fields of a point, and check that the data has all points. The intensity may be missing."""
    found: list[PointField | None] = []
    for name in _NAMES:
        named = [field for field in points.fields if field.name == name]
        if len(named) > 1 or not (named or name == "intensity"):
            names = ", ".join(field.name for field in points.fields)
            raise LogRefused("points-wrong", f"a point must have one field {name!r}; its fields are {names:.200}")
        for field in named:
            if not field.type or not 0 <= field.offset <= points.point_step - np.dtype(field.type).itemsize:
                raise LogRefused(
                    "points-wrong",
                    f"field {field} is of no known type, or not in the {points.point_step:,} bytes of a point",
                )
        found += named or [None]
    row = points.width * points.point_step
    needed = (points.height - 1) * points.row_step + row if points.height > 1 else row * points.height
    if needed > len(points.data) or (points.height > 1 and points.row_step < row):
        raise LogRefused(
            "points-wrong",
            f"{points.height:,} rows of {points.width:,} points need {needed:,} bytes in rows of {row:,}, and the "
            f"message has {len(points.data):,} in rows of {points.row_step:,}",
        )
    return found


def _column(points: RawPoints, field: PointField) -> npt.NDArray[np.generic]:
    """Return a view of one field of all points, as (height, width)."""
    kind = np.dtype(field.type).newbyteorder(">" if points.big_endian else "<")
    shape = (points.height, points.width)
    if not points.height * points.width:
        return np.empty(shape, kind)
    return np.ndarray(shape, kind, points.data, field.offset, (points.row_step, points.point_step))


def _move(cloud: npt.NDArray[np.floating], pose: Transform) -> None:
    """Turn and shift points in place."""
    x, y, z, w = pose.rotation
    axis, flat = np.array([x, y, z]), cloud[..., :3]
    across = np.cross(axis, flat)
    cloud[..., :3] = flat + 2 * (w * across + np.cross(axis, across)) + np.array(pose.translation)
