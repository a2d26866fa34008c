"""collect: takes the endpoints' notifications from the collect queue into the ledger, and wakes runs that are done."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType

from autolabel.aws.bucket import S3Bucket
from autolabel.aws.clients import client
from autolabel.aws.deliveries import Buried, Deliveries
from autolabel.aws.executions import StepFunctionsExecutions
from autolabel.aws.ledger import DynamoLedger
from autolabel.aws.observability import logger, metrics, tracer
from autolabel.aws.queue import SqsSubmitQueue
from autolabel.aws.settings import read_settings
from autolabel.contracts.errors import printable
from autolabel.inference.completion import Completion, wake_if_done
from autolabel.models.catalogue import Catalogue

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Settings(msgspec.Struct, frozen=True):
    """`max_errors`: after so many failures by the model a unit is failed. `first_wait`, `bury_after`: of Deliveries."""

    ingest_bucket: str
    label_bucket: str
    ledger_table: str
    submit_queue_url: str
    collect_queue_url: str
    dead_letters_url: str
    state_machine_arn: str
    max_errors: int
    first_wait: float
    bury_after: int


settings = read_settings(Settings, os.environ)
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


@cache
def ledger() -> DynamoLedger:
    return DynamoLedger(client("dynamodb"), settings.ledger_table)


@cache
def catalogue() -> Catalogue:
    return Catalogue(S3Bucket(client("s3"), settings.label_bucket).read, time.time)


@cache
def completion() -> Completion:
    return Completion(
        ledger(),
        SqsSubmitQueue(client("sqs"), settings.submit_queue_url),
        ingest=settings.ingest_bucket,
        labels=settings.label_bucket,
        endpoint_of=catalogue().endpoint_of,
        max_errors=settings.max_errors,
    )


@cache
def deliveries() -> Deliveries:
    return Deliveries(
        client("sqs"),
        settings.collect_queue_url,
        settings.dead_letters_url,
        first_wait=settings.first_wait,
        bury_after=settings.bury_after,
    )


def take(record: SQSRecord) -> str:
    """Settle one notification; its drive, or nothing when it is none of ours."""
    try:
        settled = deliveries().work(record, lambda: completion().take(record.body, time.time()))
    except Buried as e:
        metrics.add_metric("MessagesBuried", MetricUnit.Count, 1)
        logger.exception(e.reason, extra={"body": record.body[:2_000]})
        return ""
    metrics.add_metric(f"Notifications{settled.outcome.capitalize()}", MetricUnit.Count, 1)
    if settled.outcome in ("stranger", "failed", "retried"):
        logger.warning(f"{settled.outcome}: {printable(settled.detail)}", extra={"body": record.body[:2_000]})
    return settled.drive


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    with processor(event["Records"], take):
        results = processor.process()
    # After all of the batch is settled, also for duplicates: one look for each drive
    # (docs/developers/completion-protocol.md).
    executions = StepFunctionsExecutions(client("stepfunctions"), settings.state_machine_arn)
    for drive in sorted({str(drive) for status, drive, _ in results if status == "success" and drive}):
        woken = wake_if_done(drive, ledger(), executions)
        metrics.add_metric("RunsWoken", MetricUnit.Count, woken)
    return processor.response()
