"""Says whether the cameras of a drive are where drive.json says, and proposes what it would say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeVar

import msgspec
import numpy as np

from autolabel.calibration.lidar_rotation import FARTHEST, RotationView, measure_rotation
from autolabel.calibration.turns import turn_matrix
from autolabel.calibration.vanishing_point import measure_lanes
from autolabel.contracts.logs import Transform
from autolabel.contracts.wording import counted
from autolabel.cuboids import Array, MountedCamera, matrix_of, quaternion_of

# A larger angle is a finding, in degrees: frames of KITTI as they are measure up to 0.1, and lanes up to 0.25.
LARGEST = 0.4
# Frames of a camera that are looked at, evenly over the drive; and those that say enough.
MOST_FRAMES, LEAST_FRAMES = 40, 20
# A larger uncertainty says nothing, in degrees. The angle of a finding is this number of uncertainties at least.
_MOST_UNCERTAINTY, _SURE = 0.2, 2.0
# The best rotation explains the edges better than the others by this share. Twenty of KITTI's frames have 0.1 and more.
_LEAST_CONTRAST = 0.03

T = TypeVar("T")
Method = Literal["lidar", "lanes"]
Verdict = Literal["in place", "turned", "too little evidence"]


class CameraCheck(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one method says of a camera. Angles are in degrees, about the camera's x (right), y (down) and z (ahead).

    `turn`: the rotation vector from where drive.json has the camera's view to where it is; z is 0 by lanes. `angle`:
    its length; `uncertainty`: one standard deviation of it. `why`: what evidence lacks. `proposal`: extrinsics in
    drive.json's form, of a camera that is turned. The fields are absent where nothing was measured. `lidar`: the one
    that it was compared with.
    """

    camera: str
    method: Method
    verdict: Verdict
    frames: int
    why: str = ""
    turn: tuple[float, float, float] | None = None
    angle: float | None = None
    uncertainty: float | None = None
    proposal: Transform | None = None
    lidar: str = ""


class CalibrationDocument(msgspec.Struct, frozen=True):
    """What the calibration watch says of a drive: a check for each camera and method. `largest`: angle in place."""

    drive: str
    checks: tuple[CameraCheck, ...]
    largest: float = LARGEST


def check_by_lidar(
    name: str, lidar: str, camera: MountedCamera, place: Transform | None, views: Sequence[RotationView]
) -> CameraCheck:
    """Check a camera by the points of a LiDAR. `place`: its extrinsics; `views`: frames in the order of time."""
    telling = [view for view in views if view.is_telling]
    if len(telling) < LEAST_FRAMES:
        seen = f"{len(telling)} of {counted(len(views), 'frame')} with points show outlines of objects"
        return CameraCheck(
            name, "lidar", "too little evidence", len(telling), f"{seen}; {LEAST_FRAMES} are needed", lidar=lidar
        )
    found = measure_rotation(telling)
    why = ""
    if found.contrast < _LEAST_CONTRAST:
        why = "the outlines in the points fit to the edges of the pictures nowhere"
    check = _judge(name, "lidar", camera, place, len(telling), found.degrees, found.uncertainty, why)
    return msgspec.structs.replace(check, lidar=lidar)


def check_by_lanes(name: str, camera: MountedCamera, place: Transform | None, frames: Sequence[Array]) -> CameraCheck:
    """Check yaw and pitch of a camera by lanes. `frames`: what `lane_segments` gives, in the order of time."""
    if len(frames) < LEAST_FRAMES:
        why = f"the camera has {counted(len(frames), 'usable frame')}; {LEAST_FRAMES} are needed"
        return CameraCheck(name, "lanes", "too little evidence", len(frames), why)
    lanes = measure_lanes(frames, camera)
    if lanes is None:
        why = "too few lanes meet in one point: the road is not straight, or the camera does not look along it"
        return CameraCheck(name, "lanes", "too little evidence", len(frames), why)
    # A vanishing point farther right is a turn about y (down) that takes z to x; farther down is one against x.
    turn = np.array([-lanes.pitch, lanes.yaw, 0.0])
    return _judge(name, "lanes", camera, place, len(frames), turn, lanes.uncertainty, "")


def _judge(
    name: str,
    method: Method,
    camera: MountedCamera,
    place: Transform | None,
    frames: int,
    degrees: Array,
    uncertainty: float,
    why: str,
) -> CameraCheck:
    angle = float(np.linalg.norm(degrees))
    verdict: Verdict = "turned" if angle > LARGEST else "in place"
    if not why and uncertainty > _MOST_UNCERTAINTY:
        why = f"parts of the drive differ: the uncertainty is above {_MOST_UNCERTAINTY}°"
    if not why and verdict == "turned" and angle < _SURE * uncertainty:
        why = f"the angle is less than {_SURE:g} times its uncertainty"
    if why:
        verdict = "too little evidence"
    elif np.abs(degrees).max() >= FARTHEST - 1e-6 and method == "lidar":
        why = f"the turn is {FARTHEST}° or more, where the search ends: calibrate the camera anew"
    proposal = None
    if verdict == "turned" and not why and place is not None:
        proposal = propose(camera, place, degrees)
    x, y, z = (round(float(one), 3) + 0.0 for one in degrees)
    return CameraCheck(name, method, verdict, frames, why, (x, y, z), round(angle, 3), round(uncertainty, 3), proposal)


def propose(camera: MountedCamera, place: Transform, degrees: Array) -> Transform:
    """Return the extrinsics of a camera whose view is turned by a rotation vector (3) against what they say now."""
    # The pictures may be rectified: then the view is turned against the camera's own frame, by R of its intrinsics.
    stored = matrix_of(place)[:3, :3]
    rectified = camera.to_camera[:3, :3] @ stored
    turn = rectified.T @ turn_matrix(degrees) @ rectified
    return Transform(place.frame, place.parent, place.translation, quaternion_of(stored @ turn.T))


def evenly(items: Iterable[T], most: int = MOST_FRAMES) -> list[T]:
    """Return at most `most` of the items, evenly over all of them. Memory is bounded."""
    kept, step = list[T](), 1
    for at, item in enumerate(items):
        if at % step == 0:
            kept.append(item)
        if len(kept) == 4 * most:
            kept, step = kept[::2], 2 * step
    if len(kept) <= most:
        return kept
    return [kept[(2 * at + 1) * len(kept) // (2 * most)] for at in range(most)]
