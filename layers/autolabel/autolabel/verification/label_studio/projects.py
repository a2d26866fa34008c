"""A verification job as a project of Label Studio: opens it, reads its progress and its results.

Every function can be called again after it was interrupted at any point: it checks what exists before it makes
anything.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import UNSET

from autolabel.contracts.errors import VerificationRefused, VerificationUnavailable
from autolabel.contracts.wording import counted
from autolabel.labels.manifest import REVIEW as MADE
from autolabel.labels.manifest import VERIFIED, ManifestLine, metadata_of, read_line
from autolabel.verification.consolidation import ANSWERS, ASKED
from autolabel.verification.jobs import ReviewersOf, one_reviewer
from autolabel.verification.label_studio.client import (
    FULL_PAGE,
    INCOMPLETE,
    OPEN,
    ConnectedStorage,
    Filter,
    Named,
    RegisteredWebhook,
    equal,
)
from autolabel.verification.label_studio.config import IMAGE, INSTRUCTIONS, label_config
from autolabel.verification.label_studio.notifications import HEADER, notified_address, signature
from autolabel.verification.label_studio.results import (
    DELETED,
    Annotation,
    Task,
    answered_line,
    failed_line,
    is_skipped,
    written,
)
from autolabel.verification.label_studio.tasks import JOB, REVIEW, task_of

# Tasks of one import: a few megabytes, since a pre-label has at most 20,000 characters.
BATCH = 100
# Concurrent calls agree on one project after one or two attempts.
_ATTEMPTS = 4
# PROJECT_TITLE_MAX_LEN of Label Studio.
MAX_TITLE = 50


class LabelStudio(Protocol):
    """The calls of Label Studio that this module needs; `autolabel.verification.label_studio.client` describes them."""

    def find_projects(self, title: str) -> list[Named]: ...
    def create_project(self, fields: Mapping[str, Any]) -> int: ...
    def delete_project(self, project: int) -> None: ...
    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> None: ...
    def tasks(self, project: int, filters: Sequence[Filter] = ()) -> Iterator[Task]: ...
    def count_tasks(self, project: int, filters: Sequence[Filter] = ()) -> int: ...
    def annotated_tasks(self, project: int, ids: Sequence[int]) -> list[Task]: ...
    def change_data(self, task: int, data: Mapping[str, Any]) -> None: ...
    def delete_task(self, task: int) -> None: ...
    def webhooks(self, project: int) -> list[RegisteredWebhook]: ...
    def register_webhook(
        self, project: int, url: str, headers: Mapping[str, str], known: int | None = None
    ) -> None: ...
    def storages(self, project: int) -> list[ConnectedStorage]: ...
    def connect_storage(self, project: int, bucket: str) -> None: ...


class Images(Protocol):
    """Gives the addresses at which Label Studio's page finds frames."""

    connected: bool  # whether Label Studio resolves S3 URIs itself, and needs their bucket connected

    def address(self, uri: str) -> str:
        """Return the address that a task contains for the object at an S3 URI."""


class StorageImages:
    """Leaves S3 URIs as they are: Label Studio resolves them at each view, through the storage of its project."""

    connected = True

    def address(self, uri: str) -> str:
        return uri


class Webhook(NamedTuple):
    """The address that Label Studio notifies of progress, and the secret that signs its notifications."""

    url: str
    secret: str


class Job(msgspec.Struct, frozen=True):
    """A verification job; `labels` in the order of class ids; `reviewers`: how many annotate each frame."""

    name: str
    labels: tuple[str, ...]
    reviewers: int = 1

    @property
    def title(self) -> str:
        """The title of the job's project: the job's name, or, if that is too long, its beginning and a hash of it."""
        if len(self.name) <= MAX_TITLE:
            return self.name
        return f"{self.name[: MAX_TITLE - 9]}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"


class JobProject(msgspec.Struct, frozen=True):
    """Refers to a job's project in later calls. `frames`: the number of the job's lines, known once it is opened."""

    job: Job
    project: int
    frames: int = 0


class ProjectCounts(NamedTuple):
    done: int
    total: int


def open_project(
    job: Job,
    lines: Callable[[], Iterable[bytes]],
    client: LabelStudio,
    images: Images,
    webhook: Webhook | None,
    *,
    colors: Mapping[str, str],
    workspace: int | None = None,
) -> JobProject:
    """Make or complete the project of a job: one task for each manifest line, in the order of the manifest.

    `lines`: opens the manifest. `colors`: of the labels, as `#rrggbb`. Raises VerificationUnavailable when Label Studio
    did not take every task.
    """
    for _ in range(_ATTEMPTS):
        project = _choose_project(job, client, colors, workspace)
        try:
            if webhook:
                _register(webhook, job, project, client)
            frames = _import(job, project, lines(), client, images)
        except VerificationRefused as e:
            # Another call deleted it as the younger of two projects.
            if e.reason != "gone" or project in _titled(job, client):
                raise
            continue
        # Another call may have made an older project that was not visible at first.
        if _leave_oldest(job, project, client) == project:
            return JobProject(job, project, frames)
    raise VerificationUnavailable(f"concurrent calls have not agreed on one project {job.title} yet: call again")


