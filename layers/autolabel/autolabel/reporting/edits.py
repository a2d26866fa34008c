"""Edits: the reviewers' changes to the boxes that they were shown, box by box and as counts.

Here a box is kept if it did not change. Whether it was good enough to keep is decided in `labels.agreement`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from autolabel.labels.agreement import IGNORE, WELL_PLACED, pair_boxes
from autolabel.labels.manifest import ImageSize, LabelledBox
from autolabel.reporting.spread import Spread
from autolabel.triage.corrections import (
    INVENTED,
    OTHER_CLASS,
    REMOVED,
    SHIFTED,
    UNCHANGED,
    Correction,
    FourNumbers,
)
from autolabel.triage.seeds import PlacedBox, placed_box

KEPT = "kept"
MOVED = "moved"
RELABELLED = "relabelled"
DELETED = "deleted"
IGNORED = "ignored"
ADDED = "added"
# The cost of an edit for a reviewer, about in seconds; it ranks frames. Drawing a box by extreme clicking takes 7 s
# (Papadopoulos et al., ICCV 2017), a look and a key 2 s. A move costs more if the box was farther off.
_COSTS = {KEPT: 0.0, IGNORED: 0.0, DELETED: 2.0, RELABELLED: 2.0, ADDED: 7.0}
_MOVE_COST = 4.0


class Change(NamedTuple):
    """The change of one box: of the pre-label, of the verified label, or both. `iou`: of the two, 1 for a kept box."""

    kind: str
    predicted: LabelledBox | None
    verified: LabelledBox | None
    iou: float = 0.0


class ClassEdits(msgspec.Struct):
    """Counts the changes of one class's boxes that were shown, and the boxes that reviewers `added`.

    `relabelled` counts by the class that was shown. `ignored` boxes are in a region that a reviewer marked `ignore`.
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
    """List the changes from a frame's pre-label to its verified label. Each box of either is in exactly one change.

    Boxes with the same class and the same whole pixels were kept. The others are paired by `pair_boxes`: a pair with
    different classes was relabelled, even if its sides moved too.
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
    # The pairs leave out regions to ignore, and the shown boxes in them.
    changes += (Change(IGNORED, box, None) for box in left)
    changes += (Change(ADDED, None, box) for box in others if box.name == IGNORE)
    return changes


def without_redrawn(changes: Sequence[Change], hidden: PlacedBox) -> list[Change]:
    """Return the changes, as if the box that a reviewer drew in the place of a hidden one had been shown.

    Two people's boxes differ by some pixels. As in audits, the box was right if the new one is near.
    """
    return [
        one._replace(kind=KEPT, iou=1.0)
        if one.kind == MOVED and one.iou >= WELL_PLACED and one.predicted and placed_box(one.predicted) == hidden
        else one
        for one in changes
    ]


def corrections_of(changes: Sequence[Change], size: ImageSize) -> tuple[Correction, ...]:
    """Return the errors of the models that a reviewer corrected. A box that moved by a few pixels was no error."""
    found = []
    for kind, shown, right, iou in changes:
        if kind == MOVED and shown and right and iou < UNCHANGED:
            wide, high = right.width or 1.0, right.height or 1.0
            across = shown.left + shown.width / 2 - right.left - right.width / 2
            down = shown.top + shown.height / 2 - right.top - right.height / 2
            place = across / wide, down / high, shown.width / wide, shown.height / high
            found.append(Correction(SHIFTED, shown.name, right.name, _rounded(place)))
        elif kind == RELABELLED and shown and right:
            found.append(Correction(OTHER_CLASS, shown.name, right.name))
        elif kind == DELETED and shown:
            shares = shown.left / size.width, shown.top / size.height, shown.width / size.width
            found.append(Correction(INVENTED, shown.name, place=_rounded((*shares, shown.height / size.height))))
        elif kind == ADDED and right and right.name != IGNORE:
            found.append(Correction(REMOVED, right=right.name))
    return tuple(found)


def _rounded(place: FourNumbers) -> FourNumbers:
    one, two, three, four = (round(number, 3) for number in place)
    return one, two, three, four


def cost(changes: Sequence[Change]) -> float:
    """Estimate the cost of a frame's changes for a reviewer, about in seconds. It is for ranking, not for sums."""
    return sum(_MOVE_COST * (1 - c.iou) if c.kind == MOVED else _COSTS[c.kind] for c in changes)


class Edit(NamedTuple):
    """A change without the places of its boxes. `name`: the class of the box; `became`: a relabelled one's."""

    kind: str
    name: str
    became: str = ""
    iou: float = 0.0


class FrameEdits(msgspec.Struct, frozen=True, array_like=True):
    """The changes of one frame: the kept boxes by class, and the other changes; `cost`: for a reviewer."""

    kept: dict[str, int] = {}
    others: tuple[Edit, ...] = ()
    cost: float = 0.0


def summarise(changes: Sequence[Change]) -> FrameEdits:
    """Summarise the changes of a frame."""
    kept: dict[str, int] = {}
    others = []
    for kind, predicted, verified, iou in changes:
        name = next(box.name for box in (predicted, verified) if box)
        if kind == KEPT:
            kept[name] = kept.get(name, 0) + 1
        else:
            became = verified.name if kind == RELABELLED and verified else ""
            others.append(Edit(kind, name, became, iou if kind == MOVED else 0.0))
    return FrameEdits(kept, tuple(others), cost(changes))


class EditTally:
    """Counts the changes of many frames. `untouched`: frames without a change; `relabelled`: boxes by (from, to)."""

    def __init__(self) -> None:
        self.frames = 0
        self.untouched = 0
        self.classes: dict[str, ClassEdits] = {}
        self.relabelled: Counter[tuple[str, str]] = Counter()
        self.moved = Spread(step=0.001, most=1.0)

    def take(self, edits: FrameEdits) -> None:
        self.frames += 1
        self.untouched += not edits.others
        for name, count in edits.kept.items():
            self.classes.setdefault(name, ClassEdits()).kept += count
        for kind, name, became, iou in edits.others:
            of = self.classes.setdefault(name, ClassEdits())
            setattr(of, kind, getattr(of, kind) + 1)
            if kind == MOVED:
                self.moved.take(iou)
            elif kind == RELABELLED:
                self.relabelled[name, became] += 1


def _kind(predicted: LabelledBox | None, verified: LabelledBox | None) -> str:
    if predicted is None:
        return ADDED
    if verified is None:
        return DELETED
    return MOVED if predicted.name == verified.name else RELABELLED


def _place(box: LabelledBox) -> tuple[str, int, int, int, int]:
    return box.name, round(box.left), round(box.top), round(box.width), round(box.height)
