"""Takes over the reviewers' work of an earlier run: its jobs end, and what they have answered is taken in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple, Protocol

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import VerificationRefused
from autolabel.contracts.ports import Bucket, LabelingJobs
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import BOXES, CUBOIDS, JobTask, reviewers_of
from autolabel.verification.attempts import JobAttempt, attempt_results, take_answers
from autolabel.verification.ground_truth import read_answers
from autolabel.verification.jobs import GROUND_TRUTH, LABEL_STUDIO, LAST_ROUND, ReviewersOf, job_name, one_reviewer
from autolabel.verification.sequences import frames_manifest

_ROUND = re.compile(r"verify-([0-9]{3,})(-again)?\.manifest")
_CUBOID_ROUND = re.compile(r"cuboids-([0-9]{2,})(-again)?\.manifest")
_OPEN = ("Initializing", "InProgress")
_ENDING = "Stopping"


class Projects(Protocol):
    """The projects of jobs in Label Studio."""

    def answers(
        self, job: str, labels: tuple[str, ...], lines: Callable[[], Iterable[bytes]], reviewers: ReviewersOf
    ) -> Iterable[bytes] | None:
        """Delete the open tasks of a job's project and then read its answers; None if there is no project.

        `labels`: of the job; `lines`: opens its manifest; `reviewers`: how many reviewers a frame gets.
        """


class RoundFiles(NamedTuple):
    """A round of an earlier run's job: the job's index, the round's number, and the key of its manifest."""

    job: int
    round: int
    manifest: str

    @property
    def results(self) -> str:
        """The key of the round's results, which exist once it is settled."""
        return f"{self.manifest.removesuffix('.manifest')}.results.jsonl"

    def job_stem(self, bucket: str, folder: RunFolder, task: JobTask = BOXES) -> str:
        """Return the names of the round's jobs, without the attempt. `bucket`: the name of the label bucket."""
        return job_name(bucket, folder.drive, folder.run, self.job, task) + ("-again" if self.round > 1 else "")


class Ending(NamedTuple):
    """How far the take-over is. `waiting`: jobs whose end or answers it waits for; `missing`: labels by job that the
    back-end counted and that did not come; `ended`: whether all jobs have ended."""

    waiting: tuple[str, ...]
    missing: dict[str, int]
    ended: bool = True


class _TakenOver(msgspec.Struct, frozen=True):
    by: str


def mark_taken_over(label_bucket: Bucket, earlier: RunFolder, by: str) -> None:
    """Record that a later run takes over the work of an earlier one, which then cannot go on."""
    label_bucket.write_once(earlier.taken_over, msgspec.json.encode(_TakenOver(by)))


def taken_over_by(label_bucket: Bucket, folder: RunFolder) -> str:
    """Return the later run that took over the work of a run; empty if none did."""
    body = label_bucket.read(folder.taken_over)
    return msgspec.json.decode(body, type=_TakenOver).by if body else ""


def check_not_taken_over(label_bucket: Bucket, folder: RunFolder) -> None:
    """Raise VerificationRefused for a run whose work a later run took over: reviewers would get frames twice."""
    if by := taken_over_by(label_bucket, folder):
        raise VerificationRefused(
            "taken-over",
            f"run {by} took over the reviewers' work of {folder.drive} {folder.run}: follow run {by} instead",
        )


def rounds_of(label_bucket: Bucket, folder: RunFolder, task: JobTask = BOXES) -> list[RoundFiles]:
    """Find the rounds of a run's jobs, in the order of the jobs: those of its labels, or of its cuboids."""
    found, pattern = [], _CUBOID_ROUND if task == CUBOIDS else _ROUND
    for thing in label_bucket.list(folder.manifests):
        match = pattern.fullmatch(thing.key.removeprefix(folder.manifests))
        if match:
            found.append(RoundFiles(int(match[1]), LAST_ROUND if match[2] else 1, thing.key))
    return sorted(found)


