"""publish: joins the reviewers' labels with the drive's frames into its dataset, and announces it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec

from autolabel.aws import Adapters, answer, logger, metrics, read_settings, tracer
from autolabel.datasets import FinishedJob, publish_run

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from autolabel.aws import Answer, Event


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
adapters = Adapters(settings)


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: Event, context: LambdaContext) -> Answer:
    request = msgspec.convert(event, Request)
    publication = publish_run(
        adapters.ledger.run(request.drive, request.run),
        request.jobs,
        ingest=adapters.ingest,
        label_bucket=adapters.label_bucket,
        ledger=adapters.ledger,
        announcements=adapters.announcements,
        now=time.time(),
    )
    logger.info("published", extra={"publication": answer(publication)})
    return answer(publication)
