"""Assembly: the shards of a run become the manifests of its verification, its first summary and its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.frames import DRIVE_DOCUMENT, drive_prefix
from autolabel.contracts.job_manifest import JobManifest
from autolabel.contracts.ports import Bucket, Ledger
from autolabel.contracts.verification import ACCEPTED, EVERYTHING, SEGMENTS, VerifyDoubtful
from autolabel.drives.late_frames import record_lateness
from autolabel.drives.listing import freeze_listing, read_listing
from autolabel.labelling.shards import FrameIssue, Shard, ShardResult, Tally, check_result, read_shards
from autolabel.labels.taxonomy import current_taxonomy
from autolabel.reporting.report import Gallery, write_report
from autolabel.reporting.summary import FrameCounts, Summary
from autolabel.streams.ordered_map import in_step
from autolabel.triage.queueing import Part, Triage
from autolabel.triage.terms import fix_terms, read_terms
from autolabel.verification.jobs import (
    GROUND_TRUTH,
    LABELS,
    MAX_SEGMENTED,
    BackEnds,
    VerificationJob,
    job_name,
    label_categories,
    split_into_jobs,
    worker_template,
)

# Small objects are read this many at a time: a million frames make some thousand shards.
READERS = 16


class Assembly(msgspec.Struct, frozen=True):
    """What Verify is given, and what someone who watches the execution sees."""

    drive: str
    run: str
    frames: FrameCounts
    boxes: int
    jobs: tuple[VerificationJob, ...]
    summary: str
    report: str


class _Issue(msgspec.Struct):
    outcome: str
    frame: FrameIssue


class _Part(msgspec.Struct, frozen=True):
    """What is kept of each shard until the end: its lines' place in the drive, and what its issues are."""

    queued: Part
    outcomes: frozenset[str]


class _Manifests(NamedTuple):
    """The jobs with what they were made of. `kinds`: frames by why people are given them; `standing`: of classes."""

    tally: Tally
    jobs: tuple[VerificationJob, ...]
    parts: list[_Part]
    kinds: Counter[str]
    standing: tuple[str, ...]


def assemble_run(
    run: Run, *, ingest: Bucket, labels: Bucket, ledger: Ledger, back_ends: BackEnds, max_objects: int
) -> Assembly:
    """Assemble a run; ShardMissing or CountMismatch when a planned shard or a frame is missing, VerificationRefused
    when nobody can be asked to verify it.

    `max_objects`: frames in one labelling job. All names are derived, and the first call fixes the terms, so a repeated
    call writes the same again.
    """
    tally, jobs, parts, kinds, standing = _assemble_manifests(run, labels, back_ends, max_objects)
    listing = freeze_listing(ingest, labels, run.folder, frozenset(run.document.cameras))
    for reason, count in listing.refused.items():
        tally.count_issues("rejected", reason, count)
    frames = FrameCounts(listing.objects, tally.labelled, tally.failed, tally.rejected)
    frames.check(f"{run.drive} {run.run}")
    _write_issues(run, labels, parts)
    summary = Summary(
        drive=run.drive,
        run=run.run,
        frames=frames,
        boxes=tally.boxes,
        classes=_most_first(tally.classes),
        reasons={outcome: _most_first(reasons) for outcome, reasons in tally.reasons.items()},
        dropped=_most_first(tally.dropped),
        models=run.models,
        by_model=tally.models,
        triage=_most_first(kinds),
        acceptance=standing,
        taxonomy=run.taxonomy,
        labels=run.labels,
        notes=(
            *run.document.notes,
            *listing.notes(run.document),
            *_lateness(run, ingest, labels, ledger),
            # Refused frames are in the listing with their reasons; what is left is the document.
            *(
                f"{refusal.reason}: {refusal.detail}"
                for refusal in ledger.refusals(run.drive)
                if refusal.key == drive_prefix(run.drive) + DRIVE_DOCUMENT
            ),
        ),
    )
    gallery = Gallery(frames.labelled + frames.failed)
    for part in parts:
        # A million lines are gigabytes: only shards with a picture in them are read.
        if not gallery.skip(part.queued.lines):
            gallery.take(labels.lines(run.folder.shard(part.queued.shard, "manifest.jsonl")))
    report = write_report(summary, gallery, ingest=ingest, labels=labels)
    key = run.folder.summary
    labels.write(key, msgspec.json.encode(summary))
    return Assembly(run.drive, run.run, frames, tally.boxes, jobs, labels.uri(key), report)


