"""Calibration on a run: fits a model of the catalogue to a drive that it labelled and whose objects are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from autolabel.contracts.drive import FIRST_RUN, Run
from autolabel.contracts.errors import AnswerRefused
from autolabel.contracts.wording import counted
from autolabel.labelling import ShardFrame, decode_answer, read_shards
from autolabel.labels import (
    Box,
    BoxLabel,
    ManifestLine,
    corners,
    current_taxonomy,
    read_exclusions,
    read_line,
    with_reasons,
)
from autolabel.models import Model
from autolabel.streams import map_in_order
from autolabel_cli.errors import CommandError
from autolabel_cli.models.catalogue import add_model, find_revision, next_revision, revisions_of
from autolabel_cli.models.class_calibration import KnownFrame, fit_calibrations, with_least_work_thresholds
from autolabel_cli.models.kitti import LEVELS, SCORED, read_labelled_folder, truths
from autolabel_cli.models.truth import COUNTS, IGNORED, REGION, Truth
from autolabel_cli.stack import Stack

# Only a few numbers are fitted for each class, and more frames no longer change them.
MAX_FRAMES = 20_000
MAX_DELETE_COST = 100.0
_READERS = 16
_LEVEL = LEVELS["hard"]
_GROUPS = {c.name: c.group for c in current_taxonomy().classes}


class LabelledSize(NamedTuple):
    """Size of a frame in pixels, and its true objects by class of the taxonomy."""

    width: int
    height: int
    truth: Mapping[str, Sequence[Truth]]


class Calibrated(NamedTuple):
    """The new revision, and the number of frames that it was fitted to."""

    model: Model
    frames: int


def calibrate_model(
    stack: Stack, name: str, drive: str, run_name: str | None, folder: Path | None, delete_cost: float | None = None
) -> Calibrated:
    """Add a revision of a model with calibrations fitted to a run. It reads the existing answers.

    The truth is the run's verified labels, without those of a script, or the labels of the folder that the drive was
    uploaded from. `delete_cost`: cost of deleting a box, where drawing one costs 1; it sets the thresholds where the
    expected work is least, and None leaves them. CommandError when the run did not ask the model, or has no labelled
    frame.
    """
    # A range of click would let NaN pass, which would break the document as a threshold.
    if delete_cost is not None and not 0.0 < delete_cost <= MAX_DELETE_COST:
        raise CommandError(f"--delete-cost {delete_cost} is not above 0 and at most {MAX_DELETE_COST:g}")
    model = find_revision(stack, name)
    run = stack.ledger.find_run(drive, stack.run_of(drive, run_name))
    if run is None:
        raise CommandError(
            f"drive {drive} has no run {run_name or FIRST_RUN} to calibrate with: see autolabel status {drive}"
        )
    if model.answers_id not in run.asked:
        asked = ", ".join(run.asked)
        raise CommandError(
            f"run {run.run} of drive {drive} did not ask {model.answers_id}, but {asked}: "
            "name a drive that this model labelled, or relabel this drive with it"
        )
    frames = _folder_frames(stack, run, folder) if folder else _verified_frames(stack, run, model)
    known = list(_known_frames(stack, model, frames))
    if not known:
        raise CommandError(
            f"run {run.run} of drive {drive} has no labelled frame with a readable answer of {model.answers_id}: "
            "name another drive"
        )
    fitted = fit_calibrations(model, known, _LEVEL.min_height if folder else 0.0)
    if delete_cost is not None:
        fitted = with_least_work_thresholds(fitted, delete_cost)
    revision = msgspec.structs.replace(
        fitted,
        revision=next_revision(revisions_of(stack, model.name)),
        answers_of=model.answers_of or model.revision,
    )
    add_model(stack, revision, active=None)
    return Calibrated(revision, len(known))


def verified_truth(boxes: Sequence[tuple[str, Box]], model: Model, labels: Sequence[str]) -> dict[str, list[Truth]]:
    """Return the verified objects of a frame, for each class that the model names and the job offered.

    An object whose class the model does not name is ignored for the classes of the same group that it does name:
    COCO's car may be a van. A box of the class `ignore` is a region.
    """
    named = set(model.classes.values())
    return {
        name: [
            Truth(box, COUNTS if there == name else REGION if there == "ignore" else IGNORED)
            for there, box in boxes
            if there in (name, "ignore") or (there not in named and _GROUPS[there] == _GROUPS[name])
        ]
        for name in named.intersection(labels)
    }


Labelled = Iterator[tuple[ShardFrame, LabelledSize]]


def _verified_frames(stack: Stack, run: Run, model: Model) -> Labelled:
    prefix = stack.ingest.uri("")
    verified: dict[str, LabelledSize] = {}
    try:
        lines = counting_lines(stack, run)
        # A script did not look at the frame: what it kept would only confirm the model.
        known = (line for line in lines if line.verified is not msgspec.UNSET and not line.labelled_by_script)
        for line in islice(known, MAX_FRAMES):
            verified[line.source_ref.removeprefix(prefix)] = _verified_size(line, model, run)
    except KeyError as e:
        raise CommandError(
            f"run {run.run} of drive {run.drive} has no dataset yet: calibrate after it is published"
        ) from e
    if not verified:
        raise CommandError(
            f"run {run.run} of drive {run.drive} has no verified frame to fit to (labels of a script do not count): "
            "name a drive that reviewers verified"
        )
    for frame in shard_frames(stack, run):
        if frame.key in verified:
            yield frame, verified.pop(frame.key)


def _verified_size(line: ManifestLine, model: Model, run: Run) -> LabelledSize:
    size = msgspec.json.decode(line.verified or b"null", type=BoxLabel).image_size[0]
    boxes = [(b.name, corners(b)) for b in line.verified_boxes]
    return LabelledSize(size.width, size.height, verified_truth(boxes, model, run.labels))


def _folder_frames(stack: Stack, run: Run, folder: Path) -> Labelled:
    labelled, frames = read_labelled_folder(folder), list(islice(shard_frames(stack, run), MAX_FRAMES))
    if len(labelled) != len(frames):
        raise CommandError(
            f"{folder} has {counted(len(labelled), 'frame')} and run {run.run} of drive {run.drive} has {len(frames)}: "
            "give the folder that the drive was uploaded from"
        )
    for frame, known in zip(frames, labelled, strict=True):
        truth = {name: truths(known.objects, scored, _LEVEL) for name, scored in SCORED.items() if name in _GROUPS}
        yield frame, LabelledSize(known.width, known.height, truth)


def _known_frames(stack: Stack, model: Model, frames: Labelled) -> Iterator[KnownFrame]:
    # The fit uses the model's own scores and boxes, not those of an earlier calibration.
    raw = msgspec.structs.replace(model, calibration={})

    def read(labelled: tuple[ShardFrame, LabelledSize]) -> KnownFrame | None:
        frame, size = labelled
        key = next((answer.key for answer in frame.answers if answer.model == model.answers_id), "")
        if not key:
            return None
        try:
            found = decode_answer(stack.labels.stream(key), raw, size.width, size.height).detections
        except (AnswerRefused, KeyError):
            # The run has recorded the failure. The frame is left out.
            return None
        return KnownFrame(found, size.truth)

    return (known for known in map_in_order(read, frames, _READERS) if known is not None)


def counting_lines(stack: Stack, run: Run) -> Iterator[ManifestLine]:
    """Yield the lines of a run's dataset that no exclusion leaves out. Raises KeyError without a dataset."""
    lines = ((line, line) for line in map(read_line, stack.labels.lines(run.folder.dataset)))
    return (line for line, why in with_reasons(lines, read_exclusions(stack.labels)) if not why)


def shard_frames(stack: Stack, run: Run) -> Iterator[ShardFrame]:
    """Yield the frames of a run with their answers, shard by shard."""
    decoder = msgspec.json.Decoder(ShardFrame)
    for shard in read_shards(stack.labels, run.folder):
        yield from map(decoder.decode, stack.labels.lines(shard.key))
