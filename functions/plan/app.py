"""plan: divides a run into shards, once all its units are settled."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from autolabel.aws import Adapters, answer, logger, metrics, name_drive, read_settings, tracer
from autolabel.labelling import plan_run

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from autolabel.aws import Answer, Event


class Settings(msgspec.Struct, frozen=True):
    """`shard_frames`: the most frames for one call of label; `max_job_objects`: the most in a verification job."""

    label_bucket: str
    ledger_table: str
    shard_frames: int
    max_job_objects: int


class Request(msgspec.Struct, frozen=True):
    drive: str
    run: str


settings = read_settings(Settings, os.environ)
adapters = Adapters(settings)


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: Event, context: LambdaContext) -> Answer:
    request = msgspec.convert(event, Request)
    name_drive(request.drive)
    plan = plan_run(
        adapters.ledger.run(request.drive, request.run),
        label_bucket=adapters.label_bucket,
        ledger=adapters.ledger,
        # A job consists of whole shards.
        shard_frames=min(settings.shard_frames, settings.max_job_objects),
    )
    return answer(plan)