def progress(reference: JobProject, client: LabelStudio) -> ProjectCounts:
    """Count the job's tasks that are answered or skipped by all reviewers, and all tasks; a person may delete some."""
    total = client.count_tasks(reference.project, (equal(f"data.{JOB}", reference.job.name),))
    return ProjectCounts(total - client.count_tasks(reference.project, _unfinished(reference.job)), total)


def annotated(reference: JobProject, client: LabelStudio) -> bool:
    """Whether every task has an answer or was skipped."""
    done, total = progress(reference, client)
    return done == total


def close_project(job: Job, client: LabelStudio) -> JobProject | None:
    """Delete the open tasks of a job's project, so that reviewers get them no more; None if there is no project."""
    found = _titled(job, client)
    if not found:
        return None
    project = found[0]
    open_tasks = [task.id for task in client.tasks(project, (equal(f"data.{JOB}", job.name), *OPEN))]
    _delete_unanswered(project, open_tasks, client)
    return JobProject(job, project)


def renew_images(reference: JobProject, client: LabelStudio, images: Images, limit: int) -> int:
    """Give the next `limit` open tasks, in the order in which reviewers get them, new addresses. Returns the number."""
    renewed = 0
    for task in itertools.islice(client.tasks(reference.project, _unfinished(reference.job)), limit):
        client.change_data(task.id, task.data | {IMAGE: images.address(task.data[REVIEW])})
        renewed += 1
    return renewed


def _unfinished(job: Job) -> tuple[Filter, ...]:
    """Return what chooses the job's tasks that reviewers still get."""
    return (equal(f"data.{JOB}", job.name), *(OPEN if job.reviewers == 1 else INCOMPLETE))


class Results:
    """Iterates over the reviewers' labels: one augmented manifest line for each line of the manifest, in its order.

    Keeps the ids of the project's tasks and one page of annotations in memory. The counts are complete once all lines
    were read: `skipped` and `deleted` frames, and `strays`, tasks of frames that the job was not given.
    `only_answered`: leave out frames that no reviewer answered or skipped. `reviewers`: how many a frame gets. The
    line of a frame that gets several has what each of them answered in the place of a label.
    """

    def __init__(
        self,
        reference: JobProject,
        lines: Iterable[bytes],
        client: LabelStudio,
        now: datetime,
        *,
        only_answered: bool = False,
        reviewers: ReviewersOf = one_reviewer,
    ) -> None:
        self._reference = reference
        self._lines = lines
        self._client = client
        self._now = now
        self._only_answered = only_answered
        self._reviewers = reviewers
        self.skipped = self.deleted = self.strays = 0

    def __iter__(self) -> Iterator[bytes]:
        tasks = _tasks_by_frame(self._reference.project, self._client)
        for batch in _batches(self._lines, FULL_PAGE):
            lines = [read_line(body) for body in batch]
            wanted = [i for line in lines for i in tasks.get(line.source_ref, ())]
            found = {
                task.id: task
                for start in range(0, len(wanted), FULL_PAGE)
                for task in self._client.annotated_tasks(self._reference.project, wanted[start : start + FULL_PAGE])
            }
            for line in lines:
                ids = tasks.pop(line.source_ref, ())
                answered = [found[i] for i in ids if i in found]
                if self._only_answered and not any(task.annotations for task in answered):
                    continue
                annotations = [one for task in answered for one in task.annotations if not one.was_cancelled]
                if (asked := self._reviewers(line.source_ref)) > 1 and annotations:
                    yield self._answers(line, annotations, asked)
                else:
                    yield msgspec.json.encode(self._answer(line, answered)) + b"\n"
        self.strays = sum(map(len, tasks.values()))

    def _answer(self, line: ManifestLine, tasks: Collection[Task]) -> ManifestLine:
        job = self._reference.job
        if not tasks:
            self.deleted += 1
            return failed_line(line, DELETED, job=job.name, created=written(self._now))
        annotations = [one for task in tasks for one in task.annotations]
        answer = answered_line(line, annotations, job=job.name, labels=job.labels, now=self._now)
        self.skipped += is_skipped(annotations)
        return answer

    def _answers(self, line: ManifestLine, annotations: Sequence[Annotation], asked: int) -> bytes:
        """Make the line of a frame that several reviewers were asked for. Skips are not among the `annotations`."""
        job = self._reference.job
        given = [
            answered_line(copy(line), [one], job=job.name, labels=job.labels, now=self._now) for one in annotations
        ]
        fields = (
            {VERIFIED: one.verified, metadata_of(VERIFIED): one.verified_metadata, MADE: one.review} for one in given
        )
        answers = [{name: value for name, value in one.items() if value is not UNSET} for one in fields]
        return msgspec.json.encode({"source-ref": line.source_ref, ASKED: asked, ANSWERS: answers}) + b"\n"


