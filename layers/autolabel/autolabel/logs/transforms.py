"""Composes static transforms: where the frames of sensors are in the vehicle's frame."""

from __future__ import annotations

import math

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.logs import Quaternion, Transform, Vector

# The vehicle's frame by ROS's convention (REP 105).
VEHICLE_FRAME = "base_link"
_HERE: Vector = (0.0, 0.0, 0.0)
_NO_ROTATION: Quaternion = (0.0, 0.0, 0.0, 1.0)
# Some recorders write float32, and calibrations by hand have four decimals.
_NORM_TOLERANCE = 1e-3
# Metres, and parts of a quaternion: what rounding changes.
_SAME = 1e-6
# drive.json and the ledger hold the names of frames.
_MAX_NAME = 255


def checked_transform(frame: str, parent: str, translation: Vector, rotation: Quaternion) -> Transform:
    """Make a transform of numbers from outside. LogRefused if they are not finite, or not a rotation.

    Zeros stand for a quaternion that was left out: they do not turn.
    """
    if not any(rotation):
        rotation = _NO_ROTATION
    norm = math.hypot(*rotation)
    if not all(map(math.isfinite, translation)) or not abs(norm - 1) <= _NORM_TOLERANCE:
        raise LogRefused(
            "pose-wrong",
            f"{frame or 'the pose'} in {parent!r} has the translation {translation} and the rotation {rotation}: they "
            "must be finite, and the rotation a quaternion of length 1",
        )
    return Transform(frame, parent, translation, _scaled(rotation))


def compose(outer: Transform, inner: Transform) -> Transform:
    """Return where the frame of `inner` is in the parent of `outer`, whose frame is the parent of `inner`."""
    x, y, z = rotate(outer.rotation, inner.translation)
    dx, dy, dz = outer.translation
    return Transform(
        inner.frame, outer.parent, (x + dx, y + dy, z + dz), _scaled(_product(outer.rotation, inner.rotation))
    )


def inverse(of: Transform) -> Transform:
    """Return where the parent is in the frame."""
    qx, qy, qz, w = of.rotation
    back = (-qx, -qy, -qz, w)
    x, y, z = rotate(back, of.translation)
    return Transform(of.parent, of.frame, (-x, -y, -z), back)


def rotate(rotation: Quaternion, point: Vector) -> Vector:
    """Turn a point by a quaternion of length 1."""
    qx, qy, qz, w = rotation
    turned = _product(_product(rotation, (*point, 0.0)), (-qx, -qy, -qz, w))
    return turned[:3]


def _product(a: Quaternion, b: Quaternion) -> Quaternion:
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def _scaled(rotation: Quaternion) -> Quaternion:
    norm = math.hypot(*rotation)
    x, y, z, w = rotation
    return (x / norm, y / norm, z / norm, w / norm)


class TransformTree:
    """The static transforms of a log. What contradicts itself is refused where it is needed, and nothing is guessed."""

    def __init__(self) -> None:
        self._up: dict[str, Transform] = {}
        self._wrong: dict[str, str] = {}
        self._names = set[str]()

    def add(self, found: Transform) -> None:
        """Add a transform, as a log has it. The same one may come again."""
        # Old recorders write frames with a slash.
        frame, parent = found.frame.lstrip("/"), found.parent.lstrip("/")
        if not (0 < len(frame) <= _MAX_NAME and 0 < len(parent) <= _MAX_NAME):
            return
        try:
            made = checked_transform(frame, parent, found.translation, found.rotation)
        except LogRefused as e:
            self._wrong[frame] = str(e)
            return
        known = self._up.setdefault(frame, made)
        self._names |= {frame, parent}
        if known.parent != parent:
            self._wrong[frame] = f"frame {frame!r} has two parents, {known.parent!r} and {parent!r}"
        elif not _is_same(known, made):
            self._wrong[frame] = f"frame {frame!r} has two places in {parent!r}"

    def place(self, frame: str) -> Transform:
        """Compose where a frame is in VEHICLE_FRAME or, in logs without that, in the root of its tree.

        LogRefused for a frame that no transform names or connects, and for a way with a loop or a contradiction.
        """
        name = frame.lstrip("/")
        if name not in self._names and name not in self._wrong and name != VEHICLE_FRAME:
            raise LogRefused("frame-unknown", f"no static transform has its frame {frame!r}")
        placed = self._to(VEHICLE_FRAME, name)
        if placed.parent == VEHICLE_FRAME or VEHICLE_FRAME not in self._names:
            return placed
        vehicle = self._to(placed.parent, VEHICLE_FRAME)
        if vehicle.parent != placed.parent:
            raise LogRefused(
                "frame-unknown", f"no static transforms lead from its frame {frame!r} to {VEHICLE_FRAME!r}"
            )
        return compose(inverse(vehicle), placed)

    def _to(self, end: str, frame: str) -> Transform:
        """Compose the transforms from a frame up to `end`, or to the root."""
        at, passed = Transform(frame, frame, _HERE, _NO_ROTATION), set[str]()
        while at.parent != end:
            if at.parent in self._wrong or at.parent in passed:
                raise LogRefused(
                    "transforms-wrong", self._wrong.get(at.parent) or f"its transforms have a loop at {at.parent!r}"
                )
            passed.add(at.parent)
            if at.parent not in self._up:
                break
            at = compose(self._up[at.parent], at)
        return at


def _is_same(one: Transform, other: Transform) -> bool:
    # A quaternion and its negative are one rotation.
    return (
        math.dist(one.translation, other.translation) <= _SAME
        and min(math.dist(one.rotation, other.rotation), math.dist(one.rotation, [-part for part in other.rotation]))
        <= _SAME
    )
