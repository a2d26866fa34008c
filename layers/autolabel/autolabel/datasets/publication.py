"""Publishes a run: joins its frames with the reviewers' labels and writes the dataset."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import CountMismatch, RunMissing
from autolabel.contracts.ports import Announcements, Bucket, Runs
from autolabel.contracts.verification import ACCEPTED, BOXES
from autolabel.contracts.wording import counted
from autolabel.datasets.joining import Join
from autolabel.datasets.verified_labels import FinishedJob
from autolabel.labelling.shards import OTHER_KINDS
from autolabel.labels.manifest import LabelledBy, ManifestLine
from autolabel.reporting.findings import Findings
from autolabel.reporting.report import Gallery, write_report
from autolabel.reporting.summary import Summary
from autolabel.triage.review_log import AcceptanceStatus, ReviewLog

# Different reasons for which frames without a verified label are counted: a reason can be foreign text.
MAX_REASONS = 100
# Words with a digit are numbers, places and ids of one frame; S3 is a name.
_NUMBERED = re.compile(r"(?<![\w-])(?![sS]3\b)[\w-]*\d[\w-]*")


class Publication(msgspec.Struct, frozen=True):
    """The output of a run's execution.

    `verified`: frames with a person's label; `accepted`: frames that the policy accepted without a person. `scripted`:
    frames with a label of a script, which are in neither count, so that a reader who wants labels that are known to be
    right does not take them for such. `kept`: those of the `verified` frames whose label comes from an earlier run.
    `rejected`: objects of the drive that are not in the dataset, by reason.
    """

    drive: str
    run: str
    dataset: str
    report: str
    summary: str
    frames: dict[str, int]
    boxes: int
    verified: int
    accepted: int
    scripted: int = 0
    kept: int = 0
    rejected: dict[str, int] = {}


class _Counts:
    """Counts the lines of the dataset by labelled-by, their boxes by class, and the accepted frames.

    `unverified`: lines without a verified label, by reason.
    """

    def __init__(self) -> None:
        self.labelled_by: Counter[str] = Counter()
        self.classes: Counter[str] = Counter()
        self.unverified: Counter[str] = Counter()
        self.accepted = self.kept = 0

    def take(self, line: ManifestLine) -> None:
        boxes = line.prelabel_boxes if line.verified is msgspec.UNSET else line.verified_boxes
        self.classes.update(box.name for box in boxes)
        self.labelled_by[line.origin.labelled_by.value] += 1
        self.accepted += line.origin.triage == ACCEPTED
        self.kept += line.origin.kept is not None
        if line.origin.verification and line.origin.kept is None:
            kind = _NUMBERED.sub("#", line.origin.verification)
            separate = kind in self.unverified or len(self.unverified) < MAX_REASONS
            self.unverified[kind if separate else OTHER_KINDS] += 1


def publish_run(
    run: Run,
    jobs: Sequence[FinishedJob],
    *,
    ingest: Bucket,
    label_bucket: Bucket,
    ledger: Runs,
    announcements: Announcements,
    now: float,
) -> Publication:
    """Write the dataset, the final summary and the report, and publish an event to the event bus.

    Every line of the run's shards becomes one line of the dataset: with the label that a reviewer left or the policy
    accepted, else with the reason in its provenance. A back-end's lines of frames that its job was not given are left
    out, and a note counts them. Raises RunMissing for a run that was never assembled, CountMismatch when a frame is
    missing.
    """
    assembled = _read_summary(run, label_bucket)
    frames = assembled.frames.labelled + assembled.frames.failed
    counts, gallery, findings = _Counts(), Gallery(frames), Findings(run.labels, frames)
    join = Join(run, jobs, label_bucket=label_bucket, frames=frames, wanted=findings.wants_candidates)
    with ReviewLog(run) as log:

        def lines() -> Iterator[bytes]:
            for line, uncertainty, candidates in join.frames():
                encoded = msgspec.json.encode(line) + b"\n"
                counts.take(line)
                log.take(line, uncertainty)
                gallery.take([encoded])
                findings.take(line, encoded, candidates)
                yield encoded

        label_bucket.write_stream(run.folder.dataset, lines(), "application/jsonl")
        if counts.labelled_by.total() != frames:
            found = f"{counts.labelled_by.total():,} of {counted(frames, 'frame')}"
            raise CountMismatch(f"the dataset of {run.drive} {run.run} has {found}")
        status = log.write(label_bucket, now)
    summary = _published(assembled, run, label_bucket, counts, join, findings, status)
    label_bucket.write_stream(run.folder.label_issues, findings.issues(), "application/jsonl")
    report = write_report(summary, gallery, findings, ingest=ingest, label_bucket=label_bucket)
    label_bucket.write(run.folder.summary, msgspec.json.encode(summary))
    publication = Publication(
        drive=run.drive,
        run=run.run,
        dataset=summary.dataset,
        report=report,
        summary=label_bucket.uri(run.folder.summary),
        frames=msgspec.to_builtins(summary.frames),
        boxes=summary.boxes,
        verified=sum(outcome.verified for outcome in join.outcomes) + counts.kept,
        accepted=counts.accepted,
        scripted=counts.labelled_by[LabelledBy.SCRIPT.value],
        kept=counts.kept,
        rejected=summary.reasons.get("rejected", {}),
    )
    ledger.finish_run(run, "published", now)
    if status.fallen:
        announcements.tell_ops(
            f"Acceptance is off after {run.drive} {run.run}",
            "Reviewers get frames with these classes again until audits prove them: " + "; ".join(status.fallen),
        )
    announcements.publish("DriveLabelled", msgspec.to_builtins(publication))
    return publication


def _read_summary(run: Run, label_bucket: Bucket) -> Summary:
    body = label_bucket.read(run.folder.summary)
    if body is None:
        raise RunMissing(f"run {run.drive} {run.run} was never assembled: no {run.folder.summary}")
    return msgspec.json.decode(body, type=Summary)


def _published(
    assembled: Summary,
    run: Run,
    label_bucket: Bucket,
    counts: _Counts,
    join: Join,
    findings: Findings,
    status: AcceptanceStatus,
) -> Summary:
    """Complete the summary of assembly with the results of verification. A repeated call adds no note twice."""
    new = (*join.notes, *status.fallen)
    task = run.document.verification.task
    return msgspec.structs.replace(
        assembled,
        boxes=counts.classes.total(),
        classes=dict(counts.classes.most_common()),
        notes=(*(note for note in assembled.notes if note not in new), *new),
        verification=tuple(join.outcomes),
        labelled_by=dict(counts.labelled_by.most_common()),
        unverified=dict(counts.unverified.most_common()),
        acceptance=status.sentences,
        dataset=label_bucket.uri(run.folder.dataset),
        task=task,
        # In the task `segments`, reviewers do not see the boxes.
        agreement=findings.agreement() if task == BOXES else None,
    )
