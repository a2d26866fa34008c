"""Agreement of a pre-label with what a person left of the same frame, box by box."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from autolabel.labels.detections import Box, box_iou
from autolabel.labels.manifest import LabelledBox

# Boxes that overlap so far mean the same object: the usual least of scorers.
SAME_OBJECT = 0.5
# A box that overlaps its object less is badly placed: KITTI's least for cars, and two people's boxes overlap by 0.88.
WELL_PLACED = 0.7
# A class of labels that say that nothing in them counts, and how much of a box lies in it then.
IGNORE = "ignore"
_IGNORED_SHARE = 0.5


class Pair(NamedTuple):
    """A box of the pre-label and the verified box of the same object; None where there is no such box."""

    predicted: LabelledBox | None
    verified: LabelledBox | None
    iou: float = 0.0


class ClassAgreement(msgspec.Struct, omit_defaults=True):
    """What became of the boxes of one class.

    Of the pre-label's: `kept`; `moved`, badly placed before; `relabelled`, of another class now; `deleted`. Of the
    verified ones: `added`, where no box was; `gained`, where a box of another class was.
    """

    kept: int = 0
    moved: int = 0
    relabelled: int = 0
    deleted: int = 0
    added: int = 0
    gained: int = 0

    @property
    def faults(self) -> int:
        """Each fault once over all classes: what one class gained, another lost."""
        return self.moved + self.relabelled + self.deleted + self.added


def pair_boxes(predicted: Sequence[LabelledBox], verified: Sequence[LabelledBox]) -> list[Pair]:
    """Each box of a pre-label with the verified box of the same object, and what is left of either alone.

    Boxes of one class find each other first, since a rider and the bicycle overlap; the greatest IoU before others.
    What a person marked as ignored, and boxes there that found no object, are left out.
    """
    objects = [box for box in verified if box.name != IGNORE]
    ignored = [corners(box) for box in verified if box.name == IGNORE]
    candidates = sorted(
        (predicted[p].name != objects[v].name, -iou, p, v) for p, v, iou in _of_one_object(predicted, objects)
    )
    pairs: list[Pair] = []
    left, unfound = dict(enumerate(predicted)), dict(enumerate(objects))
    for _, minus_iou, p, v in candidates:
        if p in left and v in unfound:
            pairs.append(Pair(left.pop(p), unfound.pop(v), -minus_iou))
    alone = [
        box for box in left.values() if not any(share_in(corners(box), region) > _IGNORED_SHARE for region in ignored)
    ]
    return [*pairs, *(Pair(box, None) for box in alone), *(Pair(None, box) for box in unfound.values())]


def _of_one_object(ones: Sequence[LabelledBox], others: Sequence[LabelledBox]) -> Iterator[tuple[int, int, float]]:
    """The places and the IoU of each two boxes of the same object."""
    places = sorted(range(len(others)), key=lambda v: others[v].left)
    lefts = [others[v].left for v in places]
    boxes = [corners(others[v]) for v in places]
    for p, one in enumerate(ones):
        box = corners(one)
        # Who shares half of both begins at most a width before: a million crowded frames are too many to try all pairs.
        first, last = bisect_left(lefts, one.left - 2 * one.width), bisect_right(lefts, one.left + one.width)
        for at in range(first, last):
            if (iou := box_iou(box, boxes[at])) >= SAME_OBJECT:
                yield p, places[at], iou


def count_agreement(pairs: Sequence[Pair]) -> dict[str, ClassAgreement]:
    """What became of a frame's boxes, by class."""
    counts: dict[str, ClassAgreement] = {}
    for predicted, verified, iou in pairs:
        if predicted is not None:
            of = counts.setdefault(predicted.name, ClassAgreement())
            if verified is None:
                of.deleted += 1
            elif verified.name != predicted.name:
                of.relabelled += 1
            elif iou < WELL_PLACED:
                of.moved += 1
            else:
                of.kept += 1
        if verified is not None:
            of = counts.setdefault(verified.name, ClassAgreement())
            if predicted is None:
                of.added += 1
            elif predicted.name != verified.name:
                of.gained += 1
    return counts


def corners(box: LabelledBox) -> Box:
    """A manifest's box as xyxy."""
    return box.left, box.top, box.left + box.width, box.top + box.height


def share_in(box: Box, region: Box) -> float:
    """How much of a box lies in a region, 0 to 1."""
    width = min(box[2], region[2]) - max(box[0], region[0])
    height = min(box[3], region[3]) - max(box[1], region[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return width * height / area if width > 0 and height > 0 and area > 0 else 0.0
