"""Joins the frames of a run with the labels that its verification jobs left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import ACCEPTED, BLIND_AUDIT, EVERYTHING, VerifyUncertain
from autolabel.datasets.verified_labels import FinishedJob, VerifiedLabels
from autolabel.labelling.shards import Shard, read_shards
from autolabel.labelling.uncertainty import FrameUncertainty
from autolabel.labels.manifest import ManifestLine, read_line
from autolabel.reporting.summary import JobOutcome


class JoinedFrame(NamedTuple):
    """A line of the dataset to come, with the models' doubt about it and, if it is wanted, its line of detections."""

    line: ManifestLine
    uncertainty: FrameUncertainty
    candidates: bytes


class Join:
    """Joins a run's shards with what reviewers left, in the order of the drive.

    `frames`: how many there are. `wanted`: whether the detections of the shard with this index are read. Once all
    frames are joined, `outcomes` and `notes` tell of each job.
    """

    def __init__(
        self, run: Run, jobs: Sequence[FinishedJob], *, labels: Bucket, frames: int, wanted: Callable[[int], bool]
    ) -> None:
        self._run = run
        self._labels = labels
        self._wanted = wanted
        self._kinds = _kinds(run, labels, frames)
        self._jobs = sorted(jobs, key=lambda job: job.first)
        self.outcomes: list[JobOutcome] = []
        self.notes: list[str] = []

    def frames(self) -> Iterator[JoinedFrame]:
        """Every frame once. CountMismatch when a frame went to reviewers and no job tells of it."""
        shards = read_shards(self._labels, self._run.folder)
        following = next(shards, None)
        for job in self._jobs:
            verified = VerifiedLabels(job, self._labels, self._run.document.verification.task)
            while following is not None and following.index <= job.last:
                yield from self._shard(following, verified if following.index >= job.first else None)
                following = next(shards, None)
            self.outcomes.append(verified.outcome)
            self.notes += verified.notes
            # Before the next one's results are read: those of one job take hundreds of megabytes.
            del verified
        while following is not None:
            yield from self._shard(following, None)
            following = next(shards, None)
        if next(self._kinds, None) is not None:
            raise CountMismatch(f"the triage of {self._run.drive} {self._run.run} tells of more frames than there are")

    def _shard(self, shard: Shard, verified: VerifiedLabels | None) -> Iterator[JoinedFrame]:
        def lines(part: str) -> Iterator[bytes]:
            return self._labels.lines(self._run.folder.shard(shard.index, f"{part}.jsonl"))

        uncertainties = map(msgspec.json.Decoder(FrameUncertainty).decode, lines("doubts"))
        candidates = lines("detections") if self._wanted(shard.index) else iter(())
        for body, uncertainty in zip(lines("manifest"), uncertainties, strict=True):
            line = read_line(body)
            self._label(line, verified)
            yield JoinedFrame(line, uncertainty, next(candidates, b""))

    def _label(self, line: ManifestLine, verified: VerifiedLabels | None) -> None:
        kind = next(self._kinds, None)
        if kind is None:
            raise CountMismatch(f"the triage of {self._run.drive} {self._run.run} ends before {line.source_ref}")
        if kind == ACCEPTED:
            # The pre-label stands as the label; `human-annotated` in its metadata tells it from a person's.
            line.verified, line.verified_metadata = line.prelabel, line.prelabel_metadata
        elif verified is None:
            raise CountMismatch(f"no verification job tells of {line.source_ref}")
        else:
            verified.join(line, blind=kind == BLIND_AUDIT)
        line.origin.triage = kind


def _kinds(run: Run, labels: Bucket, frames: int) -> Iterator[str]:
    """Why reviewers were given each frame, in the drive's order."""
    if not isinstance(run.document.verification, VerifyUncertain):
        return repeat(EVERYTHING, frames)
    return map(msgspec.json.Decoder(str).decode, labels.lines(run.folder.triage))
