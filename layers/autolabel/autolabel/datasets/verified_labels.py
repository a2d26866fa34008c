"""Verified labels: the results of a finished job, and how they join the lines of its frames."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import SEGMENTS, Task
from autolabel.contracts.wording import counted
from autolabel.labels.manifest import LabelledBy, ManifestLine, Unsure
from autolabel.labels.reviews import MAX_COMMENT, Review
from autolabel.reporting.summary import JobOutcome
from autolabel.verification.settlement import Result, Settled


class FinishedJob(msgspec.Struct, frozen=True):
    """A verification job that ended: its shards from `first` to `last`, and the results of its rounds."""

    job: str
    status: str
    frames: int
    first: int
    last: int
    rounds: tuple[Settled, ...]


class VerifiedLabels:
    """The results of one job by frame. If a frame was in two rounds, the later counts, unless it left no label."""

    def __init__(self, job: FinishedJob, label_bucket: Bucket, task: Task) -> None:
        self._job = job
        self._task = task
        self._results: dict[str, Result] = {}
        self._unsure_before: dict[str, Review] = {}
        self._verified = self._unadjusted = self._failed = self._unsure = self._scripted = 0
        decoder = msgspec.json.Decoder(Result)
        for one in job.rounds:
            for body in label_bucket.lines(one.results.removeprefix(label_bucket.uri(""))):
                self._take(decoder.decode(body))

    def _take(self, result: Result) -> None:
        before = self._results.get(result.source_ref)
        if before is not None and isinstance(before.review, Review) and before.review.unsure and not before.by_script:
            self._unsure_before[result.source_ref] = before.review
        if before is None or before.failure or not result.failure:
            self._results[result.source_ref] = result

    def join(self, line: ManifestLine, *, blind: bool) -> None:
        """Put a frame's label into its line, or the reason why it has none.

        `blind`: the reviewer did not see the pre-label, so the label is a person's alone. A label that a script made
        is told apart, because it says nothing about the models.
        """
        result, provenance = self._results.get(line.source_ref), line.origin
        if result is None or result.failure:
            self._failed += 1
            provenance.labelled_by = LabelledBy.NOBODY
            provenance.verification = result.failure if result else "in no job"
            return
        if self._task == SEGMENTS:
            nothing_shown = line.segmentation is msgspec.UNSET
            line.verified_segments, line.verified_segments_metadata = result.label, result.metadata
        else:
            nothing_shown = provenance.labelled_by == LabelledBy.NOBODY
            line.verified, line.verified_metadata = result.label, result.metadata
        line.review = result.review
        provenance.job = result.job
        if (before := self._unsure_before.get(line.source_ref)) is not None:
            provenance.unsure = Unsure(before.worker, before.comment[:MAX_COMMENT])
        if result.by_script:
            provenance.labelled_by = LabelledBy.SCRIPT
            self._scripted += 1
            return
        provenance.labelled_by = LabelledBy.PERSON if blind or nothing_shown else LabelledBy.MODEL_AND_PERSON
        self._verified += 1
        self._unadjusted += result.unadjusted
        self._unsure += result.unsure

    @property
    def outcome(self) -> JobOutcome:
        return JobOutcome(
            job=self._job.job,
            status=self._job.status,
            frames=self._job.frames,
            verified=self._verified,
            unadjusted=self._unadjusted,
            failed=self._failed,
            rounds=len(self._job.rounds),
            unsure=self._unsure,
            scripted=self._scripted,
        )

    @property
    def notes(self) -> Iterator[str]:
        """Yield notes for operators about the job."""
        frames = counted(self._job.frames, "frame")
        for one in self._job.rounds:
            if one.missing:
                missing = f"{counted(one.missing, 'label')} of earlier attempts"
                yield f"job {one.job}: {missing} did not come, and reviewers got the frames again"
            if one.foreign:
                foreign = counted(one.foreign, "line of a frame", "lines of frames")
                yield f"job {one.job} left {foreign} that it was not given"
            if one.doubled:
                doubled = counted(one.doubled, "line of a frame", "lines of frames")
                yield f"job {one.job} left {doubled} that it had labelled already"
            if one.broken:
                yield f"job {one.job} left {counted(one.broken, 'unreadable line')}"
        if self._failed:
            yield f"job {self._job.job} left {self._failed:,} of {frames} without a verified label"
        if self._scripted:
            yield (
                f"job {self._job.job}: a script made the labels of {self._scripted:,} of {frames}; "
                "no person has looked at them"
            )
        if self._unsure:
            yield f"job {self._job.job}: reviewers are unsure of {self._unsure:,} of {frames}"
