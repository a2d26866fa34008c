"""verify: opens, awaits, looks at and settles rounds of verification; the state machine starts Ground Truth's jobs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import msgspec

from autolabel.aws import (
    Adapters,
    PresignedImages,
    Secrets,
    answer,
    client,
    logger,
    metrics,
    name_drive,
    read_settings,
    signing_client,
    tracer,
)
from autolabel.contracts.drive import Run
from autolabel.contracts.errors import VerificationRefused
from autolabel.contracts.ports import WaitingJob
from autolabel.contracts.verification import is_redrawn, reviewers_of
from autolabel.datasets import take_over_earlier_runs
from autolabel.labels import current_taxonomy
from autolabel.verification import (
    LABEL_STUDIO,
    RIGHT_HANDED,
    Connection,
    CuboidYaw,
    Images,
    Job,
    JobAttempt,
    JobProject,
    JobRound,
    LabelStudioClient,
    Results,
    ReviewersOf,
    StorageImages,
    Webhook,
    annotated,
    await_reviewers,
    check_not_taken_over,
    close_project,
    one_reviewer,
    open_project,
    progress,
    read_answers,
    read_connection,
    read_output,
    renew_images,
    settle_round,
    take_attempt,
    write_sequences,
    write_shown,
)

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from autolabel.aws import Answer, Event

# The number of open frames whose addresses one look signs again; reviewers take the frames in the same order.
RENEWED = 500


class Settings(msgspec.Struct, frozen=True):
    """`label_studio_connection`: the secret's ARN; `webhook_url`: where Label Studio reports progress. Both may be
    empty. `cuboid_yaw`: how Ground Truth writes the yaw of a cuboid."""

    label_bucket: str
    ledger_table: str
    state_machine_arn: str
    label_studio_connection: str = ""
    webhook_url: str = ""
    cuboid_yaw: CuboidYaw = RIGHT_HANDED


class Cutting(msgspec.Struct, frozen=True):
    """A job of Ground Truth that gets another manifest than that of its frames: strips, or lines of views.

    `manifest`: the S3 URI of its frames; `strip_frames`: 0 for a job without strips.
    """

    manifest: str
    strip_frames: int


class Opening(msgspec.Struct, frozen=True):
    """A job to open in Label Studio; `manifest`: an S3 URI; `reviewers`: how many annotate each frame."""

    job: str
    manifest: str
    reviewers: int = 1


class Project(msgspec.Struct, frozen=True):
    """A job's project."""

    job: str
    project: str


class Wait(msgspec.Struct, frozen=True):
    """The execution's wait for a job's project."""

    job: str
    project: str
    token: str
    order: str


class TakingOver(msgspec.Struct, frozen=True):
    """Asks to take over the work of earlier runs. `waited`: seconds since the first such request."""

    waited: float


class Request(msgspec.Struct, frozen=True):
    """Asks for one action.

    `take_over` the reviewers' work of earlier runs; `cut` the frames of a job of tracks into sequences, or write the
    lines of its views; `open` a project, `wait` for it, `look` at it; `take` in the answers of a job that was stopped
    or failed; `settle` a round that has ended.
    """

    drive: str
    run: str
    open: Opening | None = None
    wait: Wait | None = None
    look: Project | None = None
    settle: JobRound | None = None
    take: JobAttempt | None = None
    take_over: TakingOver | None = None
    cut: Cutting | None = None


class Opened(msgspec.Struct, frozen=True):
    """The project of a job, and its number of frames."""

    project: str
    frames: int


class Woken(msgspec.Struct, frozen=True):
    """`woken`: whether the wait has ended already, because all frames are annotated."""

    woken: bool


class Looked(msgspec.Struct, frozen=True):
    """The frames of a project: annotated, and all."""

    done: int
    total: int


settings = read_settings(Settings, os.environ)
adapters = Adapters(settings)


@cache
def secrets() -> Secrets:
    return Secrets(client("secretsmanager"))


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: Event, context: LambdaContext) -> Answer:
    request = msgspec.convert(event, Request)
    name_drive(request.drive)
    asked = next((field for field in ACTIONS if getattr(request, field)), None)
    if asked is None:
        raise ValueError(f"the request has no action: give one of {', '.join(ACTIONS)}")
    verification = Verification(adapters.ledger.run(request.drive, request.run))
    verification.check()
    try:
        return answer(ACTIONS[asked](verification, getattr(request, asked)))
    except VerificationRefused:
        # An operator fixes the secret and redrives at once: the next call must read the new value.
        secrets.cache_clear()
        raise


