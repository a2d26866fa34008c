"""Makes the verification jobs of a run's cuboids, once its labels are settled and lifted, and reads their results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import CountMismatch, VerificationRefused
from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import CUBOIDS
from autolabel.contracts.wording import counted
from autolabel.datasets.cuboid_files import CUBOIDS as CUBOIDS_FILE
from autolabel.datasets.cuboid_files import read_cuboids
from autolabel.datasets.parts import Part
from autolabel.verification.cuboid_labels import SceneLine, as_line, cuboid_categories, sent_cuboids
from autolabel.verification.jobs import ATTRIBUTES, GROUND_TRUTH, VerificationJob, job_name
from autolabel.verification.settlement import Result, read_results
from autolabel.verification.takeover import check_not_taken_over

# Frames in a job. Settling reads all its cuboids, some kilobytes of each frame. A part has no more.
MAX_SCENES = 25_000
# Jobs of a run: their names and results pass through its execution, beside those of the labels.
MAX_CUBOID_JOBS = 50


class CuboidJob(msgspec.Struct, frozen=True):
    """A line of cuboid-jobs.jsonl: a job, made if it has `frames`, and the ids of the parts whose frames it has."""

    index: int
    frames: int
    parts: tuple[str, ...]


class CuboidJobs(msgspec.Struct, frozen=True):
    """The output of planning the jobs in which reviewers correct cuboids: the input of Verify."""

    drive: str
    run: str
    jobs: tuple[VerificationJob, ...]


def plan_cuboid_jobs(run: Run, label_bucket: Bucket, workteam: str) -> CuboidJobs:
    """Write the manifests of the jobs in which reviewers correct a run's cuboids. A repeated call writes the same.

    Frames without a cuboid are in none. `workteam`: the ARN of Ground Truth's work team. Raises VerificationRefused for
    a run that needs more than MAX_CUBOID_JOBS, or whose work a later run took over.
    """
    check_not_taken_over(label_bucket, run.folder)
    parts = list(map(msgspec.json.Decoder(Part).decode, label_bucket.lines(run.folder.part_list)))
    frames = {part.id: sum(1 for _ in _scenes(run, part, label_bucket)) for part in parts}
    groups = list(_group(parts, frames))
    jobs = [group for group in groups if group.frames]
    if len(jobs) > MAX_CUBOID_JOBS:
        raise VerificationRefused(
            "too-many-jobs",
            f"{run.drive} {run.run} has cuboids in {counted(sum(frames.values()), 'frame')}, and reviewers get at most "
            f"{MAX_CUBOID_JOBS * MAX_SCENES:,}: upload the drive in parts, or set `cuboids` to true and relabel it",
        )
    label_bucket.write(run.folder.cuboid_categories, cuboid_categories(run.labels))
    by_id = {part.id: part for part in parts}
    for job in jobs:
        lines = (line for id in job.parts for line in _scenes(run, by_id[id], label_bucket))
        encoded = (msgspec.json.encode(line) + b"\n" for line in lines)
        label_bucket.write_stream(run.folder.cuboid_manifest(job.index), encoded, "application/jsonl")
    index = b"".join(msgspec.json.encode(job) + b"\n" for job in groups)
    label_bucket.write(run.folder.cuboid_jobs, index, "application/jsonl")
    return CuboidJobs(
        run.drive,
        run.run,
        tuple(
            VerificationJob(
                name=job_name(label_bucket.name, run.drive, run.run, job.index, CUBOIDS),
                back_end=GROUND_TRUTH,
                manifest=label_bucket.uri(run.folder.cuboid_manifest(job.index)),
                frames=job.frames,
                first=job.index,
                last=job.index,
                categories=label_bucket.uri(run.folder.cuboid_categories),
                template="",
                workteam=workteam,
                task=CUBOIDS,
                attribute=ATTRIBUTES[CUBOIDS],
            )
            for job in jobs
        ),
    )


def read_verified(run: Run, part: Part, label_bucket: Bucket) -> Mapping[str, Result]:
    """Read what reviewers left of the cuboids of a part's frames, by the S3 URI of the points.

    Empty if the part's frames are in no job, or no jobs were made. Raises CountMismatch if the job is not settled, the
    jobs were made for other parts, or what reviewers got is gone.
    """
    index = label_bucket.read(run.folder.cuboid_jobs)
    if index is None and not label_bucket.exists(run.folder.cuboid_categories):
        # The execution began with a definition that did not know these jobs.
        return {}
    if index is None:
        raise _gone(run, run.folder.cuboid_jobs)
    jobs = map(msgspec.json.Decoder(CuboidJob).decode, index.splitlines())
    job = next((one for one in jobs if part.id in one.parts), None)
    if job is None:
        raise CountMismatch(
            f"reviewers got the cuboids of {run.drive} {run.run} in other parts than {part.id}: give the stack's "
            "parameter PartFrames its earlier value and redrive"
        )
    if not job.frames:
        return {}
    if not label_bucket.exists(file := run.folder.part(part.id, CUBOIDS_FILE)):
        raise _gone(run, file)
    stem = run.folder.cuboid_manifest(job.index).removesuffix(".manifest")
    if not label_bucket.exists(f"{stem}.results.jsonl"):
        raise CountMismatch(f"the cuboids of part {part.id} of {run.drive} {run.run} are not settled: {stem}")
    wanted = {scene.cloud for scene in _scenes(run, part, label_bucket)}
    found = dict[str, Result]()
    for name in (f"{stem}.results.jsonl", f"{stem}-again.results.jsonl"):
        # The second round is final.
        if label_bucket.exists(name):
            results = read_results(label_bucket, label_bucket.uri(name))
            found |= {result.source_ref: result for result in results if result.source_ref in wanted}
    return found


def _scenes(run: Run, part: Part, label_bucket: Bucket) -> Iterator[SceneLine]:
    """Yield the lines of the frames of a part whose cuboids reviewers get, in the drive's order."""
    made = {
        "creation-date": datetime.fromtimestamp(run.since, UTC).replace(tzinfo=None).isoformat(),
        "job-name": f"{run.drive}-{run.run}",
    }
    for frame in read_cuboids(run, part, label_bucket):
        if frame and frame.review:
            sent = sent_cuboids(frame.review.classes, frame.cuboids, run.labels)
            if sent:
                yield as_line(frame.review.cloud, frame.review.metadata, sent, run.labels, made)


def _gone(run: Run, key: str) -> CountMismatch:
    return CountMismatch(
        f"reviewers got cuboids of {run.drive} {run.run}, but {key}, which says of which boxes they are, is gone: "
        "restore it and redrive, or relabel the drive"
    )


def _group(parts: Sequence[Part], frames: Mapping[str, int]) -> Iterator[CuboidJob]:
    """Group whole parts into jobs of at most MAX_SCENES frames."""
    ids, held, index = list[str](), 0, 0
    for part in parts:
        if ids and held + frames[part.id] > MAX_SCENES:
            yield CuboidJob(index, held, tuple(ids))
            ids, held, index = [], 0, index + 1
        ids.append(part.id)
        held += frames[part.id]
    if ids:
        yield CuboidJob(index, held, tuple(ids))
