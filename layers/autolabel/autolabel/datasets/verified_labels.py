"""Verified labels: the results of a finished job, and how they join the lines of its frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import msgspec

from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import SEGMENTS, Task
from autolabel.contracts.wording import counted
from autolabel.datasets.third_looks import carry_classes
from autolabel.labelling.earlier_labels import EarlierFrame, keep_label
from autolabel.labels.manifest import LabelledBox, LabelledBy, ManifestLine, Unsure
from autolabel.labels.reviews import MAX_COMMENT, Review
from autolabel.reporting.reviewer_agreement import ReviewerTally
from autolabel.reporting.summary import JobOutcome
from autolabel.triage.seeds import SeedVerdict
from autolabel.verification.consolidation import Consensus
from autolabel.verification.settlement import Result, Settled, read_results


class FinishedJob(msgspec.Struct, frozen=True):
    """A verification job that ended: its shards from `first` to `last`, and the results of its rounds."""

    job: str
    status: str
    frames: int
    first: int
    last: int
    rounds: tuple[Settled, ...]


def join_jobs(jobs: Sequence[FinishedJob]) -> list[FinishedJob]:
    """Return the jobs in the order of their shards, those of the same shards as one.

    They are two where a share of the frames gets several reviewers, and several where shards have many strips.
    """
    ordered = sorted(jobs, key=lambda job: (job.first, job.last, job.job))
    groups = (list(group) for _, group in groupby(ordered, key=lambda job: (job.first, job.last)))
    return [
        msgspec.structs.replace(
            group[0],
            job=" + ".join(job.job for job in group),
            frames=sum(job.frames for job in group),
            rounds=tuple(one for job in group for one in job.rounds),
        )
        for group in groups
    ]


class LatestResults:
    """The results of a job's rounds by frame. If a frame was in two rounds, the later counts, unless it left no label.

    `unsure`: the reviews of persons who were unsure of a frame before. `consensus`: how far several reviewers of a
    frame agree. `seeds`: what reviewers made of frames' seeds. `redrawn`: what a second person drew blind in a frame
    whose first label stays.
    """

    def __init__(self) -> None:
        self.by_frame: dict[str, Result] = {}
        self.unsure: dict[str, Review] = {}
        self.consensus: dict[str, Consensus] = {}
        self.seeds: dict[str, SeedVerdict] = {}
        self.redrawn: dict[str, Result] = {}
        self._third_looks: list[tuple[Result, Result]] = []

    def take(self, results: Iterable[Result]) -> None:
        """Take the results of a round, or of an attempt, in their order."""
        for result in results:
            source, before = result.source_ref, self.by_frame.get(result.source_ref)
            if before is not None and before.redrawn:
                self.redrawn[source] = result
                continue
            if before is not None and before.unsure and isinstance(before.review, Review) and not before.by_script:
                self.unsure[source] = before.review
            if before is not None and before.contested:
                self._third_looks.append((before, result))
            if result.consensus and not result.by_script:
                self.consensus[source] = result.consensus
            if result.seed:
                self.seeds[source] = result.seed
            if before is None or before.failure or not result.failure:
                self.by_frame[source] = result

    def carry_classes(self) -> None:
        """Carry what third looks decided about tracks to their other frames, once all rounds are taken."""
        self.by_frame |= carry_classes(self.by_frame, self._third_looks)

    def unsure_before(self, source: str) -> Unsure | None:
        """Return the person who was unsure of a frame before its latest result."""
        before = self.unsure.get(source)
        return Unsure(before.worker, before.comment[:MAX_COMMENT]) if before else None


class JobTally(msgspec.Struct):
    """Counts of a job's frames. `stood_in`: failed ones with a person's label of an earlier run; others: JobOutcome.

    `reviewers`: the answers of persons for frames that several were asked for.
    """

    verified: int = 0
    unadjusted: int = 0
    failed: int = 0
    unsure: int = 0
    scripted: int = 0
    stood_in: int = 0
    reviewers: ReviewerTally = msgspec.field(default_factory=ReviewerTally)

    def add(self, other: JobTally) -> None:
        self.reviewers.add(other.reviewers)
        for field in self.__struct_fields__:
            if field != "reviewers":
                setattr(self, field, getattr(self, field) + getattr(other, field))


class VerifiedLabels:
    """The results of one job, and how they join the lines of its frames; `tally` counts the joined ones."""

    def __init__(self, job: FinishedJob, label_bucket: Bucket, task: Task) -> None:
        self._task = task
        self._results = LatestResults()
        self.tally = JobTally()
        for one in job.rounds:
            self._results.take(read_results(label_bucket, one.results))
        self._results.carry_classes()

    def seed(self, source: str) -> SeedVerdict | None:
        """Return what a reviewer made of the seed of a frame, if it had one."""
        return self._results.seeds.get(source)

    def redrawn(self, source: str) -> list[LabelledBox] | None:
        """Return what another person drew blind in a frame; None if no other person did."""
        first, second = self._results.by_frame.get(source), self._results.redrawn.get(source)
        if first is None or second is None or second.failure or second.by_script:
            return None
        if first.worker and first.worker == second.worker:
            return None
        return second.boxes

    def join(self, line: ManifestLine, earlier: EarlierFrame, *, blind: bool) -> None:
        """Put a frame's label into its line, or the reason why it has none.

        `blind`: the reviewer did not see the pre-label, so the label is a person's alone. `earlier`: what the run did
        with the labels of earlier runs. One of them stands in where no person left a label: a label of the same bytes
        is better than none, and than a script's. It gives no evidence, because it is not new.
        """
        self._join(line, shown=bool(earlier.asked), blind=blind)
        if earlier.label and not line.origin.labelled_by.by_person:
            keep_label(line, earlier, earlier.label)
            self.tally.stood_in += 1

    def _join(self, line: ManifestLine, *, shown: bool, blind: bool) -> None:
        """Put the label of this job into a line. `shown`: the reviewer began from an earlier label."""
        result, provenance = self._results.by_frame.get(line.source_ref), line.origin
        if result is None or result.failure:
            self.tally.failed += 1
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
        provenance.unsure = self._results.unsure_before(line.source_ref)
        if result.by_script:
            provenance.labelled_by = LabelledBy.SCRIPT
            self.tally.scripted += 1
            return
        if consensus := self._results.consensus.get(line.source_ref):
            self.tally.reviewers.take(consensus)
        alone = blind or (nothing_shown and not shown)
        provenance.labelled_by = LabelledBy.PERSON if alone else LabelledBy.MODEL_AND_PERSON
        self.tally.verified += 1
        self.tally.unadjusted += result.unadjusted
        self.tally.unsure += result.unsure


def job_outcome(job: FinishedJob, tally: JobTally) -> JobOutcome:
    """Return the counts of a job for the summary. `tally`: of all its frames."""
    return JobOutcome(
        job=job.job,
        status=job.status,
        frames=job.frames,
        verified=tally.verified,
        unadjusted=tally.unadjusted,
        failed=tally.failed,
        rounds=1 + any(one.again is not None for one in job.rounds),
        unsure=tally.unsure,
        scripted=tally.scripted,
        several=sum(one.several for one in job.rounds),
        short=sum(one.short for one in job.rounds),
        disputed=sum(one.disputed for one in job.rounds),
    )


def job_notes(job: FinishedJob, tally: JobTally) -> Iterator[str]:
    """Yield notes for operators about a job. `tally`: of all its frames."""
    frames = counted(job.frames, "frame")
    for one in job.rounds:
        if one.missing:
            missing = f"{counted(one.missing, 'label')} of earlier attempts"
            yield f"job {one.job}: {missing} did not come, and reviewers got the frames again"
        if one.foreign:
            foreign = counted(one.foreign, "line of a frame", "lines of frames")
            yield f"job {one.job} left {foreign} that it was not given"
        if one.doubled:
            doubled = counted(one.doubled, "line of a frame", "lines of frames")
            yield f"job {one.job} left {doubled} that it had labelled already"
        if one.short:
            short = f"{one.short:,} of {one.several:,} frames for several reviewers"
            yield f"job {one.job} left {short} with fewer answers than reviewers who were asked"
        if one.broken:
            yield f"job {one.job} left {counted(one.broken, 'unreadable line')}"
    if tally.failed:
        kept = f"; {tally.stood_in:,} of them keep a person's label of an earlier run" if tally.stood_in else ""
        yield f"job {job.job} left {tally.failed:,} of {frames} without a verified label{kept}"
    if tally.scripted:
        scripted = f"{tally.scripted:,} of {frames}"
        yield f"job {job.job}: a script made the labels of {scripted}; no person has looked at them"
    if tally.unsure:
        yield f"job {job.job}: reviewers are unsure of {tally.unsure:,} of {frames}"
