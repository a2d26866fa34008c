"""What a person would have to do to a frame's pre-label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from autolabel.labels.agreement import SAME_OBJECT, share_in
from autolabel.labels.detections import Detection, overlap
from autolabel_cli.models.kitti import CLASSES, REGION_TYPE, KittiObject, Level, counts

# Boxes that people draw of one object overlap by 0.88 in the mean (Papadopoulos et al., ICCV 2017): what is clearly
# worse than that is moved.
GOOD_BOX = 0.85
EDITED = frozenset({*CLASSES.values(), "bus"})


class Edits(NamedTuple):
    """Boxes to add, delete, move, and give another class."""

    add: int = 0
    delete: int = 0
    move: int = 0
    relabel: int = 0

    @property
    def total(self) -> int:
        return sum(self)


def count_edits(prelabel: Sequence[Detection], objects: Sequence[KittiObject], level: Level) -> Edits:
    """The edits that lead from a pre-label to the objects that count at a level.

    Pairs of a box and an object are matched from the greatest IoU down to SAME_OBJECT, objects that count first. What
    matches an object that does not count, lies for the most part in an unlabelled region, or is lower than the level's
    height, is left as it is. Classes that the set does not label are no matter.
    """
    boxes = [d for d in prelabel if d.name in EDITED]
    real = [thing for thing in objects if thing.box is not None and thing.type != REGION_TYPE]
    regions = [thing.box for thing in objects if thing.box is not None and thing.type == REGION_TYPE]
    countable = [thing.type in CLASSES and counts(thing, level) for thing in real]
    pairs = [
        (countable[o], iou, -b, -o)
        for b, box in enumerate(boxes)
        for o, thing in enumerate(real)
        if thing.box is not None and (iou := overlap(box.box, thing.box)) >= SAME_OBJECT
    ]
    matched: dict[int, int] = {}
    taken = set[int]()
    delete = move = relabel = 0
    for important, iou, minus_b, minus_o in sorted(pairs, reverse=True):
        b, o = -minus_b, -minus_o
        if b in matched or o in taken:
            continue
        matched[b] = o
        taken.add(o)
        if not important:
            continue
        if boxes[b].name != CLASSES[real[o].type]:
            relabel += 1
        elif iou < GOOD_BOX:
            move += 1
    for b, box in enumerate(boxes):
        high = box.box[3] - box.box[1] >= level.min_height
        if b not in matched and high and not any(share_in(box.box, region) >= SAME_OBJECT for region in regions):
            delete += 1
    add = sum(1 for o, important in enumerate(countable) if important and o not in taken)
    return Edits(add, delete, move, relabel)
