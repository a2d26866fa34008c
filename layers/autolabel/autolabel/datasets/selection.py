"""Selects the frames of a run that reviewers get, and writes the manifests of its verification jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.job_manifest import JobManifest
from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import (
    BOXES,
    EVERYTHING,
    KEPT,
    TRACKS,
    UNASKED,
    UNREVIEWED,
    AuditedPolicy,
    Policy,
    VerifyAll,
    VerifyKeyFrames,
    VerifyNone,
    reviewers_of,
)
from autolabel.labelling.earlier_labels import EarlierCounts, earlier_frames
from autolabel.labelling.shards import LabelledShard
from autolabel.labels.manifest import ManifestLine, read_line
from autolabel.labels.taxonomy import current_taxonomy
from autolabel.triage.acceptance import AcceptanceCriteria
from autolabel.triage.job_manifests import write_manifests
from autolabel.triage.key_frames import KeyFrameTriage
from autolabel.triage.queueing import Triage, UncertaintyTriage
from autolabel.triage.sowing import Seeds, fix_seeds, sow_lines
from autolabel.triage.strips import StripTriage
from autolabel.verification.jobs import (
    ATTRIBUTES,
    GROUND_TRUTH,
    MAX_SEQUENCES,
    WITHOUT_PAGE,
    BackEnds,
    VerificationJob,
    job_name,
    label_categories,
    split_into_jobs,
    worker_template,
)
from autolabel.verification.sequences import cut_strips


class Selection(NamedTuple):
    """The manifests of a run's jobs, and the number of its frames by kind (why reviewers get them, or do not).

    `earlier`: what becomes of the labels of earlier runs. `criteria`: the acceptance criteria, which name the
    seeds.
    """

    manifests: tuple[JobManifest, ...]
    kinds: Counter[str]
    earlier: EarlierCounts
    criteria: AcceptanceCriteria


def choose_back_end(run: Run, back_ends: BackEnds) -> str:
    """Choose the back-end of the run. Raises VerificationRefused, with what to change, if it cannot be used."""
    policy = run.document.verification
    # Only Ground Truth corrects segments, tracks and cuboids, also in a stack whose default back-end is another.
    anywhere = policy.task == BOXES and not run.document.verifies_cuboids
    return back_ends.choose(policy.back_end if anywhere else GROUND_TRUTH)


def select_frames(
    run: Run, shards: Sequence[LabelledShard], criteria: AcceptanceCriteria, label_bucket: Bucket
) -> Selection:
    """Write the manifests of the jobs by the drive's policy. Raises CountMismatch when a frame is lost or doubled."""
    policy = run.document.verification
    lines = sum(shard.lines for shard in shards)
    most = _largest_group(policy, criteria.max_objects, max((shard.lines for shard in shards), default=0))
    if not isinstance(policy, VerifyAll):
        triage = _triage(run, policy, shards, criteria, label_bucket)
        triage.write_kinds()
        criteria, seeds = fix_seeds(run, shards, criteria, label_bucket, tuple)
        manifests = tuple(triage.write_queues(most, seeds, MAX_SEQUENCES))
        kinds, earlier = triage.counts, triage.earlier
    elif isinstance(policy, VerifyNone):
        kinds, earlier = _write_kinds(run, shards, label_bucket)
        manifests = ()
    else:
        kinds, earlier = _write_kinds(run, shards, label_bucket)
        groups = list(split_into_jobs(run.folder, shards, most, criteria.strip_frames))

        def strips() -> Iterator[list[ManifestLine]]:
            for group in groups:
                yield from cut_strips(map(read_line, _lines(group, label_bucket)), criteria.strip_frames)

        criteria, seeds = fix_seeds(run, shards, criteria, label_bucket, strips)
        manifests = tuple(
            manifest
            for group in groups
            for manifest in _write_manifests(run, group, seeds, criteria.strip_frames, label_bucket)
        )
    given = sum(manifest.frames for manifest in manifests)
    if kinds.total() != lines or given != lines - sum(kinds[kind] for kind in UNASKED):
        raise CountMismatch(f"the manifests of {run.drive} {run.run} do not hold all its frames")
    return Selection(manifests, kinds, earlier, criteria)


