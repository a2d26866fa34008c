"""Measures how many injected label errors are found among the labels that are most likely wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from autolabel.labels.agreement import IGNORE, SAME_OBJECT, corners
from autolabel.labels.detections import Detections, box_iou
from autolabel.labels.manifest import LabelledBox
from autolabel.reporting.label_errors import (
    BADLY_LOCATED,
    OVERLOOKED,
    SWAPPED,
    Candidates,
    LabelIssue,
    find_label_issues,
)
from autolabel_cli.models.kitti import CLASSES, LabelledFrame, Level, counts
from tools.quality.edits import EDITED
from tools.quality.systems import System

DRAWS = 30
TOPS = (5, 10, 20)
# Shares of the counted objects that are left out, given another class of their group, and moved.
_SHARES = {OVERLOOKED: 0.10, SWAPPED: 0.05, BADLY_LOCATED: 0.05}
_OTHERS = {
    "car": ("van", "truck"),
    "van": ("car", "truck"),
    "truck": ("van", "car"),
    "train": ("truck",),
    "person": ("rider",),
    "rider": ("person",),
}


class Found(NamedTuple):
    """Means over all draws.

    `injected`: number of errors. `precision`: share of errors among the first suspects, by their number. `chance`:
    share of errors among all suspects. `recall`: share of the errors that are suspects.
    """

    injected: float
    precision: Mapping[int, float]
    chance: float
    recall: float


class _Error(NamedTuple):
    kind: str
    box: LabelledBox


def find_injected(system: System, frames: Sequence[LabelledFrame], level: Level) -> Found:
    """Inject errors into the true labels, DRAWS times, and look for them with the detections of a system."""
    candidates = [_read(labels.merged) for labels in system.labels]
    draws = [_draw(random.Random(seed), candidates, frames, level) for seed in range(DRAWS)]
    return Found(
        injected=_mean(injected for injected, _ in draws),
        precision={top: _mean(sum(right[:top]) / top for _, right in draws) for top in TOPS},
        chance=_mean(sum(right) / max(1, len(right)) for _, right in draws),
        recall=_mean(sum(right) / max(1, injected) for injected, right in draws),
    )


def _draw(
    draw: random.Random, candidates: Sequence[Candidates], frames: Sequence[LabelledFrame], level: Level
) -> tuple[int, list[bool]]:
    """The number of injected errors, and for each suspect, most likely first, whether it is one of them."""
    injected, found = 0, list[tuple[float, bool]]()
    for seen, frame in zip(candidates, frames, strict=True):
        label, errors = _with_errors(draw, frame, level)
        injected += len(errors)
        for issue in find_label_issues(seen, (), label, EDITED):
            hit = next((error for error in errors if _is_of(issue, error)), None)
            if hit:
                # Each error counts once, also when several suspects match it.
                errors.remove(hit)
            found.append((issue.suspicion, hit is not None))
    return injected, [right for _, right in sorted(found, key=lambda one: -one[0])]


def _with_errors(draw: random.Random, frame: LabelledFrame, level: Level) -> tuple[list[LabelledBox], list[_Error]]:
    """A frame's true label with errors, and the errors; objects that the set does not label become `ignore`."""
    label, errors = [], []
    for thing in frame.objects:
        if thing.box is None:
            continue
        x1, y1, x2, y2 = (round(side) for side in thing.box)
        box = LabelledBox(CLASSES.get(thing.type, IGNORE), x1, y1, max(1, x2 - x1), max(1, y2 - y1), 0.0)
        kind = _kind(draw.random()) if box.name != IGNORE and counts(thing, level) else ""
        if kind == SWAPPED:
            box = msgspec.structs.replace(box, name=draw.choice(_OTHERS[box.name]))
        elif kind == BADLY_LOCATED:
            across, down = (draw.choice((-1, 1)) * draw.uniform(0.2, 0.3) for _ in range(2))
            left, top = round(box.left + across * box.width), round(box.top + down * box.height)
            box = msgspec.structs.replace(box, left=left, top=top)
        if kind != OVERLOOKED:
            label.append(box)
        if kind:
            errors.append(_Error(kind, box))
    return label, errors


def _kind(lot: float) -> str:
    for kind, share in _SHARES.items():
        if lot < share:
            return kind
        lot -= share
    return ""


def _is_of(issue: LabelIssue, error: _Error) -> bool:
    if error.kind == OVERLOOKED:
        return issue.kind == OVERLOOKED and box_iou(issue.models.corners, corners(error.box)) >= SAME_OBJECT
    return issue.verified is not None and issue.verified.corners == corners(error.box)


def _read(candidates: Detections) -> Candidates:
    """Convert candidates to the type that readers of a run's files get."""
    return msgspec.json.decode(msgspec.json.encode(candidates), type=Candidates)


def _mean(values: Iterator[float]) -> float:
    return sum(values) / DRAWS
