"""publish: joins what people left with the drive into its dataset, and announces it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from autolabel.aws.announcements import AwsAnnouncements
from autolabel.aws.bucket import S3Bucket
from autolabel.aws.clients import client
from autolabel.aws.ledger import DynamoLedger
from autolabel.aws.observability import logger, metrics, tracer
from autolabel.aws.settings import read_settings
from autolabel.datasets.publication import publish_run
from autolabel.datasets.verified_labels import FinishedJob

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Settings(msgspec.Struct, frozen=True):
    ingest_bucket: str
    label_bucket: str
    ledger_table: str
    ops_topic_arn: str


class Request(msgspec.Struct, frozen=True):
    drive: str
    run: str
    jobs: tuple[FinishedJob, ...]


settings = read_settings(Settings, os.environ)


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    request = msgspec.convert(event, Request)
    ledger = DynamoLedger(client("dynamodb"), settings.ledger_table)
    publication = publish_run(
        ledger.run(request.drive, request.run),
        request.jobs,
        ingest=S3Bucket(client("s3"), settings.ingest_bucket),
        labels=S3Bucket(client("s3"), settings.label_bucket),
        ledger=ledger,
        announcements=AwsAnnouncements(sns=client("sns"), topic=settings.ops_topic_arn, events=client("events")),
        now=time.time(),
    )
    logger.info("published", extra={"publication": msgspec.to_builtins(publication)})
    builtins: dict[str, Any] = msgspec.to_builtins(publication)
    return builtins
