"""Publication: what people left is joined with the drive, and becomes the dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import CountMismatch, RunMissing
from autolabel.contracts.ports import Announcements, Bucket, Ledger
from autolabel.contracts.verification import ACCEPTED, BLIND_AUDIT, BOXES, EVERYTHING, SEGMENTS, Task, VerifyDoubtful
from autolabel.labelling.shards import Shard, read_shards
from autolabel.labelling.uncertainty import FrameDoubt
from autolabel.labels.manifest import PRELABEL, PROVENANCE, REVIEW, SEGMENTATION, VERIFIED, metadata_of, read_boxes
from autolabel.labels.reviews import MAX_COMMENT, Review
from autolabel.reporting.findings import Findings
from autolabel.reporting.report import Gallery, write_report
from autolabel.reporting.summary import JobOutcome, Summary
from autolabel.triage.review_log import ReviewLog
from autolabel.verification.jobs import LABELS
from autolabel.verification.settlement import Result, Settled


class FinishedJob(msgspec.Struct, frozen=True):
    """A verification job that ended, of the shards from `first` to `last`, with what its rounds came to."""

    job: str
    status: str
    frames: int
    first: int
    last: int
    rounds: tuple[Settled, ...]


class Publication(msgspec.Struct, frozen=True):
    """The end of a run, as its execution's output. `verified`: frames with a person's label; `accepted`: without."""

    drive: str
    run: str
    dataset: str
    report: str
    summary: str
    frames: dict[str, int]
    boxes: int
    verified: int
    accepted: int


def publish_run(
    run: Run,
    jobs: Sequence[FinishedJob],
    *,
    ingest: Bucket,
    labels: Bucket,
    ledger: Ledger,
    announcements: Announcements,
    now: float,
) -> Publication:
    """Write the dataset, the final summary and report, and tell the event bus.

    Every line of the run's shards becomes one line of the dataset: with the label that people left or the policy
    accepted, else with the reason in its provenance. What a back-end made up is left out and noted.
    """
    key = run.folder.summary
    body = labels.read(key)
    if body is None:
        raise RunMissing(f"run {run.drive} {run.run} was never assembled: no {key}")
    assembled = msgspec.json.decode(body, type=Summary)
    expected = assembled.frames.labelled + assembled.frames.failed
    with ReviewLog(run) as log:
        join = _Join(run, labels, expected, jobs, log)
        labels.write_stream(run.folder.dataset, join.lines(), "application/jsonl")
        if join.labelled_by.total() != expected:
            found = f"{join.labelled_by.total()} of {expected} frames"
            raise CountMismatch(f"the dataset of {run.drive} {run.run} has {found}")
        standing = log.write(labels, now)
    new = (*join.notes, *standing.fallen)
    notes = [note for note in assembled.notes if note not in new]
    task = run.document.verification.task
    summary = msgspec.structs.replace(
        assembled,
        boxes=join.classes.total(),
        classes=dict(join.classes.most_common()),
        notes=(*notes, *new),
        verification=tuple(join.outcomes),
        labelled_by=dict(join.labelled_by.most_common()),
        acceptance=standing.sentences,
        dataset=labels.uri(run.folder.dataset),
        task=task,
        # Nobody said anything of the boxes where segments are verified.
        agreement=join.findings.agreement() if task == BOXES else None,
    )
    labels.write_stream(run.folder.label_issues, join.findings.suspects(), "application/jsonl")
    report = write_report(summary, join.gallery, join.findings, ingest=ingest, labels=labels)
    labels.write(key, msgspec.json.encode(summary))
    publication = Publication(
        drive=run.drive,
        run=run.run,
        dataset=summary.dataset,
        report=report,
        summary=labels.uri(key),
        frames=msgspec.to_builtins(summary.frames),
        boxes=summary.boxes,
        verified=sum(outcome.verified for outcome in join.outcomes),
        accepted=join.accepted,
    )
    ledger.finish_run(run, "published", now)
    if standing.fallen:
        announcements.tell_ops(
            f"Acceptance is off after {run.drive} {run.run}",
            "People see these classes again until audits prove them: " + "; ".join(standing.fallen),
        )
    announcements.publish("DriveLabelled", msgspec.to_builtins(publication))
    return publication


class _Join:
    """Joins the shards of a run with what people left, in the order of the drive.

    `labelled_by`: the dataset's lines by who said so; `accepted`: those without a person.
    """

    def __init__(self, run: Run, labels: Bucket, frames: int, jobs: Sequence[FinishedJob], log: ReviewLog) -> None:
        self._run = run
        self._labels = labels
        self._log = log
        self._kinds = _kinds(run, labels, frames)
        self._jobs = sorted(jobs, key=lambda job: job.first)
        self.gallery = Gallery(frames)
        self.findings = Findings(run.labels, frames)
        self.classes: Counter[str] = Counter()
        self.labelled_by: Counter[str] = Counter()
        self.accepted = 0
        self.outcomes: list[JobOutcome] = []
        self.notes: list[str] = []

    def lines(self) -> Iterator[bytes]:
        """The dataset's lines. CountMismatch when frames went to people and no job tells of them."""
        shards = read_shards(self._labels, self._run.folder)
        following = next(shards, None)
        for job in self._jobs:
            joined = _JoinedJob(job, self._labels, self._run.document.verification.task)
            while following is not None and following.index <= job.last:
                yield from self._shard(following, joined if following.index >= job.first else None)
                following = next(shards, None)
            self.outcomes.append(joined.outcome)
            self.notes += joined.notes
            # Before the next one's results are read: those of one job take hundreds of megabytes.
            del joined
        while following is not None:
            yield from self._shard(following, None)
            following = next(shards, None)
        if next(self._kinds, None) is not None:
            raise CountMismatch(f"the triage of {self._run.drive} {self._run.run} tells of more frames than there are")

    def _shard(self, shard: Shard, job: _JoinedJob | None) -> Iterator[bytes]:
        def lines(part: str) -> Iterator[bytes]:
            return self._labels.lines(self._run.folder.shard(shard.index, f"{part}.jsonl"))

        candidates = self._candidates(shard)
        doubts = map(msgspec.json.Decoder(FrameDoubt).decode, lines("doubts"))
        for body, doubt in zip(lines("manifest"), doubts, strict=True):
            line: dict[str, Any] = msgspec.json.decode(body)
            kind = next(self._kinds, None)
            if kind is None:
                raise CountMismatch(f"the triage of {self._run.drive} {self._run.run} ends before {line['source-ref']}")
            if kind == ACCEPTED:
                _accept(line)
                self.accepted += 1
            elif job is None:
                raise CountMismatch(f"no verification job tells of {line['source-ref']}")
            else:
                job.join(line, blind=kind == BLIND_AUDIT)
            line[PROVENANCE]["triage"] = kind
            self.classes.update(box.name for box in read_boxes(line, VERIFIED if VERIFIED in line else PRELABEL))
            self.labelled_by[line[PROVENANCE]["labelled-by"]] += 1
            self._log.take(line, kind, doubt, line.get(REVIEW))
            encoded = msgspec.json.encode(line) + b"\n"
            self.gallery.take([encoded])
            self.findings.take(line, encoded, next(candidates, b""))
            yield encoded

    def _candidates(self, shard: Shard) -> Iterator[bytes]:
        """What the models saw of a shard's frames, a line for each of its manifest's, if it is wanted."""
        if not self.findings.wants_candidates(shard.index):
            return iter(())
        return self._labels.lines(self._run.folder.shard(shard.index, "detections.jsonl"))