def _choose_project(job: Job, client: LabelStudio, colors: Mapping[str, str], workspace: int | None) -> int:
    """Return the oldest project with the job's title, and make one if there is none."""
    if found := _titled(job, client):
        return found[0]
    fields: dict[str, Any] = {
        "title": job.title,
        "description": "Verification of pre-labels, by autolabel",
        "label_config": label_config(job.labels, colors),
        "expert_instruction": INSTRUCTIONS,
        "show_instruction": True,
        # A skipped frame is not shown again in this project; it comes back as a recorded failure.
        "skip_queue": "IGNORE_SKIPPED",
        "sampling": "Sequential sampling",
        "maximum_annotations": job.reviewers,
        "show_collab_predictions": True,
        "is_published": True,
    }
    made = client.create_project(fields if workspace is None else fields | {"workspace": workspace})
    return _leave_oldest(job, made, client)


def _titled(job: Job, client: LabelStudio) -> list[int]:
    """Return the projects with the job's title, the oldest first."""
    return [one.id for one in client.find_projects(job.title)]


def _leave_oldest(job: Job, project: int, client: LabelStudio) -> int:
    """Return the oldest project with the job's title. Deletes younger ones without tasks, and `project` itself if it is
    younger and no reviewer worked in it.

    Titles are not unique in Label Studio: two concurrent calls can both find no project and both make one. On SQLite,
    Label Studio carries out one call twice when its database is locked.
    """
    found = _titled(job, client)
    for younger in found[1:]:
        with _unless_gone():
            tasks = client.count_tasks(younger)
            if not tasks or (younger == project and client.count_tasks(younger, OPEN) == tasks):
                client.delete_project(younger)
    return found[0] if found else project


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Ignore that a project is gone: another call has deleted it meanwhile."""
    try:
        yield
    except VerificationRefused as e:
        if e.reason != "gone":
            raise


def _register(webhook: Webhook, job: Job, project: int, client: LabelStudio) -> None:
    url = notified_address(webhook.url, job.name)
    headers = {HEADER: signature(webhook.secret, job.name)}
    known = [one for one in client.webhooks(project) if one.url == url]
    if not known:
        client.register_webhook(project, url, headers)
    elif not any(one.headers == headers and one.is_active for one in known):
        client.register_webhook(project, url, headers, known[0].id)


def _import(job: Job, project: int, lines: Iterable[bytes], client: LabelStudio, images: Images) -> int:
    """Import the lines that have no task yet, and return the number of all lines."""
    there = _tasks_by_frame(project, client)
    buckets: set[str] = set()
    if images.connected:
        buckets |= {one.bucket for one in client.storages(project) if one.bucket}
    frames = 0
    imported: set[str] = set()
    for batch in _batches(lines, BATCH):
        frames += len(batch)
        new = [line for line in map(read_line, batch) if line.source_ref not in there]
        if images.connected:
            for bucket in sorted({_bucket(line.shown_ref) for line in new} - buckets):
                client.connect_storage(project, bucket)
                buckets.add(bucket)
        if new:
            client.import_tasks(project, [task_of(line, job.name, images.address(line.shown_ref)) for line in new])
            imported |= {line.source_ref for line in new}
    if imported:
        there = _tasks_by_frame(project, client)
        if missing := imported - there.keys():
            raise VerificationUnavailable(
                f"Label Studio lacks {len(missing):,} of {counted(len(imported), 'task')} of {job.name}, "
                f"for example {min(missing)}"
            )
    _delete_doubles(project, there, client)
    return frames


def _delete_doubles(project: int, there: Mapping[str, Sequence[int]], client: LabelStudio) -> None:
    """Delete duplicate tasks of a frame, from concurrent imports: keep the first and those with an annotation."""
    _delete_unanswered(project, [i for ids in there.values() for i in ids[1:]], client)


def _delete_unanswered(project: int, tasks: Sequence[int], client: LabelStudio) -> None:
    """Delete the tasks that have no annotation; they are read right before, since a reviewer may have answered one."""
    for start in range(0, len(tasks), FULL_PAGE):
        for task in client.annotated_tasks(project, tasks[start : start + FULL_PAGE]):
            if not task.annotations:
                client.delete_task(task.id)


def _tasks_by_frame(project: int, client: LabelStudio) -> dict[str, tuple[int, ...]]:
    """Return the ids of a project's tasks by frame. Tasks that are not autolabel's are under the empty name."""
    found: dict[str, tuple[int, ...]] = {}
    for task in client.tasks(project):
        found[task.source] = (*found.get(task.source, ()), task.id)
    return found


def _bucket(uri: str) -> str:
    return uri.removeprefix("s3://").partition("/")[0]


def _batches(lines: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    source = iter(lines)
    while batch := list(itertools.islice(source, size)):
        yield batch
