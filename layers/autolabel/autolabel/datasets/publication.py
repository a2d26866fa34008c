"""Publishes a run: joins its frames with the reviewers' labels, part by part, and writes the dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from autolabel.contracts.drive import Run, Sensors
from autolabel.contracts.errors import CountMismatch, RunMissing
from autolabel.contracts.ports import Announcements, Bucket, Runs
from autolabel.contracts.verification import SEGMENTS
from autolabel.contracts.wording import counted
from autolabel.datasets.part_files import PartResult, read_part, read_result, write_part
from autolabel.datasets.parts import DatasetCounts, Part, plan_parts
from autolabel.datasets.verified_labels import FinishedJob, JobTally, job_notes, job_outcome, join_jobs
from autolabel.labelling.shards import READERS
from autolabel.labels.manifest import LabelledBy
from autolabel.reporting.findings import Findings
from autolabel.reporting.report import Gallery, write_report
from autolabel.reporting.reviewer_agreement import ReviewerTally
from autolabel.reporting.summary import CuboidCounts, Summary
from autolabel.reporting.vigilance import SeedTally
from autolabel.streams.ordered_map import map_in_order
from autolabel.triage.audit_trail import AuditTrail
from autolabel.triage.audits import read_recipe
from autolabel.triage.corrections import RunCorrections, write_corrections
from autolabel.triage.redrawn import RedrawnTally
from autolabel.triage.review_log import AcceptanceStatus, write_evidence


class Publication(msgspec.Struct, frozen=True):
    """The output of a run's execution.

    `verified`: frames with a person's label; `accepted`: frames that the policy accepted without a person. `scripted`:
    frames with a label of a script, which are in neither count, so that a reader who wants labels that are known to be
    right does not take them for such. `kept`: those of the `verified` frames whose label comes from an earlier run.
    `rejected`: objects of the drive that are not in the dataset, by reason. `tracks`: of the models' boxes.
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
    tracks: int = 0


class PartsPlan(msgspec.Struct, frozen=True):
    """The output of planning: the number of parts, the key of their list in the label bucket, whether to `lift` the
    boxes to cuboids, and whether reviewers get these (`review`)."""

    drive: str
    run: str
    parts: int
    key: str
    lift: bool = False
    review: bool = False


class PartDone(msgspec.Struct, frozen=True):
    """The output of writing one part."""

    drive: str
    run: str
    number: int
    frames: int


def plan_publication(run: Run, jobs: Sequence[FinishedJob], label_bucket: Bucket, part_frames: int) -> PartsPlan:
    """Write the list of the parts in which a run is published. A repeated call writes the same."""
    parts = list(plan_parts(run, jobs, label_bucket, part_frames))
    lines = (msgspec.json.encode(part) + b"\n" for part in parts)
    label_bucket.write_stream(run.folder.part_list, lines, "application/jsonl")
    # A distributed map takes no empty list.
    lift, review = (bool(wanted and parts) for wanted in (run.document.cuboids, run.document.verifies_cuboids))
    return PartsPlan(run.drive, run.run, len(parts), run.folder.part_list, lift, review)


def publish_part(run: Run, part: Part, label_bucket: Bucket) -> PartDone:
    """Write one part, unless it is there."""
    if read_result(run, part, label_bucket) is None:
        write_part(run, part, label_bucket)
    return PartDone(run.drive, run.run, part.number, part.frames)


