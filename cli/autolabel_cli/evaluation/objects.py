"""Labelled objects of any format, and which of them count for which class.

The rules are KITTI's (cvlibs.net, 2D object evaluation): an object counts if it is large, visible and whole enough for
a level, and a detection of a neighbour class is not an error.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from autolabel.labels import IGNORE, Box, current_taxonomy
from autolabel_cli.models.documents import COCO_CLASSES
from autolabel_cli.models.kitti import CLASSES, GROUPS, REGION_TYPE, Level, counts
from autolabel_cli.models.truth import COUNTS, IGNORED, REGION, Truth

# What an object is if its class has no place in the taxonomy. KITTI's Misc is trailers and other things on wheels.
UNKNOWN, MISC = "", "misc"
CLASS_NAMES = tuple(name for name in current_taxonomy().names if name != IGNORE)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().lower()


# A stop sign is one traffic sign of many, but it is all that COCO labels.
_NAMES = {_plain(theirs): ours for theirs, ours in (COCO_CLASSES | CLASSES).items()} | {
    **{_plain(name): name for name in current_taxonomy().names},
    _plain(REGION_TYPE): IGNORE,
    "misc": MISC,
}


class LabelledObject(NamedTuple):
    """Object of a label. `box`: xyxy pixels clipped to the frame, None if nothing of it is left.

    `named`: its class in the label; `name`: in the taxonomy, or UNKNOWN or MISC. `region`: detections of the class in
    the box do not count; those of all classes where the class is `ignore`. `share_left`: of the area, 0 to 1.
    `truncation` (0 to 1) and `occlusion` (0 to 3) are KITTI's. `scored`: False for what KITTI leaves out of scores.
    """

    named: str
    name: str
    box: Box | None
    share_left: float
    region: bool = False
    truncation: float = 0.0
    occlusion: int = 0
    scored: bool = True


class ScoredClass(NamedTuple):
    """Classes of the taxonomy that are scored together, and neighbours whose objects are ignored."""

    classes: frozenset[str]
    neighbours: frozenset[str] = frozenset()


_NEIGHBOURS = {"vehicle": frozenset({"train", "trailer", MISC}), "car": frozenset({"van"})}
_GROUPED = dict(zip(GROUPS, (frozenset({"car", "van", "truck", "bus"}), frozenset({"person", "rider"})), strict=True))


def class_of(name: str) -> str:
    """Return the class of the taxonomy for a name of KITTI, COCO or the taxonomy, in any case; UNKNOWN for others."""
    return _NAMES.get(_plain(name), UNKNOWN)


def clipped(named: str, box: Box, width: int, height: int, *, region: bool = False) -> LabelledObject:
    """Make an object of a class name and a box (xyxy pixels) in a frame of `width` x `height` pixels."""
    inside = (max(0.0, box[0]), max(0.0, box[1]), min(float(width), box[2]), min(float(height), box[3]))
    left = max(0.0, inside[2] - inside[0]) * max(0.0, inside[3] - inside[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    name = class_of(named)
    return LabelledObject(named, name, inside if left else None, left / area if left else 0.0, region or name == IGNORE)


def scored_classes(labelled: Collection[str]) -> Mapping[str, ScoredClass]:
    """Return what is scored where these classes are labelled: the groups, and each class.

    A group has the labelled classes only: where trucks are not labelled, a detected truck is neither right nor wrong.
    """
    known = frozenset(labelled)
    sets = {name: classes & known for name, classes in _GROUPED.items()}
    sets |= {name: frozenset({name}) for name in CLASS_NAMES if name in known}
    return {name: ScoredClass(classes, _NEIGHBOURS.get(name, frozenset())) for name, classes in sets.items()}


def truths(objects: Iterable[LabelledObject], scored: ScoredClass, level: Level) -> list[Truth]:
    """Return the truth of a frame for a scored class at a level: objects that count or are ignored, and regions."""
    found = []
    for thing in objects:
        if thing.box is None:
            continue
        if thing.region:
            if thing.name == IGNORE or thing.name in scored.classes:
                found.append(Truth(thing.box, REGION))
        elif thing.name in scored.classes:
            found.append(Truth(thing.box, COUNTS if thing.scored and counts(thing, level) else IGNORED))
        elif thing.name in scored.neighbours or thing.name == UNKNOWN:
            found.append(Truth(thing.box, IGNORED))
    return found


def count_unknown(objects: Sequence[LabelledObject]) -> list[str]:
    """Return the class names of the objects that have no place in the taxonomy."""
    return [thing.named for thing in objects if thing.name == UNKNOWN]