class Verification:
    """The verification jobs of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._label_bucket = adapters.label_bucket
        self._reviewers = partial(reviewers_of, run.document.verification)

    def check(self) -> None:
        """Raise VerificationRefused if a later run took over the reviewers' work."""
        check_not_taken_over(self._label_bucket, self._run.folder)

    def take_over(self, asked: TakingOver) -> msgspec.Struct:
        taken = take_over_earlier_runs(
            self._run,
            label_bucket=self._label_bucket,
            ledger=adapters.ledger,
            jobs=adapters.labeling_jobs,
            projects=self if settings.label_studio_connection else None,
            waited=asked.waited,
        )
        logger.info("taken over", extra={"taken_over": answer(taken)})
        return taken

    def take(self, asked: JobAttempt) -> msgspec.Struct:
        taken = take_attempt(
            asked,
            lambda job, lines: read_answers(
                job, lines, self._label_bucket, self._run.labels, self._reviewers, settings.cuboid_yaw
            ),
            label_bucket=self._label_bucket,
            names=frozenset(self._run.labels),
        )
        logger.info("taken in", extra={"taken": answer(taken)})
        return taken

    def cut(self, asked: Cutting) -> msgspec.Struct:
        if not asked.strip_frames:
            return write_shown(asked.manifest, self._label_bucket)
        return write_sequences(asked.manifest, asked.strip_frames, self._run.labels, self._label_bucket)

    def open(self, asked: Opening) -> msgspec.Struct:
        connection = self._connection()
        webhook = Webhook(settings.webhook_url, connection.webhook_secret) if settings.webhook_url else None
        opened = open_project(
            Job(asked.job, self._run.labels, asked.reviewers),
            lambda: self._lines(asked.manifest),
            self._client(connection),
            _images(connection),
            webhook,
            colors=current_taxonomy().colors,
            workspace=connection.workspace,
        )
        return Opened(str(opened.project), opened.frames)

    def wait(self, asked: Wait) -> msgspec.Struct:
        labelling = self._client(self._connection())
        woken = await_reviewers(
            WaitingJob(asked.job, asked.token, asked.order),
            lambda: annotated(self._project(asked.job, asked.project), labelling),
            tokens=adapters.ledger,
            executions=adapters.executions,
        )
        return Woken(woken)

    def look(self, asked: Project) -> msgspec.Struct:
        connection = self._connection()
        labelling, project = self._client(connection), self._project(asked.job, asked.project)
        images = _images(connection)
        done, total = progress(project, labelling)
        if done < total and not images.connected:
            renew_images(project, labelling, images, RENEWED)
        return Looked(done, total)

    def settle(self, asked: JobRound) -> msgspec.Struct:
        settled = settle_round(
            asked,
            self._output(asked),
            label_bucket=self._label_bucket,
            names=frozenset(self._run.labels),
            is_redrawn=partial(is_redrawn, self._run.document.verification),
        )
        logger.info("settled", extra={"settled": answer(settled)})
        return settled

    def _output(self, asked: JobRound) -> Iterable[bytes]:
        frames = self._lines(asked.given or asked.manifest)
        if asked.back_end == LABEL_STUDIO:
            project = self._project(asked.job, asked.output)
            reviewers = self._reviewers if asked.round == 1 else one_reviewer
            return Results(project, frames, self._client(self._connection()), datetime.now(UTC), reviewers=reviewers)
        return read_output(asked, frames, self._label_bucket, self._run.labels, self._reviewers, settings.cuboid_yaw)

    def answers(
        self, job: str, labels: tuple[str, ...], lines: Callable[[], Iterable[bytes]], reviewers: ReviewersOf
    ) -> Iterable[bytes] | None:
        """Delete the open tasks of a job's project, and then read its answers; None if there is no project."""
        labelling = self._client(self._connection())
        project = close_project(Job(job, labels), labelling)
        if project is None:
            return None
        return Results(project, lines(), labelling, datetime.now(UTC), only_answered=True, reviewers=reviewers)

    def _project(self, job: str, project: str) -> JobProject:
        return JobProject(Job(job, self._run.labels, self._run.document.verification.reviewers), int(project))

    def _lines(self, manifest: str) -> Iterator[bytes]:
        return self._label_bucket.lines(manifest.removeprefix(self._label_bucket.uri("")))

    def _connection(self) -> Connection:
        return read_connection(secrets().read(settings.label_studio_connection), settings.label_studio_connection)

    def _client(self, connection: Connection) -> LabelStudioClient:
        return LabelStudioClient(connection, settings.label_studio_connection)


def _images(connection: Connection) -> Images:
    return StorageImages() if connection.images == "storage" else PresignedImages(signing_client())


# The actions that the state machine asks for, by the request's field. Each takes that field's value: `Any`, because
# a table has one type for all.
ACTIONS: dict[str, Callable[[Verification, Any], msgspec.Struct]] = {
    "open": Verification.open,
    "wait": Verification.wait,
    "look": Verification.look,
    "settle": Verification.settle,
    "take": Verification.take,
    "take_over": Verification.take_over,
    "cut": Verification.cut,
}