def publish_run(
    run: Run,
    jobs: Sequence[FinishedJob],
    *,
    ingest: Bucket,
    label_bucket: Bucket,
    ledger: Runs,
    announcements: Announcements,
    now: float,
    part_frames: int,
) -> Publication:
    """Write the dataset, the final summary and the report, and publish an event to the event bus.

    Every line of the run's shards becomes one line of the dataset: with the label that a reviewer left or the policy
    accepted, else with the reason in its provenance. A back-end's lines of frames that its job was not given are left
    out, and a note counts them. The run is published in parts of `part_frames`; missing parts are written. Raises
    RunMissing for a run that was never assembled, CountMismatch when a frame is missing.
    """
    assembled = _read_summary(run, label_bucket)
    frames = assembled.frames.labelled + assembled.frames.failed
    parts = list(plan_parts(run, jobs, label_bucket, part_frames))
    if (found := sum(part.frames for part in parts)) != frames:
        raise CountMismatch(f"the dataset of {run.drive} {run.run} has {found:,} of {counted(frames, 'frame')}")
    written = map_in_order(lambda part: read_result(run, part, label_bucket), parts, READERS)
    results = [one or write_part(run, part, label_bucket) for part, one in zip(parts, written, strict=True)]
    counts, seeds, gallery, findings = DatasetCounts(), SeedTally(), Gallery(frames), Findings(frames)
    redrawn = RedrawnTally()
    audits = AuditTrail(run.document.verification)
    for result in results:
        counts.add(result.counts)
        seeds.add(result.seeds)
        redrawn.add(result.redrawn.classes)
    verification = [(job, _tally(job, results)) for job in join_jobs(jobs)]
    read = 0
    for part in parts:
        for frame in read_part(run, part, label_bucket):
            read += 1
            gallery.take([frame.line])
            findings.take(frame.camera, frame.judged, frame.line)
            if frame.reviewed:
                audits.take(frame.reviewed, frame.pairs)
    if read != frames:
        raise CountMismatch(f"the parts of {run.drive} {run.run} have {read:,} of {counted(frames, 'frame')}")
    _join_files(run, results, label_bucket)
    status = write_evidence(run, audits, redrawn, label_bucket, now)
    corrections = RunCorrections(run.drive, run.run, findings.corrections())
    write_corrections(label_bucket, read_recipe(run, label_bucket).base, corrections)
    summary = _published(assembled, run, label_bucket, counts, verification, findings, status)
    summary = msgspec.structs.replace(summary, vigilance=seeds.vigilance(findings.corrected))
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
        verified=sum(tally.verified for _, tally in verification) + counts.kept,
        accepted=counts.accepted,
        scripted=counts.labelled_by.get(LabelledBy.SCRIPT.value, 0),
        kept=counts.kept,
        rejected=summary.reasons.get("rejected", {}),
        tracks=sum(camera.tracks or 0 for camera in summary.tracks.values()),
    )
    ledger.finish_run(run, "published", now)
    if status.fallen:
        announcements.tell_ops(
            f"Acceptance is off after {run.drive} {run.run}",
            "Reviewers get frames with these classes again until audits prove them: " + "; ".join(status.fallen),
        )
    announcements.publish("DriveLabelled", msgspec.to_builtins(publication))
    return publication


def _tally(job: FinishedJob, results: Sequence[PartResult]) -> JobTally:
    """Add up the counts of a job's frames over its parts."""
    total = JobTally()
    for result in results:
        if result.part.job == job:
            total.add(result.tally)
    return total


def _join_files(run: Run, results: Sequence[PartResult], label_bucket: Bucket) -> None:
    """Write the dataset and the review log, joined from those of the parts."""
    folder = run.folder
    for key, name, sizes in (
        (folder.dataset, "dataset.jsonl", [result.dataset_bytes for result in results]),
        (folder.reviewed, "reviewed.jsonl", [result.review_bytes for result in results]),
    ):
        sources = [(folder.part(result.part.id, name), size) for result, size in zip(results, sizes, strict=True)]
        label_bucket.concatenate(key, sources, "application/jsonl")


def _read_summary(run: Run, label_bucket: Bucket) -> Summary:
    body = label_bucket.read(run.folder.summary)
    if body is None:
        raise RunMissing(f"run {run.drive} {run.run} was never assembled: no {run.folder.summary}")
    return msgspec.json.decode(body, type=Summary)


def _published(
    assembled: Summary,
    run: Run,
    label_bucket: Bucket,
    counts: DatasetCounts,
    verification: Sequence[tuple[FinishedJob, JobTally]],
    findings: Findings,
    status: AcceptanceStatus,
) -> Summary:
    """Complete the summary of assembly with the results of verification. A repeated call adds no note twice."""
    document = run.document
    new = (*(note for job, tally in verification for note in job_notes(job, tally)), *status.fallen)
    task = document.verification.task
    reviewers = ReviewerTally()
    for _, tally in verification:
        reviewers.add(tally.reviewers)
    return msgspec.structs.replace(
        assembled,
        boxes=sum(counts.classes.values()),
        classes=_most_common(counts.classes),
        notes=(*(note for note in assembled.notes if note not in new), *new),
        verification=tuple(job_outcome(job, tally) for job, tally in verification),
        labelled_by=_most_common(counts.labelled_by),
        unverified=_most_common(counts.unverified),
        acceptance=status.sentences,
        dataset=label_bucket.uri(run.folder.dataset),
        task=task,
        # In the task `segments`, reviewers do not see the boxes.
        agreement=findings.agreement() if task != SEGMENTS else None,
        reviewers=reviewers.agreement(),
        cuboids=_cuboid_counts(counts) if document.cuboids else None,
        sensors=Sensors(document.cameras, document.lidars) if document.cuboids else None,
    )


def _cuboid_counts(counts: DatasetCounts) -> CuboidCounts:
    return CuboidCounts(
        counts.cuboids,
        _most_common(counts.without_cuboid),
        _most_common(counts.cuboid_origins),
        counts.added_cuboids,
        _most_common(counts.unverified_cuboids),
        counts.cuboid_frames,
    )


def _most_common(counts: dict[str, int]) -> dict[str, int]:
    return dict(Counter(counts).most_common())