def _assemble_manifests(run: Run, labels: Bucket, back_ends: BackEnds, max_objects: int) -> _Manifests:
    policy = run.document.verification
    task = policy.task
    # No other back-end corrects segments, whatever the stack's own is.
    back_end = back_ends.choose(GROUND_TRUTH if task == SEGMENTS else policy.back_end)
    if task == SEGMENTS:
        max_objects = min(max_objects, MAX_SEGMENTED)
    categories, template = run.folder.label_categories, run.folder.worker_page
    labels.write(categories, label_categories(run.labels))
    labels.write(template, worker_template(current_taxonomy().colors, run.labels, task), "text/html")
    tally, parts = Tally(), list[_Part]()
    results = _results(run, labels, tally, parts)
    terms, triage = read_terms(run, labels, max_objects), None
    if isinstance(policy, VerifyDoubtful):
        # Triage needs to know all frames before it draws among them.
        for _ in results:
            pass
        triage = Triage(run, policy, terms.proven, [part.queued for part in parts], labels)
        triage.write_kinds()
        manifests = triage.write_queues(terms.max_objects)
    else:
        manifests = _whole(split_into_jobs(run.folder, results, terms.max_objects), labels)
    jobs = tuple(
        VerificationJob(
            name=job_name(labels.name, run.drive, run.run, index),
            back_end=back_end,
            workteam=back_ends.workteam,
            manifest=labels.uri(manifest.key),
            frames=manifest.frames,
            first=manifest.first,
            last=manifest.last,
            categories=labels.uri(categories),
            template=labels.uri(template),
            task=task,
            attribute=LABELS[task],
        )
        for index, manifest in enumerate(manifests)
    )
    lines = tally.labelled + tally.failed
    kinds = triage.counts if triage else Counter({EVERYTHING: lines})
    if kinds.total() != lines or sum(job.frames for job in jobs) != lines - kinds[ACCEPTED]:
        raise CountMismatch(f"the manifests of {run.drive} {run.run} do not hold all its frames")
    fix_terms(run, labels, terms)
    return _Manifests(tally, jobs, parts, kinds, terms.standing)


def _whole(manifests: Iterable[JobManifest], labels: Bucket) -> Iterator[JobManifest]:
    """Put manifests together from whole shards, inside the bucket."""
    for manifest in manifests:
        labels.concatenate(manifest.key, manifest.parts, "application/jsonl")
        yield manifest


def _results(run: Run, labels: Bucket, tally: Tally, parts: list[_Part]) -> Iterator[tuple[Shard, ShardResult]]:
    """Every planned shard with its result, whose counts are added to the tally; `parts` gets what is needed later."""

    def read(shard: Shard) -> tuple[Shard, ShardResult]:
        return shard, check_result(shard, labels.read(run.folder.shard(shard.index, "result.json")))

    before: Counter[str] = Counter()
    for shard, result in in_step(read, read_shards(labels, run.folder), READERS):
        counts = result.tally
        tally.add(counts)
        lines = counts.labelled + counts.failed
        parts.append(_Part(Part(shard.index, shard.camera, lines, before[shard.camera]), frozenset(counts.reasons)))
        before[shard.camera] += lines
        yield shard, result


def _lateness(run: Run, ingest: Bucket, labels: Bucket, ledger: Ledger) -> Iterator[str]:
    """What came to the drive since the run began, if anything did."""
    # A sweep that told operators of it took the mark away and left the file.
    told = labels.exists(run.folder.late_objects)
    if told or any(drive == run.drive for drive, _ in ledger.late_drives()):
        lateness = record_lateness(ingest, labels, run.folder)
        if lateness.any:
            yield f"since the run began: {lateness}; relabel the drive to take them in (late.jsonl)"


def _write_issues(run: Run, labels: Bucket, parts: Sequence[_Part]) -> None:
    """Gather rejected and failed frames, with their reasons, into one file each."""
    refused = (
        FrameIssue(line.key, line.refused, line.detail) for line in read_listing(labels, run.folder) if line.refused
    )
    labels.write_stream(
        run.folder.rejected,
        _encoded([refused, _issues(run, labels, parts, "rejected")]),
        "application/jsonl",
    )
    labels.write_stream(run.folder.failed, _encoded([_issues(run, labels, parts, "failed")]), "application/jsonl")


def _issues(run: Run, labels: Bucket, parts: Sequence[_Part], outcome: str) -> Iterator[FrameIssue]:
    def read(part: _Part) -> list[bytes]:
        return list(labels.lines(run.folder.shard(part.queued.shard, "issues.jsonl")))

    decoder = msgspec.json.Decoder(_Issue)
    for lines in in_step(read, (part for part in parts if outcome in part.outcomes), READERS):
        for line in lines:
            issue = decoder.decode(line)
            if issue.outcome == outcome:
                yield issue.frame


def _encoded(sources: Sequence[Iterable[FrameIssue]]) -> Iterator[bytes]:
    for source in sources:
        for issue in source:
            yield msgspec.json.encode(issue) + b"\n"


def _most_first(counts: dict[str, int]) -> dict[str, int]:
    return dict(Counter(counts).most_common())
