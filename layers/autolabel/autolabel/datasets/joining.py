"""Joins the frames of a run with the labels from its verification jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import ACCEPTED, BLIND_AUDIT, EVERYTHING, KEPT, VerifyUncertain
from autolabel.datasets.verified_labels import FinishedJob, VerifiedLabels
from autolabel.labelling.earlier_labels import EarlierFrame, earlier_frames, keep_label
from autolabel.labelling.shards import LabelledShard, read_results
from autolabel.labelling.uncertainty import FrameUncertainty
from autolabel.labels.manifest import ManifestLine, read_line
from autolabel.reporting.summary import JobOutcome
from autolabel.streams.ordered_map import map_in_order

# Threads that read shards ahead, since a read mostly waits for S3. Few, because a shard takes megabytes.
_READERS = 4


class JoinedFrame(NamedTuple):
    """A future line of the dataset, with the frame's uncertainty and, if wanted, its line of detections.jsonl."""

    line: ManifestLine
    uncertainty: FrameUncertainty
    candidates: bytes


class _ShardLines(NamedTuple):
    """The lines of a shard's parts, as they are read ahead."""

    shard: LabelledShard
    manifest: list[bytes]
    uncertainties: list[bytes]
    candidates: Iterable[bytes]
    earlier: list[EarlierFrame]


class Join:
    """Joins a run's shards with the reviewers' labels, in the order of the drive.

    `frames`: the number of frames. `wanted`: tells whether to read the detections of the shard with this index. Once
    all frames are joined, `outcomes` and `notes` are complete: they have the counts and notes of each job.
    """

    def __init__(
        self, run: Run, jobs: Sequence[FinishedJob], *, label_bucket: Bucket, frames: int, wanted: Callable[[int], bool]
    ) -> None:
        self._run = run
        self._label_bucket = label_bucket
        self._wanted = wanted
        self._shards, _ = read_results(label_bucket, run.folder)
        self._kinds = _kinds(run, label_bucket, frames, earlier=any(shard.asked for shard in self._shards))
        self._jobs = sorted(jobs, key=lambda job: job.first)
        self.outcomes: list[JobOutcome] = []
        self.notes: list[str] = []

    def frames(self) -> Iterator[JoinedFrame]:
        """Yield every frame once. Raises CountMismatch when a frame went to reviewers and is in no job."""
        shards = map_in_order(self._read, self._shards, _READERS)
        following = next(shards, None)
        for job in self._jobs:
            verified = VerifiedLabels(job, self._label_bucket, self._run.document.verification.task)
            while following is not None and following.shard.index <= job.last:
                yield from self._join(following, verified if following.shard.index >= job.first else None)
                following = next(shards, None)
            self.outcomes.append(verified.outcome)
            self.notes += verified.notes
            # Frees the memory before the next job's results are read: one job's results take hundreds of megabytes.
            del verified
        while following is not None:
            yield from self._join(following, None)
            following = next(shards, None)
        if next(self._kinds, None) is not None:
            raise CountMismatch(f"the triage of {self._run.drive} {self._run.run} has more frames than its shards")

    def _read(self, shard: LabelledShard) -> _ShardLines:
        def lines(part: str) -> list[bytes]:
            return list(self._label_bucket.lines(self._run.folder.shard(shard.index, f"{part}.jsonl")))

        return _ShardLines(
            shard,
            lines("manifest"),
            lines("doubts"),
            lines("detections") if self._wanted(shard.index) else repeat(b""),
            list(earlier_frames(self._run, shard, self._label_bucket)),
        )

    def _join(self, read: _ShardLines, verified: VerifiedLabels | None) -> Iterator[JoinedFrame]:
        uncertainties = map(msgspec.json.Decoder(FrameUncertainty).decode, read.uncertainties)
        candidates = iter(read.candidates)
        for body, uncertainty, earlier in zip(read.manifest, uncertainties, read.earlier, strict=True):
            line = read_line(body)
            self._label(line, verified, earlier)
            yield JoinedFrame(line, uncertainty, next(candidates, b""))

    def _label(self, line: ManifestLine, verified: VerifiedLabels | None, earlier: EarlierFrame) -> None:
        kind = next(self._kinds, None)
        if kind is None:
            raise CountMismatch(f"the triage of {self._run.drive} {self._run.run} ends before {line.source_ref}")
        if kind == ACCEPTED:
            # The pre-label becomes the label. `human-annotated` in its metadata shows that no person made it.
            line.verified, line.verified_metadata = line.prelabel, line.prelabel_metadata
        elif kind == KEPT and earlier.label:
            keep_label(line, earlier, earlier.label)
        elif verified is None:
            raise CountMismatch(f"no verification job has {line.source_ref}")
        else:
            verified.join(line, earlier, blind=kind == BLIND_AUDIT)
        line.origin.triage = kind


def _kinds(run: Run, label_bucket: Bucket, frames: int, *, earlier: bool) -> Iterator[str]:
    """Yield the kind of each frame (why reviewers got it, or did not), in the order of the drive."""
    if not isinstance(run.document.verification, VerifyUncertain) and not earlier:
        return repeat(EVERYTHING, frames)
    return map(msgspec.json.Decoder(str).decode, label_bucket.lines(run.folder.triage))