def _kinds(run: Run, labels: Bucket, frames: int) -> Iterator[str]:
    """Why people were given each frame, in the drive's order."""
    if not isinstance(run.document.verification, VerifyDoubtful):
        return repeat(EVERYTHING, frames)
    return map(msgspec.json.Decoder(str).decode, labels.lines(run.folder.triage))


def _accept(line: dict[str, Any]) -> None:
    """Let the pre-label of a frame stand as its label, which `human-annotated` tells from a person's."""
    line[VERIFIED] = line[PRELABEL]
    line[metadata_of(VERIFIED)] = line[metadata_of(PRELABEL)]


class _JoinedJob:
    """A job's results, which its frames get one by one. Of two rounds the later counts, if it left a label."""

    def __init__(self, job: FinishedJob, labels: Bucket, task: Task) -> None:
        self._job = job
        self._task = task
        self._results: dict[str, Result] = {}
        self._unsure_before: dict[str, Review] = {}
        self._verified = self._unadjusted = self._failed = self._unsure = 0
        decoder = msgspec.json.Decoder(Result)
        for one in job.rounds:
            for body in labels.lines(one.results.removeprefix(labels.uri(""))):
                result = decoder.decode(body)
                before = self._results.get(result.source_ref)
                if before is not None and isinstance(before.review, Review) and before.review.unsure:
                    self._unsure_before[result.source_ref] = before.review
                if before is None or before.failure or not result.failure:
                    self._results[result.source_ref] = result

    def join(self, line: dict[str, Any], *, blind: bool) -> None:
        """Move a frame's label into its line of the dataset, or the reason why there is none.

        `blind`: the pre-label was not shown, so that the label is all a person's.
        """
        result = self._results.get(line["source-ref"])
        provenance = line[PROVENANCE]
        if result is None or result.failure:
            self._failed += 1
            provenance |= {"labelled-by": "nobody", "verification": result.failure if result else "in no job"}
            return
        attribute = LABELS[self._task]
        line[attribute] = msgspec.json.decode(result.label)
        line[metadata_of(attribute)] = metadata = msgspec.json.decode(result.metadata)
        if result.review is not msgspec.UNSET:
            line[REVIEW] = result.review
        nothing = SEGMENTATION not in line if self._task == SEGMENTS else provenance["labelled-by"] == "nobody"
        who = "person" if blind or nothing else "model and person"
        provenance |= {"labelled-by": who, "job": result.job}
        if (unsure := self._unsure_before.get(line["source-ref"])) is not None:
            provenance["unsure"] = {"worker": unsure.worker, "comment": unsure.comment[:MAX_COMMENT]}
        self._verified += 1
        self._unadjusted += metadata.get("adjustment-status") == "unadjusted"
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
        )

    @property
    def notes(self) -> Iterator[str]:
        """What a person should know of the job."""
        for one in self._job.rounds:
            if one.foreign:
                yield f"job {one.job} left {one.foreign} lines of frames that it was not given"
            if one.doubled:
                yield f"job {one.job} left {one.doubled} lines of frames that it had labelled already"
            if one.broken:
                yield f"job {one.job} left {one.broken} lines that are no manifest lines"
        if self._failed:
            yield f"job {self._job.job} left {self._failed} of {self._job.frames} frames without a verified label"
        if self._unsure:
            yield f"job {self._job.job}: people are unsure of {self._unsure} of {self._job.frames} frames"
