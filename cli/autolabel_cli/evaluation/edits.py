"""Counts the edits that a reviewer has to make to a frame's pre-label."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from autolabel.labels import IGNORE, SAME_OBJECT, Detection, box_iou, share_in
from autolabel_cli.evaluation.objects import CLASS_NAMES, LabelledObject
from autolabel_cli.models.kitti import Level, counts

# Boxes that several people draw around one object have a mean IoU of 0.88 (Papadopoulos et al., ICCV 2017). A box that
# is clearly worse has to be moved.
GOOD_BOX = 0.85


class Edits(NamedTuple):
    """Numbers of boxes to add, delete, move and relabel."""

    add: int = 0
    delete: int = 0
    move: int = 0
    relabel: int = 0

    @property
    def total(self) -> int:
        return sum(self)


def count_edits(
    prelabel: Sequence[Detection],
    objects: Sequence[LabelledObject],
    level: Level,
    labelled: Collection[str],
    good_box: float = GOOD_BOX,
) -> Edits:
    """Count the edits that turn a pre-label into the objects that count at a level.

    Boxes and objects are matched from the greatest IoU down to SAME_OBJECT, first the objects that count. A box needs
    no edit if it matches an object that does not count, is mostly inside a region of its class, or is lower than the
    level's minimum height. Boxes of other classes than `labelled` are left out. `good_box`: the IoU from which a box
    need not be moved.
    """
    boxes = [d for d in prelabel if d.name in labelled]
    real = [thing for thing in objects if thing.box is not None and not thing.region]
    regions = [(thing.name, thing.box) for thing in objects if thing.box is not None and thing.region]
    countable = [thing.name in CLASS_NAMES and counts(thing, level) for thing in real]
    pairs = [
        (countable[o], iou, -b, -o)
        for b, box in enumerate(boxes)
        for o, thing in enumerate(real)
        if thing.box is not None and (iou := box_iou(box.box, thing.box)) >= SAME_OBJECT
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
        if boxes[b].name != real[o].name:
            relabel += 1
        elif iou < good_box:
            move += 1
    for b, box in enumerate(boxes):
        high = box.box[3] - box.box[1] >= level.min_height
        inside = (share_in(box.box, region) >= SAME_OBJECT for name, region in regions if name in (IGNORE, box.name))
        if b not in matched and high and not any(inside):
            delete += 1
    add = sum(1 for o, important in enumerate(countable) if important and o not in taken)
    return Edits(add, delete, move, relabel)
