"""reconcile: a turn of a run, which repairs what listing, answers and ledger disagree on; or its wait for a wake."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from aws_lambda_powertools.metrics import MetricUnit

from autolabel.aws.bucket import S3Bucket
from autolabel.aws.clients import client
from autolabel.aws.endpoints import SageMakerEndpointStates
from autolabel.aws.executions import StepFunctionsExecutions
from autolabel.aws.ledger import DynamoLedger
from autolabel.aws.observability import logger, metrics, tracer
from autolabel.aws.queue import SqsSubmitQueue
from autolabel.aws.settings import read_settings
from autolabel.inference.reconcile_pass import PassProgress, ReconcilePasses, Worst, await_answers, retry_failed_units
from autolabel.inference.reconciliation import Limits
from autolabel.models.catalogue import Catalogue

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# Repairs are made by so many threads at a time: each waits for the ledger and the queue.
WORKERS = 16
# With so little time left a turn is broken off, to go on with another call.
SPARE_MILLISECONDS = 120_000


class Settings(msgspec.Struct, frozen=True):
    """`unsubmitted_after`: seconds after which a unit that no endpoint took is queued again.

    `frames_patience`: seconds that frames are waited for which a drive's document promises.
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
    """The model that failed most of so many frames; `redriven`: whether a person had a look since."""

    worst: Worst
    frames: int
    redriven: bool


class Request(msgspec.Struct, frozen=True):
    """`token`, `order`: of the execution's wait; `failures`: too many of them; without either, a turn is asked for."""

    drive: str
    run: str
    token: str = ""
    order: str = ""
    failures: Failures | None = None
    progress: PassProgress = PassProgress()


settings = read_settings(Settings, os.environ)


@cache
def ledger() -> DynamoLedger:
    return DynamoLedger(client("dynamodb"), settings.ledger_table)


@cache
def turns() -> ReconcilePasses:
    labels = S3Bucket(client("s3"), settings.label_bucket)
    return ReconcilePasses(
        ingest=S3Bucket(client("s3"), settings.ingest_bucket),
        labels=labels,
        ledger=ledger(),
        queue=SqsSubmitQueue(client("sqs"), settings.submit_queue_url),
        catalogue=Catalogue(labels.read, time.time),
        endpoints=SageMakerEndpointStates(client("sagemaker")),
        limits=Limits(settings.unsubmitted_after, settings.max_silences, settings.max_failed_percent),
        frames_patience=settings.frames_patience,
        workers=WORKERS,
    )


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    request = msgspec.convert(event, Request)
    run = ledger().run(request.drive, request.run)
    if request.token:
        executions = StepFunctionsExecutions(client("stepfunctions"), settings.state_machine_arn)
        woken = await_answers(run, request.token, request.order, ledger=ledger(), executions=executions)
        return {"woken": woken}
    if request.failures:
        retry_failed_units(
            run,
            request.failures.worst,
            request.failures.frames,
            request.failures.redriven,
            ledger=ledger(),
            now=time.time(),
        )
        return {"turn": request.progress.turn, "retried": True}
    report = turns().reconcile(
        run,
        request.progress,
        time.time(),
        lambda: context.get_remaining_time_in_millis() < SPARE_MILLISECONDS,
    )
    if report.paused:
        metrics.add_metric("EndpointUnavailable", MetricUnit.Count, len(report.paused))
        logger.warning("paused", extra={"paused": report.paused})
    logger.info("turn", extra={"turn": msgspec.to_builtins(report)})
    builtins: dict[str, Any] = msgspec.to_builtins(report)
    return builtins
