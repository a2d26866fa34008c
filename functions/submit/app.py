"""submit: takes S3's events from the submit queue; frames go to their models, a drive.json starts its run."""

from __future__ import annotations

import os
import threading
import time
from functools import cache
from typing import TYPE_CHECKING

import msgspec
from aws_lambda_powertools.metrics import MetricUnit

from autolabel.aws import (
    Adapters,
    ConcurrentBatches,
    DeadLettered,
    Deliveries,
    logger,
    metrics,
    read_settings,
    tracer,
)
from autolabel.contracts.errors import DocumentRefused, Unavailable, printable
from autolabel.drives import Closing, DriveLogs
from autolabel.inference import AT_ONCE, Submission, read_message
from autolabel.labels import job_labels
from autolabel.models import Catalogue

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from autolabel.aws import Event


class Settings(msgspec.Struct, frozen=True):
    """`max_answer_wait`: the most seconds to wait for an invocation's answer. `logs_quiet`: seconds without a new log
    after which a drive is closed whose logs have ended; `abandoned_after`: after which it is closed without named logs.

    `first_wait`, `bury_after`: `first_wait` and `dead_letter_after` of Deliveries. `park_after`: receives after which a
    unit whose endpoint is gone is parked. `privacy`: BLUR if people see views of all drives' frames.
    """

    ingest_bucket: str
    label_bucket: str
    ledger_table: str
    submit_queue_url: str
    dead_letters_url: str
    state_machine_arn: str
    extract_machine_arn: str
    ops_topic_arn: str
    job_labels: str
    first_wait: float
    bury_after: int
    park_after: int
    max_answer_wait: float
    logs_quiet: float
    abandoned_after: float
    privacy: str = "none"


# The value of the stack's parameter Privacy with which people see views of all frames.
BLUR = "blur"

settings = read_settings(Settings, os.environ)
adapters = Adapters(settings)
processor = ConcurrentBatches(AT_ONCE)
# Powertools' metrics are not safe for threads.
counting = threading.Lock()


@cache
def submission() -> Submission:
    catalogue = Catalogue(adapters.label_bucket.read, time.time)
    return Submission(
        ingest=adapters.ingest,
        label_bucket=adapters.label_bucket,
        ledger=adapters.ledger,
        catalogue=catalogue,
        endpoints=adapters.endpoints,
        executions=adapters.executions,
        closing=Closing(
            ingest=adapters.ingest,
            label_bucket=adapters.label_bucket,
            ledger=adapters.ledger,
            catalogue=catalogue,
            executions=adapters.executions,
            announcements=adapters.operators,
            job_labels=job_labels(settings.job_labels),
            privacy=settings.privacy == BLUR,
            now=time.time,
        ),
        logs=DriveLogs(
            ingest=adapters.ingest,
            ledger=adapters.ledger,
            extractions=adapters.extractions,
            announcements=adapters.operators,
            quiet_after=settings.logs_quiet,
            abandoned_after=settings.abandoned_after,
            now=time.time,
        ),
        privacy=settings.privacy == BLUR,
        max_answer_wait=settings.max_answer_wait,
        now=time.time,
    )


@cache
def deliveries() -> Deliveries:
    return adapters.deliveries(settings.submit_queue_url)


def take(record: SQSRecord) -> None:
    try:
        deliveries().work(record, lambda: submit(record))
    except Unavailable:
        with counting:
            metrics.add_metric("EndpointUnavailable", MetricUnit.Count, 1)
        raise
    except DeadLettered as e:
        with counting:
            metrics.add_metric("MessagesBuried", MetricUnit.Count, 1)
        logger.exception(e.reason, extra={"body": record.body[:2_000]})


def submit(record: SQSRecord) -> None:
    received = int(record.attributes.approximate_receive_count)
    takes = submission()
    try:
        for asked in read_message(record.body):
            for submitted in takes.take(asked, park=received >= settings.park_after, again=received > 1):
                with counting:
                    metrics.add_metric(f"Units{submitted.outcome.capitalize()}", MetricUnit.Count, 1)
                log = logger.warning if submitted.outcome in ("refused", "ignored", "parked") else logger.debug
                log(f"{submitted.outcome}: {printable(submitted.detail)}", extra={"asked": msgspec.to_builtins(asked)})
    except DocumentRefused as e:
        # Only S3 and this pipeline may send here; other messages are logged and counted, not retried.
        with counting:
            metrics.add_metric("MessagesRefused", MetricUnit.Count, 1)
        logger.error(str(e), extra={"body": record.body[:2_000]})


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: Event, context: LambdaContext) -> PartialItemFailureResponse:
    # Fails the call if the stack's job labels are not in the taxonomy: no message is at fault.
    submission().begin()
    # boto3 makes clients in one thread at a time only, so that of the deliveries is made here.
    deliveries()
    with processor(event["Records"], take):
        processor.process()
    return processor.response()
