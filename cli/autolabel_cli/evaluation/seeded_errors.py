"""Measures how well label issues by time find errors: seeds errors into labelled tracks, and ranks what is found.

`labels/<sequence>.txt` has the first ten columns of KITTI tracking, as `export --format kitti-tracking` writes them.
The search does not see their track numbers.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from autolabel.labels import LabelledBox, box_iou, corners
from autolabel.reporting import TimedIssues, TimedLabel, TimeSearch
from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.document import IssuesDocument
from autolabel_cli.evaluation.tracks import read_rows
from autolabel_cli.models.kitti import CLASSES, REGION_TYPE

SIDE, MISSING, CLASS, INVENTED = "side", "missing", "class", "invented"
# How many errors of each kind are seeded, as shares of the boxes.
_SHARES = {SIDE: 0.01, MISSING: 0.01, CLASS: 0.005, INVENTED: 0.004}
# One side of a box is moved by this share of its size.
_MOVED = (0.15, 0.3)
_MIN_HEIGHT = 20.0
# From this IoU on, an issue says where a missing box was.
_SAME_PLACE = 0.3
# An issue has its box in whole pixels.
_SAME_BOX = 0.85


class _Error(NamedTuple):
    """A seeded error. `box`: as it was left in the label, or the box that was taken away."""

    kind: str
    box: LabelledBox


class _Ranked(NamedTuple):
    """The place of an issue in the ranking. `error`: number of the seeded error that it is, or None."""

    suspicion: float
    error: int | None


def evaluate_label_issues(labels: Path, *, rate: float, seed: int, share: float) -> IssuesDocument:
    """Seed errors into the labels of each sequence, and say how many are among the first label issues by time.

    `rate`: frames a second; `seed`: of the random choice; `share`: of the ranking that is looked at, by the number of
    boxes. CommandError for a file that cannot be read.
    """
    paths = sorted(labels.glob("*.txt"))
    # The same seed gives the same errors.
    chance = random.Random(seed)  # noqa: S311 (not for secrets)
    errors, ranking, boxes, frames = list[_Error](), list[_Ranked](), 0, 0
    for path in paths:
        truth = _read(path)
        width = max((box.left + box.width for frame in truth for box in frame), default=0.0)
        height = max((box.top + box.height for frame in truth for box in frame), default=0.0)
        size = (int(width) + 1, int(height) + 1)
        search, seeded = TimeSearch[dict[int, _Error]](), list[tuple[dict[int, _Error], list[LabelledBox]]]()
        for frame in truth:
            left, made = _seed(frame, size, chance)
            seeded.append((dict(enumerate(made, start=len(errors))), left))
            errors += made
            boxes += len(left)
            frames += 1
        for index, (known, left) in enumerate(seeded):
            for timed in search.take(known, TimedLabel(index / rate, *size, left)):
                ranking += _ranked(timed)
        for timed in search.end():
            ranking += _ranked(timed)
    if not errors:
        raise CommandError(
            f"{labels} has too few boxes to seed errors: give a folder of <sequence>.txt of KITTI tracking"
        )
    first = sorted(ranking, key=lambda one: -one.suspicion)[: round(share * boxes)]
    found = {one.error for one in first if one.error is not None}
    seeded_by_kind, found_by_kind = Counter(e.kind for e in errors), Counter(errors[at].kind for at in found)
    return IssuesDocument(
        sequences=len(paths),
        frames=frames,
        boxes=boxes,
        share=share,
        issues=len(first),
        seeded=dict(seeded_by_kind),
        found={
            "all": round(len(found) / len(errors), 3),
            **{kind: round(found_by_kind[kind] / count, 3) for kind, count in seeded_by_kind.items()},
        },
        right=round(sum(one.error is not None for one in first) / len(first), 3) if first else 0.0,
    )


def _read(path: Path) -> list[list[LabelledBox]]:
    """Read the objects of each frame that are high enough, with the taxonomy's names."""
    frames = dict[int, list[LabelledBox]]()
    for row in read_rows(path, None, 10):
        frame, name, box = frames.setdefault(row.frame, []), row.cells[2], row.box(6)
        if name != REGION_TYPE and box and box[3] - box[1] >= _MIN_HEIGHT:
            left, top, right, bottom = box
            frame.append(LabelledBox(CLASSES.get(name, name), left, top, right - left, bottom - top, 0.0))
    return [frames.get(index, []) for index in range(max(frames, default=-1) + 1)]


def _seed(
    frame: Sequence[LabelledBox], size: tuple[int, int], chance: random.Random
) -> tuple[list[LabelledBox], list[_Error]]:
    """Return the boxes of a frame with errors, and the errors."""
    left, errors = list[LabelledBox](), list[_Error]()
    for box in frame:
        [kind] = chance.choices([*_SHARES, ""], [*_SHARES.values(), 1 - sum(_SHARES.values())])
        if kind == MISSING:
            errors.append(_Error(kind, box))
            continue
        if kind == INVENTED:
            left.append(box)
        wrong = {SIDE: _off, CLASS: _renamed, INVENTED: _invented}[kind](box, size, chance) if kind else box
        left.append(wrong)
        if kind:
            errors.append(_Error(kind, wrong))
    return left, errors


def _off(box: LabelledBox, size: tuple[int, int], chance: random.Random) -> LabelledBox:
    sides, side = list(corners(box)), chance.randrange(4)
    sides[side] += chance.choice((-1, 1)) * chance.uniform(*_MOVED) * (box.height if side % 2 else box.width)
    return LabelledBox(box.name, sides[0], sides[1], sides[2] - sides[0], sides[3] - sides[1], 0.0)


def _renamed(box: LabelledBox, size: tuple[int, int], chance: random.Random) -> LabelledBox:
    name = chance.choice(sorted({*CLASSES.values()} - {box.name}))
    return LabelledBox(name, box.left, box.top, box.width, box.height, 0.0)


def _invented(box: LabelledBox, size: tuple[int, int], chance: random.Random) -> LabelledBox:
    """Put a box of the same class and size in another place."""
    left, top = (chance.uniform(0, max(whole - of, 0)) for whole, of in zip(size, (box.width, box.height), strict=True))
    return LabelledBox(box.name, left, top, box.width, box.height, 0.0)


def _ranked(timed: TimedIssues[dict[int, _Error]]) -> Iterator[_Ranked]:
    for issue in timed.issues:
        told = issue.verified or issue.expected
        matches = (
            number
            for number, error in timed.here.items()
            if told
            and (error.kind == MISSING) == (issue.verified is None)
            and box_iou(corners(error.box), told.corners) >= (_SAME_PLACE if error.kind == MISSING else _SAME_BOX)
        )
        yield _Ranked(issue.suspicion, next(matches, None))
