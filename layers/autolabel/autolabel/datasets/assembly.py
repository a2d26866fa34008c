"""Assembles a run: turns its shards into the manifests of its verification jobs, its first summary and its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import UNREADABLE, FramesUnreadable
from autolabel.contracts.frames import DRIVE_DOCUMENT, drive_prefix
from autolabel.contracts.ports import Announcements, Bucket, DriveLedger
from autolabel.contracts.verification import SEGMENTS, TRACKS
from autolabel.contracts.wording import counted
from autolabel.datasets.earlier_runs import read_collected
from autolabel.datasets.selection import choose_back_end, prepare_jobs, select_frames
from autolabel.drives.late_frames import record_lateness
from autolabel.drives.listing import ListingSummary, freeze_listing, read_listing
from autolabel.labelling.shards import READERS, FrameIssue, LabelledShard, Tally
from autolabel.reporting.prices import read_prices
from autolabel.reporting.report import Gallery, write_report
from autolabel.reporting.summary import MANY_REJECTED, FrameCounts, Summary
from autolabel.sequences.linked_shards import read_labelled, read_links
from autolabel.sequences.tracks import LEAST_RATE
from autolabel.streams.ordered_map import map_in_order
from autolabel.triage.acceptance import fix_criteria, read_criteria
from autolabel.verification.jobs import GROUND_TRUTH, MAX_SEGMENTED, BackEnds, VerificationJob, check_job_count
from autolabel.verification.takeover import check_not_taken_over


class Assembly(msgspec.Struct, frozen=True):
    """The output of the state Assemble: the input of Verify, and counts for the operator who watches the execution.

    `rejected`: the rejected objects by reason. `dollars`: the price of the run's answers, and of the frames that Ground
    Truth gets for other tasks than `tracks`.
    """

    drive: str
    run: str
    frames: FrameCounts
    boxes: int
    jobs: tuple[VerificationJob, ...]
    summary: str
    report: str
    rejected: dict[str, int] = {}
    dollars: float = 0.0


class _Issue(msgspec.Struct):
    outcome: str
    frame: FrameIssue


def assemble_run(
    run: Run,
    *,
    ingest: Bucket,
    label_bucket: Bucket,
    ledger: DriveLedger,
    announcements: Announcements,
    back_ends: BackEnds,
    max_objects: int,
    strip_frames: int,
) -> Assembly:
    """Assemble a run, and tell operators if many of its objects are rejected.

    `max_objects`: the most frames in one verification job; `strip_frames`: in one strip of a job of tracks. All names
    are derived, and the first call that returns fixes the acceptance criteria, these two among them, so a repeated call
    writes the same again. Raises ShardMissing or CountMismatch when a planned shard or a frame is missing,
    VerificationRefused when no back-end of the stack can verify the run, it needs too many jobs, or a later run took
    over its reviewers' work; FramesUnreadable when S3 did not give out most of its frames.
    """
    check_not_taken_over(label_bucket, run.folder)
    back_end = choose_back_end(run, back_ends)
    shards, tally = read_labelled(run, label_bucket)
    _check_readable(run, label_bucket, shards, tally)
    # Jobs were made with criteria that are fixed.
    is_new = not label_bucket.exists(run.folder.acceptance_criteria)
    criteria = read_criteria(
        run,
        label_bucket,
        _largest_job(run, max_objects),
        strip_frames if run.document.verification.task == TRACKS else 0,
    )
    selected = select_frames(run, shards, criteria, label_bucket)
    jobs = prepare_jobs(
        run,
        selected.manifests,
        label_bucket,
        back_end=back_end,
        workteam=back_ends.workteam,
        strip_frames=criteria.strip_frames,
    )
    if is_new:
        check_job_count(len(jobs), criteria.max_objects, criteria.strip_frames)
    listing = freeze_listing(ingest, label_bucket, run.folder, frozenset(run.document.cameras))
    frames = _count_frames(run, listing, tally)
    _write_issues(run, label_bucket, shards)
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
        triage=_most_first(selected.kinds),
        earlier=selected.earlier,
        acceptance=criteria.status,
        certificates=criteria.certificates,
        taxonomy=run.taxonomy,
        labels=run.labels,
        notes=tuple(_notes(run, listing, ingest, label_bucket, ledger)),
        tracks=links.cameras if (links := read_links(run, label_bucket)) else {},
    )
    report = write_report(
        summary, _choose_pictures(run, label_bucket, shards), ingest=ingest, label_bucket=label_bucket
    )
    fix_criteria(run, label_bucket, selected.criteria)
    rejected = summary.reasons.get("rejected", {})
    # The summary is written last, and tells a repeated call that operators know.
    if frames.rejected > MANY_REJECTED * frames.uploaded and not label_bucket.exists(run.folder.summary):
        _tell_rejections(run, frames, rejected, label_bucket.uri(run.folder.rejected), announcements)
    label_bucket.write(run.folder.summary, msgspec.json.encode(summary))
    summary_uri = label_bucket.uri(run.folder.summary)
    reviewed = sum(job.frames for job in jobs if job.back_end == GROUND_TRUTH and job.task != TRACKS)
    dollars = read_prices().run_dollars(len(run.asked) * (frames.labelled + frames.failed), reviewed)
    return Assembly(run.drive, run.run, frames, tally.boxes, jobs, summary_uri, report, rejected, round(dollars, 6))


def _tell_rejections(
    run: Run, frames: FrameCounts, rejected: Mapping[str, int], named_in: str, announcements: Announcements
) -> None:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in rejected.items())
    announcements.tell_ops(
        f"Many frames of {run.drive} {run.run} are rejected",
        f"{frames.rejected:,} of {counted(frames.uploaded, 'object')} of drive {run.drive}, run {run.run}, are "
        f"rejected ({reasons}), and are not in its dataset. {named_in} names each with its reason. Upload them again "
        f"without the fault, then: autolabel relabel {run.drive}",
    )


def _check_readable(run: Run, label_bucket: Bucket, shards: Sequence[LabelledShard], tally: Tally) -> None:
    """Raise FramesUnreadable for a run most of whose frames S3 did not give out: a permission, a key or an archive."""
    unreadable = {why: n for why, n in tally.reasons.get("rejected", {}).items() if why.startswith(UNREADABLE)}
    if 2 * sum(unreadable.values()) <= tally.frames:
        return
    worst = max(unreadable, key=lambda why: unreadable[why])
    first = next(issue for issue in _issues(run, label_bucket, shards, "rejected") if issue.reason == worst)
    codes = ", ".join(f"{count:,} {why.removeprefix(UNREADABLE)}" for why, count in _most_first(unreadable).items())
    raise FramesUnreadable(
        f"S3 does not give out {sum(unreadable.values()):,} of {tally.frames:,} frames ({codes}), for example: "
        f"{first.detail}; make them readable, then redrive"
    )


def _largest_job(run: Run, max_objects: int) -> int:
    return min(max_objects, MAX_SEGMENTED) if run.document.verification.task == SEGMENTS else max_objects


def _count_frames(run: Run, listing: ListingSummary, tally: Tally) -> FrameCounts:
    """Count where every frame of the listing ended; objects that the listing refused count as rejected."""
    for reason, count in listing.refused.items():
        tally.count_issues("rejected", reason, count)
    frames = FrameCounts(listing.objects, tally.labelled, tally.failed, tally.rejected)
    frames.check(f"{run.drive} {run.run}")
    return frames


def _notes(
    run: Run, listing: ListingSummary, ingest: Bucket, label_bucket: Bucket, ledger: DriveLedger
) -> Iterator[str]:
    """Yield notes for operators: on the drive document, the listing, late frames and refusals."""
    yield from run.document.notes
    yield from listing.notes(run.document)
    links = read_links(run, label_bucket)
    for camera, found in links.cameras.items() if links else ():
        if found.tracks is None and found.rate is not None:
            yield f"camera {camera} has {found.rate:g} frames a second, and tracks need {LEAST_RATE:g}"
    collected = read_collected(label_bucket, run)
    for job, count in (collected.missing if collected else {}).items():
        labels = f"{counted(count, 'label')} that Ground Truth counted in job {job}"
        yield f"{labels} did not come; reviewers get their frames again"
    # A sweep that reported late objects has removed the drive's mark and left this file.
    reported = label_bucket.exists(run.folder.late_objects)
    if reported or any(drive == run.drive for drive, _ in ledger.late_drives()):
        lateness = record_lateness(ingest, label_bucket, run.folder)
        if lateness.any:
            yield f"since the run began: {lateness}; relabel the drive to take them in (late.jsonl)"
    for refusal in ledger.refusals(run.drive):
        # The listing has the refused frames with their reasons, but not the drive document's refusal.
        if refusal.key == drive_prefix(run.drive) + DRIVE_DOCUMENT:
            yield f"{refusal.reason}: {refusal.detail}"


def _choose_pictures(run: Run, label_bucket: Bucket, shards: Sequence[LabelledShard]) -> Gallery:
    """Choose the report's frames. Reads only shards with a chosen frame, because a million lines are gigabytes."""
    gallery = Gallery(sum(shard.lines for shard in shards))
    for shard in shards:
        if not gallery.skip(shard.lines):
            gallery.take(label_bucket.lines(run.folder.shard(shard.index, shard.part("manifest"))))
    return gallery


