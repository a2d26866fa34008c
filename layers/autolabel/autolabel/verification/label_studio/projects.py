"""A verification job as a project of Label Studio: opening it, how far people are, and what they left.

Everything may be called again after it was broken off anywhere: what is there is looked up before anything is made.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from autolabel.contracts.errors import VerificationRefused, VerificationUnavailable
from autolabel.labels.manifest import ManifestLine, read_line
from autolabel.verification.label_studio.client import (
    FULL_PAGE,
    OPEN,
    ConnectedStorage,
    Filter,
    Named,
    RegisteredWebhook,
    equal,
)
from autolabel.verification.label_studio.config import IMAGE, INSTRUCTIONS, label_config
from autolabel.verification.label_studio.notifications import HEADER, notified_address, signature
from autolabel.verification.label_studio.results import DELETED, Task, answered_line, failed_line, is_skipped, written
from autolabel.verification.label_studio.tasks import JOB, REVIEW, review_image, task_of

# Tasks of one import: with 20,000 characters of pre-label each a few megabytes.
BATCH = 100
# Calls at once settle on one project in a turn or two.
_TURNS = 4
# PROJECT_TITLE_MAX_LEN of Label Studio.
MAX_TITLE = 50


class LabelStudio(Protocol):
    """What is asked of Label Studio; `autolabel.verification.label_studio.client` describes it."""

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
    """How the page finds frames."""

    connected: bool  # whether Label Studio resolves S3 URIs itself, and needs their bucket connected

    def address(self, uri: str) -> str:
        """The address that a task holds for the object at an S3 URI."""


class StorageImages:
    """S3 URIs as they are: Label Studio resolves them at each look, by the storage that its project is connected to."""

    connected = True

    def address(self, uri: str) -> str:
        return uri


class Webhook(NamedTuple):
    """Where Label Studio tells of progress, and the secret that signs it."""

    url: str
    secret: str


class Job(msgspec.Struct, frozen=True):
    """A verification job; `labels` in the order of class ids."""

    name: str
    labels: tuple[str, ...]

    @property
    def title(self) -> str:
        """The name of its project: the job's, or where that is too long its begin and a hash of all of it."""
        if len(self.name) <= MAX_TITLE:
            return self.name
        return f"{self.name[: MAX_TITLE - 9]}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"


class JobProject(msgspec.Struct, frozen=True):
    """A job's project: what the other calls go by. `frames`: how many lines the job was given, once it was opened."""

    job: Job
    project: int
    frames: int = 0


class Progress(NamedTuple):
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
    """The project of a job, made or completed: one task for each manifest line, in their order.

    `lines`: opens the manifest. `colors`: of the labels, as `#rrggbb`. VerificationUnavailable when Label Studio did
    not take every task.
    """
    for _ in range(_TURNS):
        project = _choose_project(job, client, colors, workspace)
        try:
            if webhook:
                _register(webhook, job, project, client)
            frames = _import(job, project, lines(), client, images)
        except VerificationRefused as e:
            # Another call cleared it away as the younger of two.
            if e.reason != "gone" or project in _titled(job, client):
                raise
            continue
        # Another call may have made an older project that could not be seen at first.
        if _leave_oldest(job, project, client) == project:
            return JobProject(job, project, frames)
    raise VerificationUnavailable(f"calls that open project {job.title} at once have not settled on one yet")


def progress(reference: JobProject, client: LabelStudio) -> Progress:
    """How many of the job's tasks are answered or skipped, and how many there are; people may have deleted some."""
    ours = (equal(f"data.{JOB}", reference.job.name),)
    total = client.count_tasks(reference.project, ours)
    return Progress(total - client.count_tasks(reference.project, (*ours, *OPEN)), total)


def annotated(reference: JobProject, client: LabelStudio) -> bool:
    """Whether every task has an answer or was skipped."""
    done, total = progress(reference, client)
    return done == total


def renew_images(reference: JobProject, client: LabelStudio, images: Images, limit: int) -> int:
    """Give the next `limit` open tasks, in the order in which people get them, new addresses; how many there were."""
    ours = (equal(f"data.{JOB}", reference.job.name), *OPEN)
    renewed = 0
    for task in itertools.islice(client.tasks(reference.project, ours), limit):
        client.change_data(task.id, task.data | {IMAGE: images.address(task.data[REVIEW])})
        renewed += 1
    return renewed


class Results:
    """What people left, as augmented manifest lines in the order of the manifest, one for each line.

    Holds the ids of the project's tasks and a page of their annotations. The counts are complete once all lines were
    read: `skipped` and `deleted` frames, and `strays`, tasks of frames that the job was not given.
    """

    def __init__(self, reference: JobProject, lines: Iterable[bytes], client: LabelStudio, now: datetime) -> None:
        self._reference = reference
        self._lines = lines
        self._client = client
        self._now = now
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
                yield msgspec.json.encode(self._answer(line, [found[i] for i in ids if i in found])) + b"\n"
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


def _choose_project(job: Job, client: LabelStudio, colors: Mapping[str, str], workspace: int | None) -> int:
    """The oldest project of the job's title, made if there is none."""
    if found := _titled(job, client):
        return found[0]
    fields: dict[str, Any] = {
        "title": job.title,
        "description": "Verification of pre-labels, by autolabel",
        "label_config": label_config(job.labels, colors),
        "expert_instruction": INSTRUCTIONS,
        "show_instruction": True,
        # A frame that somebody skipped is not asked again; it comes back as a recorded failure.
        "skip_queue": "IGNORE_SKIPPED",
        "sampling": "Sequential sampling",
        "maximum_annotations": 1,
        "show_collab_predictions": True,
        "is_published": True,
    }
    made = client.create_project(fields if workspace is None else fields | {"workspace": workspace})
    return _leave_oldest(job, made, client)


def _titled(job: Job, client: LabelStudio) -> list[int]:
    """The projects of the job's title, the oldest first."""
    return [one.id for one in client.find_projects(job.title)]


def _leave_oldest(job: Job, project: int, client: LabelStudio) -> int:
    """The oldest project of the job's title; younger ones without tasks go, and `project` unless people worked in it.

    Titles are not unique there: two calls at once both find no project, and both make one. Label Studio on SQLite
    carries out one call twice when its data base is locked.
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
    """What another call has cleared away meanwhile needs no clearing."""
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
    """Import what is not there yet; the number of lines."""
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
            for bucket in sorted({_bucket(review_image(line)) for line in new} - buckets):
                client.connect_storage(project, bucket)
                buckets.add(bucket)
        if new:
            client.import_tasks(project, [task_of(line, job.name, images.address(review_image(line))) for line in new])
            imported |= {line.source_ref for line in new}
    if imported:
        there = _tasks_by_frame(project, client)
        if missing := imported - there.keys():
            raise VerificationUnavailable(
                f"Label Studio lacks {len(missing)} of {len(imported)} tasks of {job.name}, {min(missing)} for one"
            )
    _delete_doubles(project, there, client)
    return frames


def _delete_doubles(project: int, there: Mapping[str, Sequence[int]], client: LabelStudio) -> None:
    """Of the tasks of one frame, which two calls at once imported, leave the first and what people worked on."""
    doubles = [i for ids in there.values() for i in ids[1:]]
    for start in range(0, len(doubles), FULL_PAGE):
        for task in client.annotated_tasks(project, doubles[start : start + FULL_PAGE]):
            if not task.annotations:
                client.delete_task(task.id)


def _tasks_by_frame(project: int, client: LabelStudio) -> dict[str, tuple[int, ...]]:
    """The ids of a project's tasks by their frame; those of no frame under the empty name."""
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