def attempts_of(label_bucket: Bucket, one: RoundFiles) -> Iterator[str]:
    """Yield the keys of the results of a round's attempts, in their order."""
    attempt = 1
    while label_bucket.exists(key := attempt_results(one.manifest, attempt)):
        yield key
        attempt += 1


def end_jobs(
    earlier: Run, *, label_bucket: Bucket, jobs: LabelingJobs, projects: Projects | None, waited: float
) -> Ending:
    """End the open jobs of an earlier run and take in their answers. Call again after a minute while some are waiting.

    `waited`: seconds since all jobs have ended.
    """
    waiting, missing, ended = list[str](), dict[str, int](), True
    for one in rounds_of(label_bucket, earlier.folder):
        if label_bucket.exists(one.results):
            continue
        taken = _end_round(earlier, one, label_bucket, jobs, projects, waited)
        waiting += taken.waiting
        missing |= taken.missing
        ended = ended and taken.ended
    still = list(_end_cuboid_jobs(earlier, label_bucket, jobs))
    return Ending((*waiting, *still), missing, ended and not still)


def _end_cuboid_jobs(earlier: Run, label_bucket: Bucket, jobs: LabelingJobs) -> Iterator[str]:
    """Stop the open jobs of an earlier run's cuboids; yield those that have not ended. Their answers are not kept."""
    for one in rounds_of(label_bucket, earlier.folder, CUBOIDS):
        if label_bucket.exists(one.results):
            continue
        stem = one.job_stem(label_bucket.name, earlier.folder, CUBOIDS)
        attempt = 1
        while state := jobs.describe(job := f"{stem}-{attempt}"):
            if state.status in _OPEN:
                jobs.stop(job)
            if state.status in (*_OPEN, _ENDING):
                yield job
            attempt += 1


def _end_round(
    earlier: Run,
    one: RoundFiles,
    label_bucket: Bucket,
    jobs: LabelingJobs,
    projects: Projects | None,
    waited: float,
) -> Ending:
    names, manifest = frozenset(earlier.labels), label_bucket.uri(one.manifest)
    task = earlier.document.verification.task
    reviewers = partial(reviewers_of, earlier.document.verification) if one.round == 1 else one_reviewer
    name = one.job_stem(label_bucket.name, earlier.folder)
    waiting, missing, ended = list[str](), dict[str, int](), True
    attempt = 1
    while state := jobs.describe(job := f"{name}-{attempt}"):
        if state.status in _OPEN:
            jobs.stop(job)
        if state.status in (*_OPEN, _ENDING):
            waiting.append(job)
            ended = False
            break
        asked = JobAttempt(
            job=job,
            back_end=GROUND_TRUTH,
            round=one.round,
            manifest=manifest,
            given=frames_manifest(state.manifest),
            attempt=attempt,
            labelled=state.labelled,
            waited=waited,
            output=state.output,
            task=task,
        )
        left_out = take_answers(
            asked,
            lambda round_, lines: read_answers(round_, lines, label_bucket, earlier.labels, reviewers),
            label_bucket=label_bucket,
            names=names,
        )
        if left_out is None:
            waiting.append(job)
            break
        if left_out:
            missing[job] = left_out
        attempt += 1
    elsewhere = earlier.document.verification.back_end != GROUND_TRUTH and task == BOXES
    if (
        attempt == 1
        and not waiting
        and projects
        and elsewhere
        and not label_bucket.exists(attempt_results(one.manifest, 1))
    ):
        answers = projects.answers(name, earlier.labels, lambda: label_bucket.lines(one.manifest), reviewers)
        if answers is not None:
            asked = JobAttempt(name, LABEL_STUDIO, one.round, manifest, manifest, 1, task=task)
            take_answers(asked, lambda _, __: answers, label_bucket=label_bucket, names=names)
    return Ending(tuple(waiting), missing, ended)
