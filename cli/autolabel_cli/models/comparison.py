"""Comparison of two models on drives that people verified, from answers that the stack has stored already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from autolabel.contracts.drive import FIRST_RUN, Run
from autolabel.contracts.errors import AnswerRefused
from autolabel.contracts.frames import parse_frame_key
from autolabel.contracts.verification import AGAIN, BLIND_AUDIT
from autolabel.contracts.wording import counted
from autolabel.labelling import FrameLabels, ModelDetections, decode_answer, label_frame
from autolabel.labels import (
    IGNORE,
    SAME_OBJECT,
    Detection,
    LabelledBox,
    LabelledBy,
    ManifestLine,
    corners,
    count_agreement,
    pair_boxes,
)
from autolabel.models import Model
from autolabel.streams import map_in_order
from autolabel_cli.errors import CommandError
from autolabel_cli.models.catalogue import find_revision
from autolabel_cli.models.matching import RESAMPLES, Guess, Verdict, draws, interval, judge, resampled_precisions
from autolabel_cli.models.run_calibration import counting_lines, shard_frames
from autolabel_cli.models.truth import COUNTS, REGION, Truth
from autolabel_cli.stack import Stack

# Frames of one camera within this many nanoseconds show the same objects: they are one piece of evidence.
_BLOCK = 5 * 10**9
# With fewer blocks an interval would be a guess. From this number of drives on, drives are the blocks.
_LEAST_BLOCKS = 8
_FRAMES = 1_000
_HOUR = 3_600
_READERS = 16
# The most frames of a drive: they are kept in memory, some 20 KB each.
_MOST_FRAMES = 50_000
# Labels for which a reviewer began with the models' boxes.
_BEGAN_WITH_MODELS = (LabelledBy.MODEL_AND_PERSON, LabelledBy.SCRIPT)
_DIGITS = 4
# A reviewer's edits, as the page reports their seconds, and the same edits as labels.agreement counts them.
_KINDS = {"add": "added", "delete": "deleted", "move": "moved", "relabel": "relabelled"}

Floats = npt.NDArray[np.float64]


class Interval(msgspec.Struct, frozen=True):
    """A value with its 95 % interval; the ends are None where there is too little to tell."""

    value: float
    low: float | None = None
    high: float | None = None


class Sides(msgspec.Struct, frozen=True):
    """A figure of both models, and of the second minus the first."""

    a: Interval
    b: Interval
    difference: Interval


class ClassSides(Sides, frozen=True, kw_only=True):
    """The average precision of a class. `objects`: their number in the verified labels."""

    objects: int


class ReviewTimes(msgspec.Struct, frozen=True):
    """What reviewers took: seconds for each frame without its edits, and for each edit that a frame needed."""

    frames: int
    look: float
    edits: dict[str, float]


class ModelComparison(msgspec.Struct, frozen=True):
    """The document of `autolabel models compare`. Average precision is COCO's at an IoU of 0.5.

    `blocks`: pieces of evidence that are drawn as one. `edits`: by kind, for each frame, and their `total`. `seconds`
    and `dollars`: of reviewers for 1,000 frames; None where no seconds are known. `by_script`: frames that a script
    labelled. `hidden`: frames whose reviewers saw no pre-label, whose labels favour neither model.
    """

    a: str
    b: str
    drives: tuple[str, ...]
    frames: int
    blocks: int
    by_script: int
    hidden: int
    ap50: Sides
    classes: dict[str, ClassSides]
    edits: dict[str, Sides]
    times: ReviewTimes | None
    seconds: Sides | None
    dollars: Sides | None

    @property
    def notes(self) -> Iterator[str]:
        """Yield sentences that say how far the figures hold."""
        where = f"{counted(self.frames, 'verified frame')} of {counted(len(self.drives), 'drive')}"
        if self.blocks < _LEAST_BLOCKS:
            yield f"from {where}: too few for intervals, which need {_LEAST_BLOCKS} drives or stretches of five seconds"
        else:
            yield f"from {where}; in brackets 95 % of what {RESAMPLES} resamples of {self.blocks} stretches give"
        if self.frames > self.hidden:
            yield "reviewers began with boxes of the run's models: its labels favour these by some pixels"
        if self.by_script:
            yield f"a script labelled {counted(self.by_script, 'frame')}: this says nothing of people"
        if self.times is None:
            yield "no reviewed frame has both seconds and an edit: seconds cannot be told"


class ComparedFrame(NamedTuple):
    """A verified frame with what both models make of it."""

    block: str
    line: ManifestLine
    labels: tuple[FrameLabels, FrameLabels]

    def needed(self, side: int) -> list[float]:
        """Count the edits of each kind that turn the boxes of a model into the verified ones."""
        return _needed(_boxes(self.labels[side].prelabel), self.line)


class _Evidence:
    """The sums of each block, drawn again and again: row 0 of each figure is the real one, the others are resamples."""

    def __init__(self, frames: Sequence[ComparedFrame]) -> None:
        blocks = {block: place for place, block in enumerate(dict.fromkeys(frame.block for frame in frames))}
        self.blocks = len(blocks)
        self._places = np.array([blocks[frame.block] for frame in frames])
        self._weights = draws(self.blocks)

    def sums(self, values: Floats) -> Floats:
        """Add up values [frames, n] of the drawn blocks: [1 + resamples, n]."""
        of_blocks = np.zeros((self.blocks, values.shape[1]))
        np.add.at(of_blocks, self._places, values)
        return self._weights @ of_blocks

    def precisions(self, verdicts: Sequence[Verdict]) -> Floats:
        """Compute the average precision [1 + resamples] of a class; NaN where the drawn blocks have no object of it."""
        counted = [~verdict.ignored[0] for verdict in verdicts]
        kept = [verdict.hits[0][chosen] for verdict, chosen in zip(verdicts, counted, strict=True)]
        scores = [verdict.confidences[chosen] for verdict, chosen in zip(verdicts, counted, strict=True)]
        confidences, hits = np.concatenate(scores), np.concatenate(kept)
        places = np.repeat(self._places, [len(one) for one in kept])
        objects = np.zeros(self.blocks)
        np.add.at(objects, self._places, [verdict.objects for verdict in verdicts])
        return resampled_precisions(confidences, hits, places, objects, self._weights, SAME_OBJECT)

    def sides(self, a: Floats, b: Floats) -> Sides:
        return Sides(self._interval(a), self._interval(b), self._interval(b - a))

    def _interval(self, drawn: Floats) -> Interval:
        value = round(float(drawn[0]), _DIGITS)
        if self.blocks < _LEAST_BLOCKS:
            return Interval(value)
        low, high = interval(drawn)
        return Interval(value, round(low, _DIGITS), round(high, _DIGITS))


def compare_models(
    stack: Stack, names: tuple[str, str], drives: Sequence[str], *, scripted: bool, wage: float
) -> ModelComparison:
    """Compare two models on the verified frames of drives for which the stack has the answers of both.

    `names`: NAME or NAME.REVISION. `drives`: DRIVE or DRIVE@RUN. `scripted`: whether labels of a script count too.
    `wage`: dollars that an hour of review costs. CommandError when a drive is not verified, or lacks the answers of a
    model.
    """
    models = find_revision(stack, names[0]), find_revision(stack, names[1])
    drives = distinct_drives(drives)

    def counts(line: ManifestLine) -> bool:
        return line.verified_by_person or (scripted and line.labelled_by_script)

    frames = [frame for drive in drives for frame in compared_frames(stack, drive, models, counts)]
    if len(drives) >= _LEAST_BLOCKS:
        frames = [frame._replace(block=frame.line.origin.drive) for frame in frames]
    evidence = _Evidence(frames)
    everywhere, classes = _precisions(frames, evidence)
    needed = [
        evidence.sums(np.array([frame.needed(side) for frame in frames])) / evidence.sums(np.ones((len(frames), 1)))
        for side in (0, 1)
    ]
    edits = {kind: evidence.sides(needed[0][:, at], needed[1][:, at]) for at, kind in enumerate(_KINDS)}
    edits["total"] = evidence.sides(needed[0].sum(axis=1), needed[1].sum(axis=1))
    times = seconds = dollars = None
    timed = evidence.sums(np.array([_timed(frame.line) for frame in frames]))
    # Without an edit, nothing tells what edits take.
    if timed[0, 4:].any():
        look, costs = _costs(timed)
        times = ReviewTimes(
            int(timed[0, 0]),
            _rounded(look[0]),
            {kind: _rounded(one) for kind, one in zip(_KINDS, costs[0], strict=True)},
        )
        both = [_FRAMES * (look + (of * costs).sum(axis=1)) for of in needed]
        seconds = evidence.sides(*both)
        dollars = evidence.sides(*(of * wage / _HOUR for of in both))
    return ModelComparison(
        a=models[0].id,
        b=models[1].id,
        drives=drives,
        frames=len(frames),
        blocks=evidence.blocks,
        by_script=sum(frame.line.labelled_by_script for frame in frames),
        hidden=sum(favours_none(frame.line) for frame in frames),
        ap50=everywhere,
        classes=classes,
        edits=edits,
        times=times,
        seconds=seconds,
        dollars=dollars,
    )


def distinct_drives(drives: Sequence[str]) -> tuple[str, ...]:
    """Return the drives, DRIVE or DRIVE@RUN, each once. CommandError for two runs of one: they share their frames."""
    distinct = tuple(dict.fromkeys(drives))
    if twice := [name for name, count in Counter(drive.partition("@")[0] for drive in distinct).items() if count > 1]:
        raise CommandError(f"drive {twice[0]} is named with two runs, which share their frames: name one")
    return distinct


def favours_none(line: ManifestLine) -> bool:
    """Whether a person who saw no boxes of models made the label, so that it favours no model."""
    drawn = line.origin.triage == BLIND_AUDIT or line.origin.labelled_by == LabelledBy.PERSON
    return line.judges_prelabel and drawn


def compared_frames(
    stack: Stack, drive: str, models: Sequence[Model], counts: Callable[[ManifestLine], bool]
) -> Iterator[ComparedFrame]:
    """Yield the verified frames of a drive that both models got. CommandError when there is none, or too many.

    `counts`: whether a line of the dataset is compared. A frame on which a model failed has no boxes of it, as in a
    run: models must not look better by failing.
    """
    drive, _, wanted = drive.partition("@")
    run = stack.ledger.run(drive, stack.published_run(drive, wanted))
    lines = dict[str, ManifestLine]()
    for line in counting_lines(stack, run):
        if counts(line):
            lines[line.source_ref.removeprefix(stack.ingest.uri(""))] = line
            if len(lines) > _MOST_FRAMES:
                raise CommandError(f"drive {drive} has more than {_MOST_FRAMES:,} verified frames: name another drive")
    if not lines:
        raise CommandError(
            f"run {run.run} of drive {drive} has no label that counts: name a drive that people verified, for a switch "
            "in blind audits; compare --scripted counts labels of a script too"
        )
    answers = [_answers(stack, run, model, lines.keys()) for model in models]

    def see(key: str) -> ComparedFrame:
        frame = parse_frame_key(key)
        block = f"{drive}/{frame.camera}/{int(frame.timestamp) // _BLOCK}"
        a, b = (_label(stack, run, model, key, of[key], lines[key]) for model, of in zip(models, answers, strict=True))
        return ComparedFrame(block, lines[key], (a, b))

    both = [key for key in lines if all(key in of for of in answers)]
    if not both:
        raise CommandError(f"both models were asked for no verified frame of drive {drive}: name another drive")
    yield from map_in_order(see, both, _READERS)


def _runs(stack: Stack, drive: str) -> Iterator[Run]:
    """Yield the runs of a drive, the latest first."""
    latest = stack.ledger.latest_run(drive)
    for number in range(int(latest.run) if latest else 0, int(FIRST_RUN) - 1, -1):
        if (run := stack.ledger.find_run(drive, f"{number:04d}")) is not None:
            yield run


def _answers(stack: Stack, run: Run, model: Model, keys: Collection[str]) -> dict[str, str]:
    """Return the key of the model's answer for each of these frames, from the latest run that asked it.

    The key is empty where the model failed.
    """
    for other in _runs(stack, run.drive):
        if model.answers_id in other.asked:
            return {
                frame.key: answer.key
                for frame in shard_frames(stack, other)
                for answer in frame.answers
                if answer.model == model.answers_id and frame.key in keys
            }
    raise CommandError(
        f"drive {run.drive} has no answers of {model.answers_id}: make this model active, and relabel the drive "
        f"(autolabel relabel {run.drive})"
    )


def _label(stack: Stack, run: Run, model: Model, key: str, answer: str, line: ManifestLine) -> FrameLabels:
    """Label a frame by one model alone, as a run does it; without boxes when its answer cannot be read."""
    width, height, camera = int(line.size.width), int(line.size.height), parse_frame_key(key).camera
    found = list[ModelDetections]()
    # The run has recorded a failure.
    with suppress(AnswerRefused, KeyError):
        if answer:
            decoded = decode_answer(stack.labels.stream(answer), model, width, height)
            found.append(ModelDetections(model, decoded.detections))
    mask = run.document.cameras[camera].ego_mask
    return label_frame(found, camera, width, height, labels=frozenset(run.labels), ego_mask=mask)


def _precisions(frames: Sequence[ComparedFrame], evidence: _Evidence) -> tuple[Sides, dict[str, ClassSides]]:
    objects = Counter(box.name for frame in frames for box in frame.line.verified_boxes if box.name != IGNORE)
    classes, drawn = dict[str, ClassSides](), list[tuple[Floats, Floats]]()
    for name, count in objects.most_common():
        a, b = (evidence.precisions(_verdicts(frames, name, side)) for side in (0, 1))
        drawn.append((a, b))
        sides = evidence.sides(a, b)
        classes[name] = ClassSides(sides.a, sides.b, sides.difference, objects=count)
    if not drawn:
        raise CommandError("the verified frames have no object: name drives with objects")
    # Blocks may be drawn that lack a class; the mean is then of the other classes.
    a, b = (np.nanmean([pair[side] for pair in drawn], axis=0) for side in (0, 1))
    return evidence.sides(a, b), classes


def _verdicts(frames: Sequence[ComparedFrame], name: str, side: int) -> list[Verdict]:
    return judge(
        [
            (
                [Guess(d.box, d.confidence) for d in frame.labels[side].merged if d.name == name],
                [
                    Truth(corners(box), REGION if box.name == IGNORE else COUNTS)
                    for box in frame.line.verified_boxes
                    if box.name in (name, IGNORE)
                ],
            )
            for frame in frames
        ],
        [SAME_OBJECT],
    )


def _needed(boxes: Sequence[LabelledBox], line: ManifestLine) -> list[float]:
    """Count the edits of each kind that turn boxes into the verified ones."""
    counts = count_agreement(pair_boxes(boxes, line.verified_boxes)).values()
    return [sum(getattr(of, field) for of in counts) for field in _KINDS.values()]


def _boxes(detections: Iterable[Detection]) -> list[LabelledBox]:
    return [
        LabelledBox(d.name, d.box[0], d.box[1], d.box[2] - d.box[0], d.box[3] - d.box[1], d.confidence)
        for d in detections
    ]


def _shown(line: ManifestLine) -> bool:
    """Whether the reviewer saw the pre-label of the line's own run."""
    origin = line.origin
    return (
        origin.triage not in (BLIND_AUDIT, AGAIN) and origin.kept is None and origin.labelled_by in _BEGAN_WITH_MODELS
    )


