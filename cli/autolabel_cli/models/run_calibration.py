"""Calibrating a model of the catalogue: from a drive that it labelled, and what people say is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import AnswerRefused
from autolabel.labelling.decoding import decode_answer
from autolabel.labelling.shards import ShardFrame, read_shards
from autolabel.labels.agreement import corners
from autolabel.labels.detections import Box
from autolabel.labels.manifest import BoxLabel, ManifestLine, read_line
from autolabel.labels.taxonomy import current_taxonomy
from autolabel.models.catalogue import Model
from autolabel.streams.ordered_map import map_in_order
from autolabel_cli.errors import CommandError
from autolabel_cli.models.catalogue import add_model, find_revision, next_revision, revisions_of
from autolabel_cli.models.class_calibration import KnownFrame, fit_calibrations, with_least_work_thresholds
from autolabel_cli.models.kitti import LEVELS, SCORED, read_labelled_folder, truths
from autolabel_cli.models.truth import COUNTS, IGNORED, REGION, Truth
from autolabel_cli.stack import Stack

# A few numbers a class are fitted: more frames change nothing any more.
MAX_FRAMES = 20_000
MAX_DELETE_COST = 100.0
_READERS = 16
_LEVEL = LEVELS["hard"]
_GROUPS = {c.name: c.group for c in current_taxonomy().classes}


class LabelledSize(NamedTuple):
    """A frame's pixels, and what is there by class of the taxonomy."""

    width: int
    height: int
    truth: Mapping[str, Sequence[Truth]]


class Calibrated(NamedTuple):
    """The new revision, and how many frames it was fitted on."""

    model: Model
    frames: int


def calibrate_model(
    stack: Stack, name: str, drive: str, run_name: str | None, folder: Path | None, delete_cost: float | None = None
) -> Calibrated:
    """Add a revision of a model whose calibrations are fitted on a run, and which reads the answers that there are.

    What is true are the run's verified labels, or those of a labelled folder of which the drive was uploaded.
    `delete_cost`: thresholds become those that expect the least work where deleting a box costs so much of drawing one;
    None leaves them. CommandError when the run did not ask the model, or nothing of it is labelled.
    """
    # Not a range of click's, which lets NaN pass: as a threshold it would break the document.
    if delete_cost is not None and not 0.0 < delete_cost <= MAX_DELETE_COST:
        raise CommandError(f"a delete cost of {delete_cost} is not above 0 and at most {MAX_DELETE_COST:g}")
    model = find_revision(stack, name)
    run = stack.ledger.find_run(drive, stack.run_of(drive, run_name))
    if run is None:
        raise CommandError(f"there is no run of drive {drive} to calibrate with")
    if model.answers_id not in run.asked:
        asked = ", ".join(run.asked)
        raise CommandError(
            f"run {run.run} of {drive} did not ask {model.answers_id}, but {asked}: "
            "name a drive that it labelled, or relabel this one if it labels it by now"
        )
    frames = _folder_frames(stack, run, folder) if folder else _verified_frames(stack, run, model)
    known = list(_known_frames(stack, model, frames))
    if not known:
        raise CommandError(f"{model.answers_id} answered to no labelled frame of {drive} {run.run}")
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
    """What people left in a frame, for each class that the model names and the job offered.

    An object that the model has no name for is ignored where the model names others of its group: COCO's car may be a
    van. What people marked `ignore` is a region.
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
        lines = map(read_line, stack.labels.lines(run.folder.dataset))
        for line in islice((line for line in lines if line.verified is not msgspec.UNSET), MAX_FRAMES):
            verified[line.source_ref.removeprefix(prefix)] = _verified_size(line, model, run)
    except KeyError as e:
        raise CommandError(f"run {run.run} of {run.drive} has no dataset yet: calibrate when it is published") from e
    if not verified:
        raise CommandError(f"nobody has verified a frame of {run.drive} {run.run}: there is nothing to learn from")
    for frame in _shard_frames(stack, run):
        if frame.key in verified:
            yield frame, verified.pop(frame.key)


def _verified_size(line: ManifestLine, model: Model, run: Run) -> LabelledSize:
    size = msgspec.json.decode(line.verified or b"null", type=BoxLabel).image_size[0]
    boxes = [(b.name, corners(b)) for b in line.verified_boxes]
    return LabelledSize(size.width, size.height, verified_truth(boxes, model, run.labels))


def _folder_frames(stack: Stack, run: Run, folder: Path) -> Labelled:
    labelled, frames = read_labelled_folder(folder), list(islice(_shard_frames(stack, run), MAX_FRAMES))
    if len(labelled) != len(frames):
        raise CommandError(
            f"{folder} has {len(labelled)} frames and run {run.run} of {run.drive} {len(frames)}: "
            "it is not what the drive was uploaded from"
        )
    for frame, known in zip(frames, labelled, strict=True):
        truth = {name: truths(known.objects, scored, _LEVEL) for name, scored in SCORED.items() if name in _GROUPS}
        yield frame, LabelledSize(known.width, known.height, truth)


def _known_frames(stack: Stack, model: Model, frames: Labelled) -> Iterator[KnownFrame]:
    # What it is fitted to is never what an earlier calibration made of it.
    raw = msgspec.structs.replace(model, calibration={})

    def read(labelled: tuple[ShardFrame, LabelledSize]) -> KnownFrame | None:
        frame, size = labelled
        key = next((answer.key for answer in frame.answers if answer.model == model.answers_id), "")
        if not key:
            return None
        try:
            found, _ = decode_answer(stack.labels.stream(key), raw, size.width, size.height)
        except (AnswerRefused, KeyError):
            # The run has recorded it: a frame less to learn from.
            return None
        return KnownFrame(found, size.truth)

    return (known for known in map_in_order(read, frames, _READERS) if known is not None)


def _shard_frames(stack: Stack, run: Run) -> Iterator[ShardFrame]:
    decoder = msgspec.json.Decoder(ShardFrame)
    for shard in read_shards(stack.labels, run.folder):
        yield from map(decoder.decode, stack.labels.lines(shard.key))
