"""sweep: closes abandoned drives on a schedule, and tells operators about objects that differ from a listing.

On a schedule of its own it uploads a canary.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec
from aws_lambda_powertools.metrics import MetricUnit

from autolabel.aws import Adapters, logger, metrics, read_settings, tracer
from autolabel.drives import Sweep, hours_of_canary, start_canary

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from autolabel.aws import Answer, Event


class Settings(msgspec.Struct, frozen=True):
    """`abandoned_after`: seconds without a new object, then a drive is closed; `sweep_minutes`: between two sweeps.

    `canary_schedule`: empty without canaries.
    """

    ingest_bucket: str
    label_bucket: str
    ledger_table: str
    submit_queue_url: str
    ops_topic_arn: str
    abandoned_after: float
    sweep_minutes: float
    canary_schedule: str = ""


class Request(msgspec.Struct, frozen=True):
    """`canary`: upload a canary, and do not sweep. Other fields are those of EventBridge."""

    canary: bool = False


settings = read_settings(Settings, os.environ)
adapters = Adapters(settings)


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: Event, context: LambdaContext) -> Answer:
    if msgspec.convert(event, Request).canary:
        drive = start_canary(adapters.ingest, time.time())
        logger.info("started a canary", extra={"drive": drive})
        return {"canary": drive}
    sweep = Sweep(
        ingest=adapters.ingest,
        label_bucket=adapters.label_bucket,
        ledger=adapters.ledger,
        queue=adapters.submit_queue,
        announcements=adapters.operators,
        abandoned_after=settings.abandoned_after,
        # The event of a document that was there at the previous sweep must have been lost.
        unheard_after=min(settings.abandoned_after, settings.sweep_minutes * 60),
        every=settings.sweep_minutes * 60,
    )
    report = sweep.run(time.time())
    metrics.add_metric("DrivesAbandoned", MetricUnit.Count, len(report.closed))
    metrics.add_metric("DrivesLate", MetricUnit.Count, len(report.late))
    if settings.canary_schedule:
        hours = hours_of_canary(adapters.ingest, adapters.label_bucket, time.time())
        metrics.add_metric("CanaryHours", MetricUnit.Count, hours)
    # Last, because drives must not wait for SNS.
    metrics.add_metric("OpsSubscribers", MetricUnit.Count, adapters.operators.subscribers())
    logger.info("swept", extra={"sweep": msgspec.to_builtins(report)})
    # Lambda limits a response to 6 MB, so it has counts only; the log has the names.
    return {"closed": len(report.closed), "asked": len(report.asked), "late": len(report.late)}
