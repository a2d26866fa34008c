"""Compares a frame's pre-label with its verified label, box by box."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from autolabel.labels.detections import Box, box_iou
from autolabel.labels.manifest import LabelledBox

# From this IoU on, two boxes mean the same object: the usual threshold of detection benchmarks.
SAME_OBJECT = 0.5
# Below this IoU a box is badly placed. KITTI requires 0.7 for cars; boxes of two annotators reach an IoU of 0.88.
WELL_PLACED = 0.7
# The class of regions in which boxes do not count, and the share of a box that must be in one.
IGNORE = "ignore"
_IGNORED_SHARE = 0.5


class Pair(NamedTuple):
    """A box of the pre-label and the verified box of the same object; None for a missing box."""

    predicted: LabelledBox | None
    verified: LabelledBox | None
    iou: float = 0.0


class ClassAgreement(msgspec.Struct, omit_defaults=True):
    """Counts what reviewers did to the boxes of one class.

    Boxes of the pre-label: `kept`; `moved`, because badly placed; `relabelled`, to another class; `deleted`. Verified
    boxes: `added`, if the object had no box; `gained`, if its box had another class.
    """

    kept: int = 0
    moved: int = 0
    relabelled: int = 0
    deleted: int = 0
    added: int = 0
    gained: int = 0

    @property
    def faults(self) -> int:
        """Count the faults. A box that was `gained` counts in the class that lost it, so a sum counts each once."""
        return self.moved + self.relabelled + self.deleted + self.added


def pair_boxes(predicted: Sequence[LabelledBox], verified: Sequence[LabelledBox]) -> list[Pair]:
    """Pair each box of a pre-label with the verified box of the same object; the others stay alone.

    Boxes of the same class are paired first, because a rider and the bicycle overlap; greater IoUs come first. Regions
    of the class `ignore`, and unpaired boxes of the pre-label inside them, are left out.
    """
    objects = [box for box in verified if box.name != IGNORE]
    ignored = [corners(box) for box in verified if box.name == IGNORE]
    candidates = sorted(
        (predicted[p].name != objects[v].name, -iou, p, v) for p, v, iou in same_objects(predicted, objects)
    )
    pairs: list[Pair] = []
    spare, unfound = dict(enumerate(predicted)), dict(enumerate(objects))
    for _, minus_iou, p, v in candidates:
        if p in spare and v in unfound:
            pairs.append(Pair(spare.pop(p), unfound.pop(v), -minus_iou))
    alone = [
        box for box in spare.values() if not any(share_in(corners(box), region) > _IGNORED_SHARE for region in ignored)
    ]
    return [*pairs, *(Pair(box, None) for box in alone), *(Pair(None, box) for box in unfound.values())]


def same_objects(ones: Sequence[LabelledBox], others: Sequence[LabelledBox]) -> Iterator[tuple[int, int, float]]:
    """Yield the indexes and the IoU of each two boxes of the same object."""
    places = sorted(range(len(others)), key=lambda v: others[v].left)
    lefts = [others[v].left for v in places]
    boxes = [corners(others[v]) for v in places]
    for p, one in enumerate(ones):
        box = corners(one)
        # Boxes of one object begin near each other. Comparing all pairs in a million crowded frames takes too long.
        first, last = bisect_left(lefts, one.left - 2 * one.width), bisect_right(lefts, one.left + one.width)
        for at in range(first, last):
            if (iou := box_iou(box, boxes[at])) >= SAME_OBJECT:
                yield p, places[at], iou


def count_agreement(pairs: Sequence[Pair]) -> dict[str, ClassAgreement]:
    """Count what reviewers did to a frame's boxes, by class."""
    counts: dict[str, ClassAgreement] = {}
    for predicted, verified, iou in pairs:
        if predicted is not None:
            count = counts.setdefault(predicted.name, ClassAgreement())
            if verified is None:
                count.deleted += 1
            elif verified.name != predicted.name:
                count.relabelled += 1
            elif iou < WELL_PLACED:
                count.moved += 1
            else:
                count.kept += 1
        if verified is not None:
            count = counts.setdefault(verified.name, ClassAgreement())
            if predicted is None:
                count.added += 1
            elif predicted.name != verified.name:
                count.gained += 1
    return counts


def corners(box: LabelledBox) -> Box:
    """Convert a manifest's box to xyxy."""
    return box.left, box.top, box.left + box.width, box.top + box.height


def share_in(box: Box, region: Box) -> float:
    """Return the share of a box that is inside a region, 0 to 1."""
    width = min(box[2], region[2]) - max(box[0], region[0])
    height = min(box[3], region[3]) - max(box[1], region[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return width * height / area if width > 0 and height > 0 and area > 0 else 0.0
