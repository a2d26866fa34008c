"""Edits: what people did to the boxes that they were shown, box by box and counted.

Here a box is kept when it stayed as it was; whether it was good enough to stay is a matter of `agreement`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from autolabel.labels.agreement import IGNORE, pair_boxes
from autolabel.labels.manifest import LabelledBox
from autolabel.reporting.spread import Spread

KEPT = "kept"
MOVED = "moved"
RELABELLED = "relabelled"
DELETED = "deleted"
IGNORED = "ignored"
ADDED = "added"
# What an edit costs a person, by which frames are ranked: extreme clicking takes 7 s (Papadopoulos et al., ICCV 2017),
# a look and a key two; a move takes the longer the farther the box was off.
_COSTS = {KEPT: 0.0, IGNORED: 0.0, DELETED: 2.0, RELABELLED: 2.0, ADDED: 7.0}
_MOVE_COST = 4.0


class Change(NamedTuple):
    """What became of one box: the pre-label's, the person's, or both. `iou`: of the two, 1 for a kept one."""

    kind: str
    predicted: LabelledBox | None
    verified: LabelledBox | None
    iou: float = 0.0


class ClassEdits(msgspec.Struct):
    """What became of the boxes of one class that were shown, and how many people `added`.

    `relabelled` counts by the class that was shown; `ignored` boxes lie where people say that nothing counts.
    """

    kept: int = 0
    moved: int = 0
    relabelled: int = 0
    deleted: int = 0
    ignored: int = 0
    added: int = 0

    @property
    def shown(self) -> int:
        return self.kept + self.moved + self.relabelled + self.deleted + self.ignored


def compare(predicted: Sequence[LabelledBox], verified: Sequence[LabelledBox]) -> list[Change]:
    """What a person did to a frame's pre-label; each box of either is in one change.

    Boxes with the same class and whole pixels were kept; the others are paired as `pair_boxes` does, so that a box of
    another class in its place was relabelled, wherever its sides are now.
    """
    shown: dict[tuple[str, int, int, int, int], list[LabelledBox]] = {}
    for box in predicted:
        shown.setdefault(_place(box), []).append(box)
    changes, others = [], []
    for box in verified:
        if same := shown.get(_place(box)):
            changes.append(Change(KEPT, same.pop(), box, 1.0))
        else:
            others.append(box)
    left = [box for boxes in shown.values() for box in boxes]
    for one, other, iou in pair_boxes(left, others):
        if one is not None:
            left.remove(one)
        changes.append(Change(_kind(one, other), one, other, iou))
    # What the pairs leave out: regions that people drew, and what was shown there.
    changes += (Change(IGNORED, box, None) for box in left)
    changes += (Change(ADDED, None, box) for box in others if box.name == IGNORE)
    return changes


def cost(changes: Sequence[Change]) -> float:
    """What a frame's changes cost a person, about in seconds; made to rank frames, not to be added up."""
    return sum(_MOVE_COST * (1 - c.iou) if c.kind == MOVED else _COSTS[c.kind] for c in changes)


class EditTally:
    """Counts the changes of any number of frames. `frames`, and of them `untouched`; `relabelled` by (from, to)."""

    def __init__(self) -> None:
        self.frames = 0
        self.untouched = 0
        self.classes: dict[str, ClassEdits] = {}
        self.relabelled: Counter[tuple[str, str]] = Counter()
        self.moved = Spread(step=0.001, most=1.0)

    def take(self, changes: Sequence[Change]) -> None:
        self.frames += 1
        self.untouched += is_untouched(changes)
        for kind, predicted, verified, iou in changes:
            name = next(box.name for box in (predicted, verified) if box)
            of = self.classes.setdefault(name, ClassEdits())
            setattr(of, kind, getattr(of, kind) + 1)
            if kind == MOVED:
                self.moved.take(iou)
            elif kind == RELABELLED and predicted and verified:
                self.relabelled[predicted.name, verified.name] += 1

    def add(self, other: EditTally) -> None:
        """Add what another part of the run came to."""
        self.frames += other.frames
        self.untouched += other.untouched
        self.relabelled += other.relabelled
        self.moved.add(other.moved)
        for name, theirs in other.classes.items():
            of = self.classes.setdefault(name, ClassEdits())
            for field in ClassEdits.__struct_fields__:
                setattr(of, field, getattr(of, field) + getattr(theirs, field))


def is_untouched(changes: Sequence[Change]) -> bool:
    return all(change.kind == KEPT for change in changes)


def _kind(predicted: LabelledBox | None, verified: LabelledBox | None) -> str:
    if predicted is None:
        return ADDED
    if verified is None:
        return DELETED
    return MOVED if predicted.name == verified.name else RELABELLED


def _place(box: LabelledBox) -> tuple[str, int, int, int, int]:
    return box.name, round(box.left), round(box.top), round(box.width), round(box.height)
