"""Finds label issues across sensors: boxes that a LiDAR's points or another camera's boxes contradict.

A box shows an object, so points that fall into the box stand together, where the object's height says that it is. A
cluster of a car's size is a car, so it has a box in a camera that sees it. Boxes of two cameras with the same points
show one object, so they have one class. A LiDAR sees no glass and little of far objects: the rank says where to look
first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from autolabel.cuboids import SIZES, Array, MountedCamera, Scene
from autolabel.cuboids.clusters import clusters
from autolabel.labels.agreement import corners
from autolabel.labels.manifest import LabelledBox

WITHOUT_POINTS = "without points"
WITHOUT_BOX = "cluster without a box"
NAMED_DIFFERENTLY = "named differently"
# Below this `suspicion` nothing is said.
LEAST = 0.1

# Points of objects are between these heights above the ground, in metres; cars end below the upper one.
_LOW, _HIGH = 0.25, 2.2
# Objects farther away have too few points, in metres.
_FARTHEST = 40.0
# The sides of a box are left out, as shares of it: what is behind the object shows there.
_SIDE = 0.1
# How far the distance may be from the one that the box's height says, as a factor.
_NEARER, _FARTHER = 0.55, 1.8
# The same for what a box explains: what stands before or behind its object has a box of its own. Metres are added for
# the object's length.
_HELD, _LENGTH = (0.75, 1.3), 2.0
# From this share of the points in a box on, those that stand together at its distance are its object.
_ENOUGH = 0.4
# Where a surface goes on beside a box, in widths of the box; how near in metres its distance is; and how suspicious
# that is at most, since parked cars stand side by side.
_GAP, _BESIDE, _SURFACE, _WALL = 0.05, 0.5, 1.0, 0.8
# Points in a box, or of a cluster, from which on they say all they can.
_MANY = 25
# A side of a box this near to the edge of the picture, in pixels, is cut: its height says nothing.
_EDGE = 3.0
# Boxes of two cameras show one object if they share this part of the points that both could have.
_SAME = 0.5
# A cluster is explained by a box or an ignored region that holds this share of its points.
_EXPLAINED = 0.5
# Clusters of a box that may be its object, as a share of the largest one's points.
_LARGE = 0.3
# A class that persons take for the other at a distance is half as suspicious.
_ALIKE = (frozenset({"car", "van"}), frozenset({"person", "rider"}), frozenset({"truck", "bus", "van"}))
_HALF = 0.5
# Clusters nearer to each other, in metres, are of one car.
_SAME_CAR = 2.5
# Clusters of a frame that are looked at.
_MOST_CLUSTERS = 100
# And of a box.
_FEW_CLUSTERS = 4
# Sizes that a LiDAR sees of a car, in metres: its back or its side, how deep, and the height of its top.
_LONG, _DEEP, _TOP = (1.3, 5.2), 2.3, (1.15, 2.0)
_HEADINGS = np.radians(np.arange(0, 90, 5))


class CameraLabel(NamedTuple):
    """The label of a camera's picture. `boxes`: in pixels of the stored picture, those to ignore too."""

    name: str
    camera: MountedCamera
    boxes: Sequence[LabelledBox]


class SensorIssue(msgspec.Struct, frozen=True, omit_defaults=True):
    """A label that other sensors contradict. `suspicion`: 1 minus the label quality score, 0 to 1.

    `at`: the position of the box among the boxes of its camera; None for a cluster without a box. `box`: xyxy in
    pixels, of a cluster where it would be. `points`: of the object. `other`: the other camera, and `name` its class.
    """

    kind: str
    suspicion: float
    camera: str
    box: tuple[float, float, float, float]
    at: int | None = None
    points: int = 0
    other: str = ""
    name: str = ""


class _Seen(NamedTuple):
    """What a camera sees of a cloud. `at` (n): which points; `pixels` (n, 2): of the ideal picture.

    `places` (n, 2): on the ground, right and ahead; `heights` (n): above it, in metres.
    """

    label: CameraLabel
    at: npt.NDArray[np.intp]
    pixels: Array
    places: Array
    heights: Array


class _Object(NamedTuple):
    """The points of a box's object. `points`: their number, of those at the distance that the box's height says.

    `free`: points in the box that are not nearer, or as many as would be there. `numbers`: of the points in the cloud
    that stand together in the box, at any distance. `beside`: points that go on beside the box at its distance.
    """

    points: int
    free: float
    numbers: frozenset[int]
    beside: int = 0


def find_sensor_issues(labels: Sequence[CameraLabel], points: Array) -> list[SensorIssue]:
    """Find the issues of the pictures of one moment, the most suspicious first.

    `points` (n, 3): of all LiDARs, in the vehicle's frame when the pictures were taken, in metres. Cameras that see no
    ground have no issues.
    """
    seen = [one for label in labels if (one := _look(label, points))]
    objects = [{at: found for at in range(len(one.label.boxes)) if (found := _object(one, at))} for one in seen]
    issues = [
        issue
        for one, found in zip(seen, objects, strict=True)
        for at, thing in found.items()
        for issue in _without_points(one, at, thing)
    ]
    issues += _named_differently(seen, objects)
    issues += _without_box(seen, points)
    return sorted((one for one in issues if one.suspicion >= LEAST), key=lambda one: -one.suspicion)


