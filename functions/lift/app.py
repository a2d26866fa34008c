"""lift: lifts the boxes of a part's labels to cuboids, with the points of the drive's LiDARs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from autolabel.aws import Adapters, answer, logger, metrics, name_drive, read_settings, tracer
from autolabel.datasets import Part, lift_part

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from autolabel.aws import Answer, Event

# A call goes on with another group of frames while it has more time than this; one of crowded frames takes minutes.
SPARE_MILLISECONDS = 300_000


class Settings(msgspec.Struct, frozen=True):
    """`cloud_tolerance_ms`: the most milliseconds between a picture and a point cloud of one moment."""

    ingest_bucket: str
    label_bucket: str
    ledger_table: str
    cloud_tolerance_ms: int


class Request(msgspec.Struct, frozen=True):
    drive: str
    run: str
    part: Part


settings = read_settings(Settings, os.environ)
adapters = Adapters(settings)


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: Event, context: LambdaContext) -> Answer:
    request = msgspec.convert(event, Request)
    name_drive(request.drive)
    lifted = lift_part(
        adapters.ledger.run(request.drive, request.run),
        request.part,
        ingest=adapters.ingest,
        label_bucket=adapters.label_bucket,
        ledger=adapters.ledger,
        tolerance=settings.cloud_tolerance_ms * 1_000_000,
        is_late=lambda: context.get_remaining_time_in_millis() < SPARE_MILLISECONDS,
    )
    return answer(lifted)
