"""Draws the cuboids of a frame: their edges over the picture, and the ground that they stand on from above."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from autolabel.contracts.drive import DriveDocument, Sensors
from autolabel.cuboids import MountedCamera, Rig, project, wireframe
from autolabel.labels.box_cuboids import BoxCuboid, CuboidProjection
from autolabel.labels.manifest import ManifestLine
from autolabel.labels.taxonomy import current_taxonomy

_NO_COLOR = "#757575"
# Metres around the vehicle and the objects that a view from above shows, and the most that it shows each way.
_MARGIN, _FARTHEST = 3.0, 80.0
# A cuboid has broken lines if at least this share of it is hidden.
_HIDDEN = 0.5


class DrawnCuboid(msgspec.Struct, frozen=True):
    """A cuboid with its class. `text`: for people; `hidden`: whether most of it is behind others.

    `edges`: in pixels of the picture, points for SVG; `front`: those of the front, or of the back where the heading may
    be off by π. `ground`: its corners seen from above, the front first, in metres to the right and down the page.
    """

    name: str
    color: str
    text: str
    hidden: bool
    edges: tuple[str, ...]
    front: tuple[str, ...]
    ground: str
    nose: str


class CuboidPicture(msgspec.Struct, frozen=True):
    """A frame with its cuboids. `image`: its name in the album, empty if it could not be read."""

    title: str
    width: int
    height: int
    image: str
    cuboids: tuple[DrawnCuboid, ...]


class Ground(msgspec.Struct, frozen=True):
    """The part of the ground that all views from above show, in metres: left, top, width, height; and circles."""

    left: float
    top: float
    width: float
    height: float
    circles: tuple[int, ...]


def has_cuboids(line: ManifestLine) -> bool:
    """Tell whether a line has a cuboid."""
    return bool(_cuboids_of(line))


def cuboid_picture(line: ManifestLine, sensors: Sensors, title: str, image: str) -> CuboidPicture:
    """Draw the cuboids of a frame that has some. Without a calibration of its camera, they are seen from above only."""
    found = Rig(DriveDocument("", sensors.cameras, lidars=sensors.lidars)).camera(line.origin.camera)
    camera = found if isinstance(found, MountedCamera) else None
    names, cuboids = zip(*_cuboids_of(line), strict=True)
    # Projected here, because the line has no projections of what reviewers changed or added.
    shown = project(camera, np.eye(4), cuboids) if camera else [None] * len(cuboids)
    colors = current_taxonomy().colors
    drawn = (
        _drawn(cuboid, name, colors.get(name, _NO_COLOR), camera, one)
        for name, cuboid, one in zip(names, cuboids, shown, strict=True)
    )
    return CuboidPicture(title, line.size.width, line.size.height, image, tuple(drawn))


def ground_of(lines: Iterable[ManifestLine]) -> Ground:
    """Return the part of the ground that shows the vehicle and all cuboids of lines, up to 80 m away."""
    middles = [cuboid.center for line in lines for _, cuboid in _cuboids_of(line) if cuboid.center]
    xs, ys = [0.0, *(x for x, _, _ in middles)], [0.0, *(y for _, y, _ in middles)]
    front, back, left, right = max(xs), -min(xs), max(ys), -min(ys)
    up, down, aside, other = (min(side + _MARGIN, _FARTHEST) for side in (front, back, left, right))
    circles = range(10, math.ceil(math.hypot(max(up, down), max(aside, other))), 10)
    return Ground(-round(aside, 1), -round(up, 1), round(aside + other, 1), round(up + down, 1), tuple(circles))


def _cuboids_of(line: ManifestLine) -> list[tuple[str, BoxCuboid]]:
    """Return the cuboids of a line with their classes, also those that reviewers added."""
    lifted = zip(line.label_boxes, line.cuboids or (), strict=False)
    return [
        *((one.label or box.name, one) for box, one in lifted if one.center and one.size and one.yaw is not None),
        *((one.label, BoxCuboid(one.center, one.size, one.yaw)) for one in line.added_cuboids or ()),
    ]


def _drawn(
    cuboid: BoxCuboid, name: str, color: str, camera: MountedCamera | None, shown: CuboidProjection | None
) -> DrawnCuboid:
    (x, y, _), (length, width, _), yaw = cuboid.center or (0.0,) * 3, cuboid.size or (0.0,) * 3, cuboid.yaw or 0.0
    cos, sin = math.cos(yaw), math.sin(yaw)
    # The vehicle's x goes up the page, and its y to the left.
    corners = [
        (-(y + sin * along * length + cos * across * width), -(x + cos * along * length - sin * across * width))
        for along, across in ((0.5, 0.5), (0.5, -0.5), (-0.5, -0.5), (-0.5, 0.5))
    ]
    nose = [(-y, -x), (-(y + sin * length / 2), -(x + cos * length / 2))]
    text = f"{name}, {math.hypot(x, y):.0f} m"
    if shown and (shown.occluded or shown.truncated):
        text += f", {shown.occluded:.0%} hidden, {shown.truncated:.0%} outside"
    edges = wireframe(camera, cuboid) if camera and shown else []
    return DrawnCuboid(
        name,
        color,
        text,
        bool(shown and shown.occluded >= _HIDDEN),
        tuple(_points(points.tolist()) for points, in_front in edges if not in_front),
        tuple(_points(points.tolist()) for points, in_front in edges if in_front),
        _points(corners),
        _points(nose),
    )


def _points(points: Sequence[Sequence[float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
