"""reconcile: makes a reconcile pass of a run, stores the token of its wait, or retries its failed units."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import TYPE_CHECKING

import msgspec
from aws_lambda_powertools.metrics import MetricUnit

from autolabel.aws import Adapters, answer, logger, metrics, name_drive, read_settings, tracer
from autolabel.inference import Limits, PassProgress, ReconcilePasses, Worst, await_answers, retry_failed_units
from autolabel.models import Catalogue

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from autolabel.aws import Answer, Event

# The number of threads that make repairs: each waits for the ledger and the queue.
WORKERS = 16
# With less time left than this, a pass stops, and another call continues it.
SPARE_MILLISECONDS = 120_000


class Settings(msgspec.Struct, frozen=True):
    """`unsubmitted_after`: seconds after which a unit that no endpoint took is queued again.

    `frames_patience`: seconds to wait for frames that the drive document expects.
    """

    ingest_bucket: str
    label_bucket: str
    ledger_table: str
    submit_queue_url: str
    state_machine_arn: str
    unsubmitted_after: float
    max_silences: int
    max_failed_percent: float
    frames_patience: float


class Failures(msgspec.Struct, frozen=True):
    """The model that failed most of the `frames`; `redriven`: an operator redrove the run since."""

    worst: Worst
    frames: int
    redriven: bool = False


class Request(msgspec.Struct, frozen=True):
    """`token`, `order`: of the execution's wait; `failures`: a model failed too many frames; `retry`: failed units are
    tried once more; else a pass is made."""

    drive: str
    run: str
    token: str = ""
    order: str = ""
    failures: Failures | None = None
    retry: bool = False
    progress: PassProgress = PassProgress()


class Woken(msgspec.Struct, frozen=True):
    """`woken`: whether the wait has ended already, because all units are settled."""

    woken: bool


class Retried(msgspec.Struct, frozen=True):
    """`turn`: the number of the last pass."""

    turn: int
    retried: bool = True


settings = read_settings(Settings, os.environ)
adapters = Adapters(settings)


@cache
def passes() -> ReconcilePasses:
    return ReconcilePasses(
        ingest=adapters.ingest,
        label_bucket=adapters.label_bucket,
        ledger=adapters.ledger,
        queue=adapters.submit_queue,
        catalogue=Catalogue(adapters.label_bucket.read, time.time),
        endpoints=adapters.endpoint_states,
        limits=Limits(settings.unsubmitted_after, settings.max_silences, settings.max_failed_percent),
        frames_patience=settings.frames_patience,
        workers=WORKERS,
    )


def wait(request: Request) -> msgspec.Struct:
    """Store the token of the execution's wait."""
    run = adapters.ledger.run(request.drive, request.run)
    token, order = request.token, request.order
    return Woken(await_answers(run, token, order, ledger=adapters.ledger, executions=adapters.executions))


def retry(request: Request, failures: Failures) -> msgspec.Struct:
    """Stop a run whose model failed most frames; after a redrive, let the run try them again."""
    retry_failed_units(
        adapters.ledger.run(request.drive, request.run),
        failures.worst,
        failures.frames,
        failures.redriven,
        ledger=adapters.ledger,
        now=time.time(),
    )
    return Retried(request.progress.turn)


def retry_all(request: Request) -> msgspec.Struct:
    """Let a run that an operator redrove try its failed units once more."""
    adapters.ledger.retry_failed(adapters.ledger.run(request.drive, request.run), before=time.time())
    return Retried(request.progress.turn)


def reconcile(request: Request, context: LambdaContext) -> msgspec.Struct:
    """Make a pass, or the part of it that the call has time for."""
    run, now = adapters.ledger.run(request.drive, request.run), time.time()
    report = passes().reconcile(
        run,
        request.progress,
        now,
        lambda: context.get_remaining_time_in_millis() < SPARE_MILLISECONDS,
    )
    # Runs of older versions do not know when they began. CloudWatch has no unit for hours.
    if run.since and (report.pending or report.missing):
        metrics.add_metric("WaitingHours", MetricUnit.Count, (now - run.since) / 3600)
    if report.paused:
        metrics.add_metric("EndpointUnavailable", MetricUnit.Count, len(report.paused))
        logger.warning("paused", extra={"paused": report.paused})
    logger.info("pass", extra={"turn": answer(report)})
    return report


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: Event, context: LambdaContext) -> Answer:
    request = msgspec.convert(event, Request)
    name_drive(request.drive)
    if request.token:
        return answer(wait(request))
    if request.failures:
        return answer(retry(request, request.failures))
    if request.retry:
        return answer(retry_all(request))
    return answer(reconcile(request, context))
