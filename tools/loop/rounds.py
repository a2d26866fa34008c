"""The steps of the loop on a deployed stack: label, train, judge, switch, relabel."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from autolabel.contracts.drive import FIRST_RUN, Camera, DriveDocument
from autolabel.contracts.verification import Policy, VerifyAll, VerifyUncertain
from autolabel.labels import ManifestLine, count_agreement, pair_boxes, read_line
from autolabel_cli.datasets.sources import find_source
from autolabel_cli.drives.recordings import RecordedFrame
from autolabel_cli.drives.run_progress import RunView
from autolabel_cli.drives.uploads import close_drive, upload_frames
from autolabel_cli.errors import CommandError
from autolabel_cli.models.switching import Verdict, switch_model
from autolabel_cli.operations.interventions import relabel_drive
from autolabel_cli.stack import Stack
from autolabel_cli.training.candidates import Candidate, Recipe, train_candidate
from autolabel_cli.training.jobs import Instance
from tools.demo.deployment import image_uri
from tools.loop.drives import encode_frame
from tools.loop.reviewer import timestamp

CAMERA = "front"
TRAINING_IMAGE = "yolox-training"
# Every stretch of one frame is audited, and blind, however certain the model is.
_BLIND = VerifyUncertain(max_uncertainty=0.99, audit=1.0, blind=1.0, target=0.5, stretch=1)


class Edits(NamedTuple):
    """Frames whose reviewer saw the models' boxes, the edits that these needed, and the objects that they have."""

    frames: int
    edits: int
    objects: int

    @property
    def per_frame(self) -> float:
        return self.edits / self.frames

    @property
    def per_object(self) -> float:
        """Edits for an object: drives differ in how many objects a frame has."""
        return self.edits / self.objects


def label_drives(
    stack: Stack, names: Sequence[str], frames: int, models: tuple[str, ...] | None = None, *, blind: bool = False
) -> None:
    """Upload generated drives and wait until each is published. `models`: of the catalogue; None: the active ones.

    `blind`: reviewers see no boxes of models. CommandError when a run fails.
    """
    for name in names:
        pictures = (RecordedFrame(timestamp(number), "png", encode_frame(name, number)) for number in range(frames))
        upload_frames(stack, name, CAMERA, pictures, lambda count: None)
        close_drive(stack, name, _document(frames, models, _BLIND if blind else VerifyAll()))
    _await_runs(stack, dict.fromkeys(names, FIRST_RUN))


def ask_again(stack: Stack, names: Sequence[str], frames: int, model: str) -> None:
    """Let a candidate answer the frames of published drives. Reviewers get none of them again."""
    for name in names:
        close_drive(stack, name, _document(frames, (model,), VerifyAll()))
    _await_runs(stack, {name: relabel_drive(stack, name, "none").run for name in names})


def relabel_changed(stack: Stack, name: str) -> Counter[str]:
    """Label a drive again with the active model; count its frames by what became of the person's label."""
    run = relabel_drive(stack, name, "changed").run
    _await_runs(stack, {name: run})
    return Counter(line.origin.triage for line in _lines(stack, name, run))


def count_edits(stack: Stack, names: Iterable[str]) -> Edits:
    """Count the edits that turned the pre-labels of drives into what the reviewer left."""
    frames = edits = objects = 0
    for name in names:
        for line in _lines(stack, name, FIRST_RUN):
            counts = count_agreement(pair_boxes(line.prelabel_boxes, line.verified_boxes)).values()
            edits += sum(of.added + of.deleted + of.moved + of.relabelled for of in counts)
            objects += len(line.verified_boxes)
            frames += 1
    return Edits(frames, edits, objects)


def train(stack: Stack, name: str, start: str, names: Iterable[str], settings: Mapping[str, str]) -> Candidate:
    """Train a candidate on published drives; it is in the catalogue and in service when this returns."""
    recipe = Recipe(start, image_uri(TRAINING_IMAGE), settings, Instance("ml.m5.xlarge", 10, 1_800), scripted=False)
    datasets = [find_source(one, stack) for one in names]
    return train_candidate(stack, name, recipe, datasets, wait=True, again=False, tell=lambda text: None)


def judge(stack: Stack, old: str, new: str, held_out: Sequence[str]) -> Verdict:
    """Judge a candidate on the first, blind run of each held-out drive, and switch to it if it is better."""
    drives = [f"{name}@{FIRST_RUN}" for name in held_out]
    return switch_model(stack, old, new, drives, datetime.now(UTC))


def _document(frames: int, models: tuple[str, ...] | None, policy: Policy) -> DriveDocument:
    return DriveDocument("generated", {CAMERA: Camera(frames)}, models=models, verification=policy)


def _await_runs(stack: Stack, runs: Mapping[str, str]) -> None:
    for name, run in runs.items():
        ended = RunView(stack, name, run).follow(lambda progress: None, start_within=120.0)
        if ended.status != "SUCCEEDED":
            raise CommandError(f"run {run} of drive {name} ended as {ended.status}: {ended.failure}")


def _lines(stack: Stack, name: str, run: str) -> Iterator[ManifestLine]:
    return map(read_line, stack.labels.lines(stack.ledger.run(name, run).folder.dataset))


class Clock:
    """Measures the seconds of each kind of step."""

    def __init__(self) -> None:
        self.seconds = Counter[str]()
        self._began = time.monotonic()

    def took(self, step: str) -> None:
        """Add the time since the last call to a kind of step."""
        now = time.monotonic()
        self.seconds[step] += round(now - self._began)
        self._began = now
