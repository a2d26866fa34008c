"""Lifts the boxes of a frame to cuboids in the vehicle's frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from autolabel.cuboids.geometry import Array, Cuboid
from autolabel.cuboids.ground import Ground
from autolabel.cuboids.lifting import NotLifted, Reason, Scene
from autolabel.cuboids.rig import MountedCamera
from autolabel.labels import Box
from autolabel.labels.box_cuboids import BoxCuboid
from autolabel.labels.manifest import LabelledBox

# More boxes of a frame are not lifted, so that a frame takes some seconds at most.
_MOST_BOXES = 100
# A fit that costs more explains nothing: on real frames one of a hundred boxes, and half of them where the extrinsics
# are wrong by 40°.
_MOST_COST = 2.0
# Decimals of metres and radians: millimetres, and what is one at 10 m.
_DECIMALS = 3, 4
_UP = np.array([0.0, -1.0, 0.0])


def lift_boxes(
    camera: MountedCamera, points: Array, boxes: Iterable[LabelledBox], shown: Iterable[LabelledBox] = ()
) -> list[BoxCuboid]:
    """Lift the boxes of a frame, in their order. `points` (n, 3): in the vehicle's frame when the picture was taken.

    `shown`: the boxes of models. One of `boxes` that stands where one of them does is a model's; a person drew the
    others. The same input gives the same cuboids.
    """
    seen = points @ camera.to_camera[:3, :3].T + camera.to_camera[:3, 3]
    scene = Scene(seen, camera.projection)
    if scene.is_empty:
        return without_cuboids("no points in the picture", boxes)
    found = {_sides(box) for box in shown}
    return [
        _lift(camera, scene, box, drawn=_sides(box) not in found) if at < _MOST_BOXES else _none("too many boxes")
        for at, box in enumerate(boxes)
    ]


def without_cuboids(reason: Reason, boxes: Iterable[LabelledBox]) -> list[BoxCuboid]:
    """Say of each box of a frame the same reason why it has no cuboid."""
    return [_none(reason) for _ in boxes]


def rounded(center: Array, size: Sequence[float] | Array, yaw: float, *, cost: float, points: int) -> BoxCuboid:
    """Make a cuboid of numbers, rounded. `yaw` may be any number of turns."""
    metres, angle = _DECIMALS
    x, y, z = (round(float(value), metres) + 0.0 for value in center)
    length, width, height = (round(float(value), metres) for value in size)
    turned = round(float((yaw + np.pi) % (2 * np.pi) - np.pi), angle)
    return BoxCuboid((x, y, z), (length, width, height), turned + 0.0, round(cost, metres), points)


def _none(reason: Reason) -> BoxCuboid:
    return BoxCuboid(why=reason)


def _sides(box: LabelledBox) -> Box:
    return box.left, box.top, box.left + box.width, box.top + box.height


def _lift(camera: MountedCamera, scene: Scene, box: LabelledBox, *, drawn: bool) -> BoxCuboid:
    lifted = scene.lift(box.name, camera.ideal(_sides(box)), drawn=drawn)
    if isinstance(lifted, NotLifted) or scene.ground is None:
        return _none(lifted.reason if isinstance(lifted, NotLifted) else "no ground")
    if lifted.fit.cost > _MOST_COST:
        return _none("poor fit")
    center, yaw = _in_vehicle(camera, scene.ground, lifted.cuboid)
    size = lifted.cuboid.length, lifted.cuboid.width, lifted.cuboid.height
    return rounded(center, size, yaw, cost=lifted.fit.cost, points=lifted.points)


def _in_vehicle(camera: MountedCamera, ground: Ground, cuboid: Cuboid) -> tuple[Array, float]:
    """Return middle and heading in the vehicle's frame; the heading within half a turn, since front looks like back."""
    to_vehicle = np.linalg.inv(camera.to_camera)
    bottom = np.array([cuboid.x, cuboid.y, cuboid.z])
    middle = bottom + ground.turn.T @ (_UP * cuboid.height / 2)
    ahead = to_vehicle[:3, :3] @ ground.turn.T @ (np.cos(cuboid.yaw), 0.0, -np.sin(cuboid.yaw))
    yaw = float(np.arctan2(ahead[1], ahead[0]))
    return to_vehicle[:3, :3] @ middle + to_vehicle[:3, 3], (yaw + np.pi / 2) % np.pi - np.pi / 2