def _write_issues(run: Run, label_bucket: Bucket, shards: Sequence[LabelledShard]) -> None:
    """Write the rejected and the failed frames, with their reasons, into one file each."""
    listed = read_listing(label_bucket, run.folder)
    refused = (FrameIssue(line.key, line.refused, line.detail) for line in listed if line.refused)
    rejected = _encoded(refused, _issues(run, label_bucket, shards, "rejected"))
    label_bucket.write_stream(run.folder.rejected, rejected, "application/jsonl")
    failed = _encoded(_issues(run, label_bucket, shards, "failed"))
    label_bucket.write_stream(run.folder.failed, failed, "application/jsonl")


def _issues(run: Run, label_bucket: Bucket, shards: Sequence[LabelledShard], outcome: str) -> Iterator[FrameIssue]:
    def read(shard: LabelledShard) -> list[bytes]:
        return list(label_bucket.lines(run.folder.shard(shard.index, "issues.jsonl")))

    decoder = msgspec.json.Decoder(_Issue)
    for lines in map_in_order(read, (shard for shard in shards if outcome in shard.outcomes), READERS):
        for line in lines:
            issue = decoder.decode(line)
            if issue.outcome == outcome:
                yield issue.frame


def _encoded(*sources: Iterable[FrameIssue]) -> Iterator[bytes]:
    for source in sources:
        for issue in source:
            yield msgspec.json.encode(issue) + b"\n"


def _most_first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(Counter(counts).most_common())
