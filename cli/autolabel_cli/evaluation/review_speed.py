"""Measures how fast a scripted reviewer verifies tracks, and how right the boxes are that they leave.

It reads KITTI's text formats, as `evaluate tracks` does; without detections a camera is simulated.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from autolabel.labels import Box, box_iou
from autolabel.sequences import link_and_finish
from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.document import BoxShares, CameraErrors, ReviewCell, ReviewSpeedDocument
from autolabel_cli.evaluation.key_boxes import fewest_key_boxes
from autolabel_cli.evaluation.scripted_reviewer import (
    DRAW,
    PRICES,
    TOLERANCE,
    Habits,
    Lane,
    review,
    uncertain_stops,
)
from autolabel_cli.evaluation.simulated_camera import simulate
from autolabel_cli.evaluation.tracks import (
    CAR,
    ON_OBJECT,
    ScoredFrame,
    Sequenced,
    is_false,
    read_sequence,
    sequence_names,
)

STRIDES = (1, 2, 3, 4, 5, 10)
LOOKS = (1.0, 2.5, 5.0)
CHANCES = (0.8, 0.9, 1.0)
ALL, CONFIRMED, REGULAR, UNCERTAIN = "all", "confirmed", "regular", "uncertain"
# Places from this uncertainty on: filled boxes, objects in fewer than three frames, changed classes, wide jumps. The
# ends of tracks are below it: stops there find little.
_UNCERTAIN_LEVEL = 0.6
_LEAST_IOU = 0.7


class Strip(NamedTuple):
    """A sequence with its labels by frame, and its tracks before a review."""

    frames: list[ScoredFrame]
    lanes: list[Lane]


class Score(NamedTuple):
    """Numbers of boxes that are right or wrong, and of objects that are missed."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    def plus(self, other: Score) -> Score:
        """Add the numbers of another sequence."""
        return Score(self.right + other.right, self.wrong + other.wrong, self.missed + other.missed)

    @property
    def precision(self) -> float | None:
        """Share of the boxes that are right."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else None

    @property
    def recall(self) -> float | None:
        """Share of the objects that have a right box."""
        return self.right / (self.right + self.missed) if self.right + self.missed else None


def evaluate_review_speed(
    labels: Path, detections: Path | None, *, min_score: float, rate: float, seed: int, straight: bool
) -> ReviewSpeedDocument:
    """Review the linked detections of each sequence by script, in all ways of the table.

    `detections`: None simulates a camera. `min_score`: detections of a lower score, 0 to 1, are left out. `rate`:
    frames a second; `seed`: of the camera and of what the reviewer notices; `straight`: straight lines join the boxes
    of two stops. CommandError for a file that cannot be read, and for labels without a car that counts.
    """
    left_out, errors = Counter[str](), None if detections else CameraErrors()
    strips = []
    for name in sequence_names(labels, detections or labels):
        sequence = read_sequence(labels / name, detections and detections / name, min_score, rate, 1, left_out)
        if errors:
            seen = simulate(sequence.frames, rate, errors, f"{seed} {name}")
            sequence = Sequenced(sequence.frames, [(index / rate, sights) for index, sights in enumerate(seen)])
        strips.append(Strip(sequence.frames, _linked(sequence)))
    boxes = sum(each.counts for strip in strips for frame in strip.frames for each in frame.objects)
    if not boxes:
        raise CommandError(f"{labels} has no car that counts: give a folder of <sequence>.txt of KITTI tracking")
    key_boxes = sum(fewest_key_boxes(strip.frames, _LEAST_IOU) for strip in strips)
    given = {ALL: strips, CONFIRMED: [Strip(frames, _confirmed(lanes)) for frames, lanes in strips]}
    return ReviewSpeedDocument(
        sequences=len(strips),
        frames=sum(len(strip.frames) for strip in strips),
        boxes=boxes,
        key_boxes=key_boxes,
        rate=rate,
        seed=seed,
        straight=straight,
        uncertain=_UNCERTAIN_LEVEL,
        tolerance=TOLERANCE,
        prices=dict(PRICES),
        camera=errors,
        unreviewed={tracks: _unreviewed(some) for tracks, some in given.items()},
        cells=[
            cell
            for tracks, some in given.items()
            for stops in (REGULAR, UNCERTAIN)
            for stride in STRIDES
            for chance in CHANCES
            for cell in _cells(some, tracks, stops, stride, Habits(chance, seed, straight), boxes, key_boxes)
        ],
        left_out=dict(left_out.most_common()),
    )


def _linked(sequence: Sequenced) -> list[Lane]:
    """Link the detections of a sequence as a run does it. A box without a confirmed track is a lane of its own."""
    places = [each.box for frame in sequence.frames for each in frame.objects]
    places += [sight.box for _, sights in sequence.sights for sight in sights]
    width, height = (math.ceil(max((box[side] for box in places), default=0.0)) for side in (2, 3))
    lanes = dict[str, Lane]()
    for index, frame in enumerate(link_and_finish(sequence.sights, width, height)):
        for at, box in enumerate((*frame.seen, *frame.filled)):
            new = Lane(len(lanes), box.name, {}, confirmed=bool(box.id))
            lane = lanes.setdefault(box.id or f"{index} {at}", new)
            lane.boxes[index] = box.box
            if box.levels:
                lane.levels[index] = max(box.levels.values())
    return list(lanes.values())


def _confirmed(lanes: Iterable[Lane]) -> list[Lane]:
    return [lane for lane in lanes if lane.confirmed]


def _unreviewed(strips: Iterable[Strip]) -> BoxShares:
    score = _sum(score_boxes(lanes, frames) for frames, lanes in strips)
    return BoxShares(score.precision, score.recall)


def _cells(
    strips: Sequence[Strip], tracks: str, stops: str, stride: int, habits: Habits, boxes: int, key_boxes: int
) -> Iterator[ReviewCell]:
    looks, edits, score = 0, Counter[str](), Score()
    for frames, lanes in strips:
        stopped = sorted({*range(0, len(frames), stride), len(frames) - 1} if frames else ())
        if stops == UNCERTAIN:
            stopped = uncertain_stops(lanes, stopped, _UNCERTAIN_LEVEL)
        left = review(lanes, {stop: frames[stop] for stop in stopped}, habits)
        looks += len(stopped)
        edits += left.edits
        score = score.plus(score_boxes(left.lanes, frames))
    for look in LOOKS:
        seconds = look * looks + sum(PRICES[kind] * count for kind, count in edits.items())
        yield ReviewCell(
            tracks=tracks,
            stops=stops,
            stride=stride,
            look=look,
            chance=habits.chance,
            looks=looks,
            edits=dict(edits.most_common()),
            seconds=seconds,
            faster=PRICES[DRAW] * boxes / seconds,
            faster_than_key_boxes=PRICES[DRAW] * key_boxes / seconds,
            precision=score.precision,
            recall=score.recall,
        )


def _sum(scores: Iterable[Score]) -> Score:
    whole = Score()
    for score in scores:
        whole = whole.plus(score)
    return whole


def score_boxes(lanes: Iterable[Lane], frames: Sequence[ScoredFrame], least_iou: float = _LEAST_IOU) -> Score:
    """Score the boxes of cars by the rules of `evaluate tracks`, at another IoU.

    What does not count is left out first: boxes on objects that do not count, in regions, or on nothing and low.
    """
    shown = dict[int, list[Box]]()
    for lane in lanes:
        if lane.name == CAR:
            for index, box in lane.boxes.items():
                shown.setdefault(index, []).append(box)
    return _sum(_score(shown.get(index, []), frame, least_iou) for index, frame in enumerate(frames))


def _score(boxes: Sequence[Box], frame: ScoredFrame, least_iou: float) -> Score:
    pairs = sorted(
        (-iou, at, number)
        for at, box in enumerate(boxes)
        for number, each in enumerate(frame.objects)
        if (iou := box_iou(box, each.box)) >= ON_OBJECT
    )
    # The object and the IoU of each box on one; the greatest IoUs come first.
    on = dict[int, tuple[int, float]]()
    taken = set[int]()
    for minus_iou, at, number in pairs:
        if at not in on and number not in taken:
            on[at] = number, -minus_iou
            taken.add(number)
    right = wrong = 0
    for at, box in enumerate(boxes):
        if at not in on:
            wrong += is_false(box, frame.regions)
        elif frame.objects[on[at][0]].counts:
            right += on[at][1] >= least_iou
            wrong += on[at][1] < least_iou
    return Score(right, wrong, sum(each.counts for each in frame.objects) - right)