def _triage(
    run: Run,
    policy: AuditedPolicy,
    shards: Sequence[LabelledShard],
    criteria: AcceptanceCriteria,
    label_bucket: Bucket,
) -> Triage:
    if isinstance(policy, VerifyKeyFrames):
        return KeyFrameTriage(run, policy, criteria.limits, shards, label_bucket)
    if policy.task == TRACKS:
        return StripTriage(run, policy, criteria.proven, criteria.strip_frames, shards, label_bucket)
    return UncertaintyTriage(run, policy, criteria.proven, shards, label_bucket)


def _largest_group(policy: Policy, max_objects: int, largest_shard: int) -> int:
    """Return the most frames of a group whose job has about as many answers as one with a single reviewer has at most.

    Settling reads every answer, and a function has 15 minutes. A shard is never divided.
    """
    answers = max(1.0, policy.reviewers * policy.reviewers_share)
    return max(int(max_objects / answers), min(largest_shard, max_objects))


def _write_manifests(
    run: Run, group: JobManifest, seeds: Seeds, strip_frames: int, label_bucket: Bucket
) -> Iterator[JobManifest]:
    """Write the manifests of a group of whole shards. A strip stays whole: it is cut from one manifest as from all."""
    policy = run.document.verification
    is_shared = policy.reviewers > 1 and policy.reviewers_share < 1
    if seeds or is_shared:

        def lines() -> Iterator[bytes]:
            return sow_lines(_lines(group, label_bucket), seeds)

        reviewers = None
        if policy.task == TRACKS and is_shared:
            strips = cut_strips(map(read_line, _lines(group, label_bucket)), strip_frames)
            asked = {line.source_ref: reviewers_of(policy, strip[0].source_ref) for strip in strips for line in strip}
            reviewers = asked.__getitem__
        yield from write_manifests(run, group.index, lines, group.first, group.last, label_bucket, reviewers)
    else:
        # Joins whole shards inside the bucket, without reading them.
        label_bucket.concatenate(group.key, group.parts, "application/jsonl")
        yield msgspec.structs.replace(group, reviewers=policy.reviewers)


def _lines(group: JobManifest, label_bucket: Bucket) -> Iterator[bytes]:
    return chain.from_iterable(label_bucket.lines(key) for key, _ in group.parts)


def _write_kinds(run: Run, shards: Sequence[LabelledShard], label_bucket: Bucket) -> tuple[Counter[str], EarlierCounts]:
    """Write the kind of every frame under the policies `all` and `none`.

    Under `all` nothing is written unless a frame has a label from an earlier run.
    """
    unreviewed = isinstance(run.document.verification, VerifyNone)
    kinds, earlier = Counter[str](), EarlierCounts()

    def lines() -> Iterator[bytes]:
        for shard in shards:
            for frame in earlier_frames(run, shard, label_bucket):
                kind = frame.kind or EVERYTHING
                if unreviewed:
                    kind = KEPT if frame.label else UNREVIEWED
                kinds[kind] += 1
                earlier.take(kind, frame)
                yield msgspec.json.encode(kind) + b"\n"

    if unreviewed or any(shard.asked for shard in shards):
        label_bucket.write_stream(run.folder.triage, lines(), "application/jsonl")
        return kinds, earlier
    return Counter({EVERYTHING: sum(shard.lines for shard in shards)}), earlier


def prepare_jobs(
    run: Run,
    manifests: Iterable[JobManifest],
    label_bucket: Bucket,
    *,
    back_end: str,
    workteam: str,
    strip_frames: int,
) -> tuple[VerificationJob, ...]:
    """Write the label categories and the worker page, which all jobs of a run share, and name the jobs."""
    task = run.document.verification.task
    colors = current_taxonomy().colors
    label_bucket.write(run.folder.label_categories, label_categories(run.labels, task, colors))
    if task not in WITHOUT_PAGE:
        page = worker_template(colors, run.labels, task)
        label_bucket.write(run.folder.worker_page, page, "text/html")
    return tuple(
        VerificationJob(
            name=job_name(label_bucket.name, run.drive, run.run, manifest.index),
            back_end=back_end,
            workteam=workteam,
            manifest=label_bucket.uri(manifest.key),
            frames=manifest.frames,
            first=manifest.first,
            last=manifest.last,
            categories=label_bucket.uri(run.folder.label_categories),
            template="" if task in WITHOUT_PAGE else label_bucket.uri(run.folder.worker_page),
            task=task,
            attribute=ATTRIBUTES[task],
            strip_frames=strip_frames,
            reviewers=manifest.reviewers,
            views=run.views is not None,
        )
        for manifest in manifests
    )
