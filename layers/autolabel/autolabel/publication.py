"""Publication: what people left is joined with the drive, and becomes the dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from autolabel.drives import Run
from autolabel.errors import CountMismatch, RunMissing
from autolabel.manifest import (
    MAX_LINE,
    PRELABEL,
    PROVENANCE,
    VERIFIED,
    BoxLabel,
    BoxMetadata,
    LabelledBox,
    metadata_of,
    read_boxes,
)
from autolabel.nesting import is_deep
from autolabel.ports import Announcements, Bucket, Ledger
from autolabel.report import Gallery, write_report
from autolabel.summary import JobOutcome, Summary, dataset_key, summary_key

# The line of a manifest comes back with a label of its own.
_MAX_OUTPUT_LINE = 4 * MAX_LINE


class FinishedJob(msgspec.Struct, frozen=True):
    """A verification job that ended. `manifest`: what it was given, `output`: what it left, both S3 URIs."""

    job: str
    status: str
    frames: int
    manifest: str
    output: str


class Publication(msgspec.Struct, frozen=True):
    """The end of a run, as its execution's output."""

    drive: str
    run: str
    dataset: str
    report: str
    summary: str
    frames: dict[str, int]
    boxes: int
    verified: int


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

    Every line of the verification manifests becomes one line of the dataset: with the person's label where the job
    left one, else with the pre-label and the reason in its provenance. A line that the job made up, or a second one of
    a frame, is left out and noted.
    """
    key = summary_key(run.drive, run.run)
    body = labels.read(key)
    if body is None:
        raise RunMissing(f"run {run.drive} {run.run} was never assembled: no {key}")
    assembled = msgspec.json.decode(body, type=Summary)
    join = _Join(labels, assembled.frames.labelled + assembled.frames.failed)
    labels.write_stream(dataset_key(run.drive, run.run), join.lines(jobs), "application/jsonl")
    if join.written != assembled.frames.labelled + assembled.frames.failed:
        raise CountMismatch(
            f"the dataset of {run.drive} {run.run} has {join.written} of "
            f"{assembled.frames.labelled + assembled.frames.failed} frames"
        )
    notes = [note for note in assembled.notes if note not in join.notes]
    summary = msgspec.structs.replace(
        assembled,
        boxes=join.classes.total(),
        classes=dict(join.classes.most_common()),
        notes=(*notes, *join.notes),
        verification=tuple(join.outcomes),
        dataset=labels.uri(dataset_key(run.drive, run.run)),
    )
    report = write_report(summary, join.gallery, ingest=ingest, labels=labels)
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
    )
    ledger.finish_run(run, "published", now)
    announcements.publish("DriveLabelled", msgspec.to_builtins(publication))
    return publication


class _Join:
    """Joins the manifests of verification with what the jobs left, in the order of the drive."""

    def __init__(self, labels: Bucket, frames: int) -> None:
        self._labels = labels
        self.gallery = Gallery(frames)
        self.classes: Counter[str] = Counter()
        self.outcomes: list[JobOutcome] = []
        self.notes: list[str] = []
        self.written = 0

    def lines(self, jobs: Sequence[FinishedJob]) -> Iterator[bytes]:
        for job in jobs:
            yield from self._job(job)

    def _job(self, job: FinishedJob) -> Iterator[bytes]:
        prefix = self._labels.uri("")
        output = self._read_output(job, prefix)
        verified = unadjusted = failed = frames = 0
        for body in self._labels.lines(job.manifest.removeprefix(prefix)):
            frames += 1
            line: dict[str, Any] = msgspec.json.decode(body)
            label = output.pop(line["source-ref"], None)
            boxes = None
            if label is not None:
                boxes = self._take(line, label, job)
            if boxes is None:
                failed += 1
                why = "not in the job's output" if label is None else "the job could not label it"
                line[PROVENANCE] |= {"verification": why}
                boxes = [b.name for b in read_boxes(line, PRELABEL)]
            else:
                verified += 1
                unadjusted += line[metadata_of(VERIFIED)].get("adjustment-status") == "unadjusted"
            self.classes.update(boxes)
            encoded = msgspec.json.encode(line) + b"\n"
            self.gallery.take([encoded])
            self.written += 1
            yield encoded
        if output:
            self.notes.append(f"job {job.job} left {len(output)} lines of frames that it was not given")
        if failed:
            self.notes.append(f"job {job.job} left {failed} of {frames} frames without a verified label")
        self.outcomes.append(JobOutcome(job.job, job.status, frames, verified, unadjusted, failed))

    def _read_output(self, job: FinishedJob, prefix: str) -> dict[str, bytes]:
        """The output's lines by frame: at most 100,000 lines, a job's limit."""
        found: dict[str, bytes] = {}
        doubled = broken = 0
        for body in self._labels.lines(job.output.removeprefix(prefix)):
            if len(body) > _MAX_OUTPUT_LINE:
                broken += 1
                continue
            try:
                source = msgspec.json.decode(body, type=_Source).source_ref
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                broken += 1
                continue
            doubled += source in found
            found.setdefault(source, body)
        if doubled:
            self.notes.append(f"job {job.job} left {doubled} lines of frames that it had labelled already")
        if broken:
            self.notes.append(f"job {job.job} left {broken} lines that are no manifest lines")
        return found

    def _take(self, line: dict[str, Any], body: bytes, job: FinishedJob) -> list[str] | None:
        """Move a verified label into the dataset's line; the names of its boxes, or None when there is no label."""
        metadata_name = metadata_of(VERIFIED)
        try:
            output: dict[str, Any] = msgspec.json.decode(body)
            metadata = msgspec.convert(output.get(metadata_name, {}), BoxMetadata)
            if metadata.failure_reason is not None or VERIFIED not in output:
                return None
            boxes = read_boxes(output, VERIFIED)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
            return None
        size = msgspec.convert(line[PRELABEL], BoxLabel).image_size[0]
        if not all(_is_inside(box, size.width, size.height) for box in boxes) or is_deep(output):
            return None
        line[VERIFIED], line[metadata_name] = output[VERIFIED], output[metadata_name]
        who = "person" if line[PROVENANCE]["labelled-by"] == "nobody" else "model and person"
        line[PROVENANCE] |= {"labelled-by": who, "job": job.job}
        return [box.name for box in boxes]


def _is_inside(box: LabelledBox, width: int, height: int) -> bool:
    """Whether a box lies in the frame, give or take the pixel that a browser's rounding may add."""
    across, down = (box.left, box.left + box.width), (box.top, box.top + box.height)
    return -1 <= across[0] <= across[1] <= width + 1 and -1 <= down[0] <= down[1] <= height + 1


class _Source(msgspec.Struct, rename={"source_ref": "source-ref"}):
    source_ref: str
