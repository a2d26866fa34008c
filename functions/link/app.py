"""link: links the boxes of one object in neighbouring frames, once all shards of a run are labelled."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from autolabel.aws import Adapters, answer, logger, metrics, name_drive, read_settings, tracer
from autolabel.sequences import LinkCursor, link_run

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from autolabel.aws import Answer, Event

# A call goes on with another shard while it has more time than this; one with crowded frames takes some seconds.
SPARE_MILLISECONDS = 120_000


class Settings(msgspec.Struct, frozen=True):
    label_bucket: str
    ledger_table: str


class Request(msgspec.Struct, frozen=True):
    """`cursor`: of the call before; the default is the run's first shard."""

    drive: str
    run: str
    cursor: LinkCursor = LinkCursor()


settings = read_settings(Settings, os.environ)
adapters = Adapters(settings)


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: Event, context: LambdaContext) -> Answer:
    request = msgspec.convert(event, Request)
    name_drive(request.drive)
    report = link_run(
        adapters.ledger.run(request.drive, request.run),
        request.cursor,
        label_bucket=adapters.label_bucket,
        is_late=lambda: context.get_remaining_time_in_millis() < SPARE_MILLISECONDS,
    )
    return answer(report)