def _timed(line: ManifestLine) -> list[float]:
    """Columns: frames, seconds; both of frames without an edit; seconds spent and needed edits by kind."""
    review = None if line.review is UNSET else line.review
    if review is None or review.seconds is None or not _shown(line):
        return [0.0] * (4 + 2 * len(_KINDS))
    needed = _needed(line.prelabel_boxes, line)
    spent = [review.edits[kind].seconds if kind in review.edits else 0.0 for kind in _KINDS]
    untouched = [0.0, 0.0] if any(needed) else [1.0, review.seconds]
    return [1.0, review.seconds, *untouched, *spent, *needed]


def _costs(timed: Floats) -> tuple[Floats, Floats]:
    """Return the seconds of a look [n] and of a needed edit by kind [n, kinds], from sums of `_timed`.

    An edit is needed when a box was wrong; its seconds are all that reviewers spent on edits of its kind, also on boxes
    that were good enough. A back-end that does not tell the seconds of edits gives those of a look by untouched frames,
    and the rest is the edits'. A kind that no frame needed costs the mean of the others.
    """
    frames, seconds, untouched, of_untouched = timed.T[:4]
    spent, needed = timed[:, 4 : 4 + len(_KINDS)], timed[:, 4 + len(_KINDS) :]
    edits = needed.sum(axis=1)
    paid = np.where(needed > 0, spent, 0.0)
    # A draw without any timed frame tells nothing, and not that reviews take no time.
    if paid[0].any():
        look = np.where(frames > 0, _shares(seconds - paid.sum(axis=1), frames), np.nan)
        mean = _shares(paid.sum(axis=1), edits)
        return look, np.where(needed > 0, _shares(paid, needed), mean[:, None])
    look = np.where((untouched > 0) | (untouched[0] == 0), _shares(of_untouched, untouched), np.nan)
    rest = _shares(np.maximum(seconds - look * frames, 0.0), edits)
    return look, np.repeat(rest[:, None], len(_KINDS), axis=1)


def _shares(values: Floats, of: Floats) -> Floats:
    """Divide; 0 where there is nothing to divide by."""
    found: Floats = np.divide(values, of, out=np.zeros_like(values), where=of > 0)
    return found


def _rounded(value: float) -> float:
    return round(float(value), _DIGITS)
