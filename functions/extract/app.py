"""extract: makes the steps of a drive log's extraction: inspect it, extract a slice of it, end."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Literal

import msgspec
from aws_lambda_powertools.metrics import MetricUnit

from autolabel.aws import Adapters, answer, logger, metrics, name_drive, read_settings, tracer
from autolabel.contracts.logs import LogFolder, parse_selection
from autolabel.drives import DriveLogs
from autolabel.logs import LogExtraction

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from autolabel.aws import Answer, Event


class Settings(msgspec.Struct, frozen=True):
    """`slice_megabytes`: the most of a slice, in 2^20 bytes; `logs_quiet`, `abandoned_after`: as those of submit;
    `log_selection`: for drives whose document has none, empty for every frame."""

    ingest_bucket: str
    label_bucket: str
    ledger_table: str
    extract_machine_arn: str
    ops_topic_arn: str
    slice_megabytes: int
    logs_quiet: float
    abandoned_after: float
    log_selection: str = ""


class Request(msgspec.Struct, frozen=True):
    """`slice`: of the step `extract`; `refused`: of the step `end`, why the log was not extracted; `attempt`: the one
    that ends, 0 from older executions."""

    step: Literal["inspect", "extract", "end"]
    drive: str
    name: str
    etag: str
    slice: int = 0
    refused: str = ""
    attempt: int = 0


settings = read_settings(Settings, os.environ)
selection = parse_selection(settings.log_selection)
adapters = Adapters(settings)


def end(request: Request, extraction: LogExtraction) -> msgspec.Struct:
    """Record the end of a log, and close its drive if it was the last one."""
    ended = extraction.end(
        ledger=adapters.ledger,
        announcements=adapters.operators,
        refused=request.refused,
        attempt=request.attempt,
        now=time.time(),
    )
    metrics.add_metric("FramesExtracted", MetricUnit.Count, ended.frames)
    looked = DriveLogs(
        ingest=adapters.ingest,
        ledger=adapters.ledger,
        extractions=adapters.extractions,
        announcements=adapters.operators,
        quiet_after=settings.logs_quiet,
        abandoned_after=settings.abandoned_after,
        now=time.time,
    ).look(request.drive)
    logger.info("ended", extra={"log": answer(ended), "looked": looked._asdict()})
    return ended


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: Event, context: LambdaContext) -> Answer:
    request = msgspec.convert(event, Request)
    name_drive(request.drive)
    extraction = LogExtraction(
        LogFolder(request.drive, request.name, request.etag),
        ingest=adapters.ingest,
        label_bucket=adapters.label_bucket,
        marks=adapters.ledger,
        slice_bytes=settings.slice_megabytes * 1024 * 1024,
        selection=selection,
    )
    if request.step == "inspect":
        return answer(extraction.inspect())
    if request.step == "extract":
        return answer(extraction.extract(request.slice))
    return answer(end(request, extraction))