def _look(label: CameraLabel, points: Array) -> _Seen | None:
    camera = label.camera
    there = points @ camera.to_camera[:3, :3].T + camera.to_camera[:3, 3]
    pixels = camera.projection.pixels(there)
    size = camera.projection.width, camera.projection.height
    at = np.flatnonzero((there[:, 2] > 1.0) & ((pixels >= 0) & (pixels < size)).all(axis=1))
    ground = Scene(there[at], camera.projection).ground if len(at) else None
    if ground is None:
        return None
    level = there[at] @ ground.turn.T
    return _Seen(label, at, pixels[at], level[:, [0, 2]], ground.y - level[:, 1])


def _object(seen: _Seen, at: int) -> _Object | None:
    """Return the points of a box's object; None for a class without a size. A cut or far box has `free` 0."""
    box = seen.label.boxes[at]
    size = SIZES.get(box.name)
    left, top, right, bottom = seen.label.camera.ideal(corners(box))
    picture = seen.label.camera.projection
    cut = min(left, top) < _EDGE or right > picture.width - _EDGE or bottom > picture.height - _EDGE
    if size is None or bottom - top < 1:
        return None
    away = float(picture.matrix[1, 1]) * size.height[0] / (bottom - top)
    across, down = _SIDE * (right - left), _SIDE * (bottom - top)
    inside = np.flatnonzero(_inside(seen.pixels, (left + across, top + down, right - across, bottom - down)))
    depths, heights = seen.places[inside, 1], seen.heights[inside]
    high = (heights > _LOW) & (heights < 1.5 * size.height[0])
    near = high & (depths < _NEARER * away)
    there = inside[high & ~near & (depths < _FARTHER * away)]
    together = _largest(seen, there)
    every = _nearest(seen, inside[(heights > _LOW) & (heights < _HIGH)])
    if cut or away > _FARTHEST:
        return _Object(0, 0.0, frozenset(seen.at[every].tolist()))
    # Beams that come back beside the box would come back from an object in it.
    wide = right - left
    around = int(_inside(seen.pixels, (left - 2 * wide, top, right + 2 * wide, bottom)).sum())
    expected = around / 5 * (1 - 2 * _SIDE) ** 2
    free = max(float(len(inside)), expected) - int(near.sum())
    beside = 0
    if len(together):
        margin, gap = _BESIDE * wide, _GAP * wide
        aside = _inside(seen.pixels, (left - margin, top, right + margin, bottom))
        aside &= ~_inside(seen.pixels, (left - gap, top, right + gap, bottom))
        deep = np.abs(seen.places[:, 1] - np.median(seen.places[together, 1])) < _SURFACE
        beside = int((aside & deep & (seen.heights > _LOW)).sum())
    return _Object(len(together), max(free, 0.0), frozenset(seen.at[every].tolist()), beside)


