"""Defines the cuboids of a line's boxes, as the dataset has them."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import msgspec

# x, y, z in metres.
Place = tuple[float, float, float]
# A row of a matrix that also shifts: three numbers for x, y and z, and a number to add.
Row = tuple[float, float, float, float]
# Where a cuboid comes from, in the words of a box's origin; empty where reviewers did not get it.
CuboidOrigin = Literal["", "model and person", "person", "script"]
DELETED = "deleted by a reviewer"


class CuboidProjection(msgspec.Struct, frozen=True, omit_defaults=True):
    """The box of a cuboid's projection in a picture, cut off at its edges: left, top, width, height in its pixels.

    `truncated`: the share of what the camera faces of the cuboid that is outside of the picture. `occluded`: the share
    of what is inside the picture that is behind other cuboids of the same frame. Shares are of the solid angle.
    """

    left: float
    top: float
    width: float
    height: float
    truncated: float = 0.0
    occluded: float = 0.0


class BoxCuboid(msgspec.Struct, frozen=True, omit_defaults=True):
    """The cuboid of a box in the vehicle's frame: x ahead, y to the left, z up, in metres; or `why` it has none.

    `center`: its middle. `size`: length, width, height. `yaw`: its heading in radians about z, 0 along x and π/2 along
    y; front and back are told apart only where a track moves. `cost`: of its fit, less is better; `points`: of the
    LiDAR that it was fitted to. Both are of the frame alone, also where a track made it smooth.

    `origin`: where reviewers got the cuboid, whose it is: `model and person` if a reviewer left it as it was, `person`
    if one changed or deleted it, `script` if a script answered. `label`: the class, if a reviewer gave it another one
    than the box has. A cuboid that was changed has no `cost`. `projections`: by camera, those in which it is visible.
    """

    center: Place | None = None
    size: Place | None = None
    yaw: float | None = None
    cost: float | None = None
    points: int = 0
    why: str = ""
    origin: CuboidOrigin = ""
    label: str = ""
    projections: dict[str, CuboidProjection] = {}


class AddedCuboid(msgspec.Struct, frozen=True):
    """A cuboid that a reviewer added, of an object without a box; fields as in BoxCuboid, `label` is its class."""

    label: str
    center: Place
    size: Place
    yaw: float
    origin: CuboidOrigin


class NearPicture(msgspec.Struct, frozen=True):
    """The picture of another camera that is nearest in time, into which the cuboids of a frame are projected.

    `timestamp`: in its key. `motion`: where the vehicle's motion between the two pictures comes from.
    """

    timestamp: str
    motion: Literal["poses", "none"]


class CuboidScene(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the cuboids of a frame were made from; fields are empty where nothing was lifted.

    `frame`: the name of the vehicle's frame. `clouds`: by LiDAR, the timestamp of its point cloud. `motion`: where the
    vehicle's motion between picture and clouds comes from. `camera`: the matrix (3 x 4) from the vehicle's frame to the
    camera's, x to the right, y down, z ahead, by which KITTI's fields follow. `job`: the verification job whose
    reviewer left the cuboids; `verification`: why it left none of a frame that it had. `pictures`: by the other cameras
    that have one near in time. `poses`: by sensor, the matrix (3 x 4) from the vehicle's frame at the time of its
    picture or point cloud to a frame that stands still; empty without poses.
    """

    frame: str = ""
    clouds: dict[str, str] = {}
    motion: Literal["", "poses", "none"] = ""
    camera: tuple[Row, Row, Row] | None = None
    job: str = ""
    verification: str = ""
    pictures: dict[str, NearPicture] = {}
    poses: dict[str, tuple[Row, Row, Row]] = {}


class CameraCuboid(NamedTuple):
    """A cuboid in a camera's frame, x to the right, y down, z ahead, with KITTI's fields in their order.

    `alpha`: the heading against the line of sight. `x`, `y`, `z`: the middle of the bottom, in metres. `rotation_y`:
    the heading about y, 0 along x. Angles are in radians from -π to π.
    """

    alpha: float
    height: float
    width: float
    length: float
    x: float
    y: float
    z: float
    rotation_y: float


def in_camera(cuboid: BoxCuboid, scene: CuboidScene) -> CameraCuboid | None:
    """Return a cuboid in the frame of its camera; None for a box without one."""
    if cuboid.center is None or cuboid.size is None or cuboid.yaw is None or scene.camera is None:
        return None
    length, width, height = cuboid.size
    x, y, z = cuboid.center
    bottom = (x, y, z - height / 2, 1.0)
    right, down, ahead = (sum(a * b for a, b in zip(row, bottom, strict=True)) for row in scene.camera)
    heading = math.cos(cuboid.yaw), math.sin(cuboid.yaw)
    to_right, _, to_front = (row[0] * heading[0] + row[1] * heading[1] for row in scene.camera)
    rotation = math.atan2(-to_front, to_right)
    alpha = math.remainder(rotation - math.atan2(right, ahead), math.tau)
    return CameraCuboid(alpha, height, width, length, right, down, ahead, rotation)
