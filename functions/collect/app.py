"""collect: takes endpoints' notifications from the collect queue into the ledger, and wakes runs that are done."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import TYPE_CHECKING

import msgspec
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType

from autolabel.aws import Adapters, DeadLettered, Deliveries, logger, metrics, read_settings, tracer
from autolabel.contracts.errors import printable
from autolabel.inference import Completion, wake_if_done
from autolabel.models import Catalogue

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from autolabel.aws import Event


class Settings(msgspec.Struct, frozen=True):
    """`max_errors`: failures of the model after which a unit is failed.

    `first_wait`, `bury_after`: `first_wait` and `dead_letter_after` of Deliveries.
    """

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
adapters = Adapters(settings)
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


@cache
def completion() -> Completion:
    catalogue = Catalogue(adapters.label_bucket.read, time.time)
    return Completion(
        adapters.ledger,
        adapters.submit_queue,
        ingest=settings.ingest_bucket,
        labels=settings.label_bucket,
        endpoint_of=catalogue.endpoint_of,
        max_errors=settings.max_errors,
    )


@cache
def deliveries() -> Deliveries:
    return adapters.deliveries(settings.collect_queue_url)


def take(record: SQSRecord) -> str:
    """Settle one notification; return its drive, empty if it does not belong to the pipeline or was dead-lettered."""
    try:
        settled = deliveries().work(record, lambda: completion().take(record.body, time.time()))
    except DeadLettered as e:
        metrics.add_metric("MessagesBuried", MetricUnit.Count, 1)
        logger.exception(e.reason, extra={"body": record.body[:2_000]})
        return ""
    metrics.add_metric(f"Notifications{settled.outcome.capitalize()}", MetricUnit.Count, 1)
    if settled.outcome in ("stranger", "failed", "retried"):
        logger.warning(
            f"{settled.outcome}: {printable(settled.detail)}",
            extra={"drive": settled.drive, "body": record.body[:2_000]},
        )
    return settled.drive


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: Event, context: LambdaContext) -> PartialItemFailureResponse:
    completion().begin(record["body"] for record in event["Records"])
    with processor(event["Records"], take):
        results = processor.process()
    # After the whole batch is settled, also if it holds duplicates: ask once for each drive
    # (docs/developers/completion-protocol.md).
    for drive in sorted({str(drive) for status, drive, _ in results if status == "success" and drive}):
        woken = wake_if_done(drive, adapters.ledger, adapters.executions)
        metrics.add_metric("RunsWoken", MetricUnit.Count, woken)
    return processor.response()
