"""label: turns the answers of one shard into manifest lines."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import TYPE_CHECKING

import msgspec
from aws_lambda_powertools.metrics import MetricUnit

from autolabel.aws import Adapters, logger, metrics, name_drive, read_settings, tracer
from autolabel.labelling import Shard, ShardLabelling
from autolabel.models import Catalogue

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from autolabel.aws import Answer, Event


class Settings(msgspec.Struct, frozen=True):
    ingest_bucket: str
    label_bucket: str
    ledger_table: str


class Request(msgspec.Struct, frozen=True):
    """`started`: when the execution began; with it, a repeated call writes the same lines."""

    drive: str
    run: str
    started: str
    shard: Shard


settings = read_settings(Settings, os.environ)
adapters = Adapters(settings)


@cache
def catalogue() -> Catalogue:
    return Catalogue(adapters.label_bucket.read, time.time)


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: Event, context: LambdaContext) -> Answer:
    request = msgspec.convert(event, Request)
    name_drive(request.drive)
    run = adapters.ledger.run(request.drive, request.run)
    labelling = ShardLabelling(
        run,
        catalogue().revisions(run.models),
        catalogue().revision(run.views.model) if run.views else None,
        ingest=adapters.ingest,
        label_bucket=adapters.label_bucket,
        created=request.started.rstrip("Z"),
    )
    tally = labelling.label(request.shard).tally
    metrics.add_metric("FramesLabelled", MetricUnit.Count, tally.labelled)
    metrics.add_metric("FramesFailed", MetricUnit.Count, tally.failed)
    metrics.add_metric("FramesRejected", MetricUnit.Count, tally.rejected)
    # A run may have thousands of shards, so their outputs are small; the details are in S3.
    return {
        "shard": request.shard.index,
        "labelled": tally.labelled,
        "failed": tally.failed,
        "rejected": tally.rejected,
        "boxes": tally.boxes,
    }