def _nearest(seen: _Seen, members: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return the nearest cluster that is not much smaller than the largest."""
    groups = clusters(seen.places[members], _FEW_CLUSTERS) if len(members) else []
    large = [members[group] for group in groups if len(group) > _LARGE * len(groups[0])]
    return min(large, key=lambda group: float(np.median(seen.places[group, 1])), default=members[:0])


def _largest(seen: _Seen, members: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    groups = clusters(seen.places[members], 1) if len(members) else []
    return members[groups[0]] if groups else members[:0]


def _without_points(seen: _Seen, at: int, thing: _Object) -> Iterator[SensorIssue]:
    share = thing.points / max(thing.free, 1.0)
    # Few points fall into a box that others hide or no beam reaches: they say little.
    missing = max(0.0, 1 - share / _ENOUGH)
    # A wall or a hedge goes on beside the box.
    goes_on = float(np.clip(thing.beside / max(thing.points, 1) / _ENOUGH - 1, 0, 1)) * _WALL
    suspicion = max(missing, goes_on) * min(1.0, thing.free / _MANY)
    box = corners(seen.label.boxes[at])
    yield SensorIssue(WITHOUT_POINTS, round(suspicion, 4), seen.label.name, box, at, thing.points)


def _named_differently(seen: Sequence[_Seen], objects: Sequence[dict[int, _Object]]) -> Iterator[SensorIssue]:
    sights = [frozenset(one.at.tolist()) for one in seen]
    for here, one in enumerate(seen):
        for there, other in enumerate(seen):
            if here == there:
                continue
            for at, thing in objects[here].items():
                name = one.label.boxes[at].name
                both = thing.numbers & sights[there]
                best = max(objects[there].items(), key=lambda pair: len(both & pair[1].numbers), default=None)
                if not best or not both:
                    continue
                theirs = other.label.boxes[best[0]].name
                common = len(both & best[1].numbers)
                share = common / len(both | (best[1].numbers & sights[here]))
                if theirs == name or share < _SAME:
                    continue
                alike = any({name, theirs} <= group for group in _ALIKE)
                suspicion = share * min(1.0, common / _MANY) * (_HALF if alike else 1.0)
                yield SensorIssue(
                    NAMED_DIFFERENTLY,
                    round(suspicion, 4),
                    one.label.name,
                    corners(one.label.boxes[at]),
                    at,
                    common,
                    other.label.name,
                    theirs,
                )


def _without_box(seen: Sequence[_Seen], points: Array) -> Iterator[SensorIssue]:
    """Yield the clusters of a car's size that no camera has a box for, each once."""
    told = list[Array]()
    covered = {at for one in seen for box in one.label.boxes for at in one.at[_held(one, box)].tolist()}
    for one in seen:
        low = np.flatnonzero((one.heights > _LOW) & (one.heights < _HIGH) & (one.places[:, 1] < _FARTHEST))
        for group in clusters(one.places[low], _MOST_CLUSTERS) if len(low) else []:
            members = low[group]
            numbers = one.at[members].tolist()
            middle: Array = np.median(points[numbers], axis=0)
            # Another camera sees the same object, and beams that graze it leave its side apart from its back.
            if len(covered.intersection(numbers)) > _EXPLAINED * len(numbers) or any(
                np.linalg.norm(middle - other) < _SAME_CAR for other in told
            ):
                continue
            told.append(middle)
            likeness = _car_likeness(one, members)
            suspicion = likeness * min(1.0, len(members) / _MANY)
            (left, top), (right, bottom) = one.pixels[members].min(axis=0), one.pixels[members].max(axis=0)
            x, y = one.label.camera.corner
            box = (float(left + x), float(top + y), float(right + x), float(bottom + y))
            yield SensorIssue(WITHOUT_BOX, round(suspicion, 4), one.label.name, box, None, len(members))


def _held(seen: _Seen, box: LabelledBox) -> npt.NDArray[np.bool_]:
    """Return which points may be of a box's object: those inside, at the distance that its height says."""
    ends = seen.label.camera.ideal(corners(box))
    inside, size = _inside(seen.pixels, ends), SIZES.get(box.name)
    picture = seen.label.camera.projection
    if size is None or min(ends[:2]) < _EDGE or ends[2] > picture.width - _EDGE or ends[3] > picture.height - _EDGE:
        return inside
    away = float(picture.matrix[1, 1]) * size.height[0] / max(ends[3] - ends[1], 1.0)
    low, high = _HELD
    return inside & (seen.places[:, 1] > low * away) & (seen.places[:, 1] < high * away + _LENGTH)


def _car_likeness(seen: _Seen, members: npt.NDArray[np.intp]) -> float:
    """Return how much a cluster looks like a car, 0 to 1: its size on the ground, its top, and nothing above it."""
    places, heights = seen.places[members], seen.heights[members]
    cos, sin = np.cos(_HEADINGS), np.sin(_HEADINGS)
    along = places[:, :1] * cos + places[:, 1:] * sin
    across = places[:, 1:] * cos - places[:, :1] * sin
    sides = np.sort(np.stack([np.ptp(along, axis=0), np.ptp(across, axis=0)]), axis=0)
    deep, long = sides[:, sides.prod(axis=0).argmin()]
    (left, near), (right, far) = places.min(axis=0), places.max(axis=0)
    x, z = seen.places.T
    above = (x > left) & (x < right) & (z > near) & (z < far) & (seen.heights >= _HIGH)
    top = float(heights.max())
    edges = seen.pixels[members]
    picture = seen.label.camera.projection
    whole = edges.min() > _EDGE and (edges.max(axis=0) < np.array([picture.width, picture.height]) - _EDGE).all()
    # A corner of a house or a bush fills no box as a car's two sides do: the spread of heights tells too.
    filled = float(np.ptp(heights)) > 0.5
    return (
        _within(long, *_LONG, 0.8)
        * _within(deep, 0.1, _DEEP, 0.5)
        * _within(top, *_TOP, 0.25)
        * max(0.0, 1 - float(above.sum()) / max(1.0, 0.2 * len(members)))
        * (1.0 if filled else 0.3)
        * _within(float(heights.min()), 0.0, 0.6, 0.3)
        * (1.0 if whole else _HALF)
    )


def _within(value: float, low: float, high: float, slack: float) -> float:
    """Return 1 for a value within limits, falling to 0 at `slack` beside them."""
    return float(np.clip(1 - max(low - value, value - high, 0.0) / slack, 0, 1))


def _inside(pixels: Array, box: tuple[float, float, float, float]) -> npt.NDArray[np.bool_]:
    left, top, right, bottom = box
    inside: npt.NDArray[np.bool_] = (pixels[:, 0] >= left) & (pixels[:, 0] <= right)
    return inside & (pixels[:, 1] >= top) & (pixels[:, 1] <= bottom)
