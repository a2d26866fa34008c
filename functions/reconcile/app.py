"""reconcile: a turn of a run, which repairs what listing, answers and ledger disagree on; or its wait for a wake."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from autolabel.aws.bucket import S3Bucket
from autolabel.aws.clients import client
from autolabel.aws.executions import StepFunctionsExecutions
from autolabel.aws.ledger import DynamoLedger
from autolabel.aws.queue import SqsSubmitQueue
from autolabel.observability import logger, metrics, tracer
from autolabel.reconciliation import Limits
from autolabel.runs import await_answers, reconcile_run
from autolabel.settings import read_settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Settings(msgspec.Struct, frozen=True):
    """`unsubmitted_after`: seconds after which a unit that no endpoint took is queued again."""

    ingest_bucket: str
    label_bucket: str
    ledger_table: str
    submit_queue_url: str
    state_machine_arn: str
    unsubmitted_after: float
    max_silences: int


class Request(msgspec.Struct, frozen=True):
    """`token`: of the execution's wait; without it, a turn is asked for."""

    drive: str
    run: str
    token: str = ""


settings = read_settings(Settings, os.environ)


@cache
def ledger() -> DynamoLedger:
    return DynamoLedger(client("dynamodb"), settings.ledger_table)


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    request = msgspec.convert(event, Request)
    run = ledger().run(request.drive, request.run)
    if request.token:
        executions = StepFunctionsExecutions(client("stepfunctions"), settings.state_machine_arn)
        return {"woken": await_answers(run, request.token, ledger=ledger(), executions=executions)}
    report = reconcile_run(
        run,
        ingest=S3Bucket(client("s3"), settings.ingest_bucket),
        labels=S3Bucket(client("s3"), settings.label_bucket),
        ledger=ledger(),
        queue=SqsSubmitQueue(client("sqs"), settings.submit_queue_url),
        limits=Limits(settings.unsubmitted_after, settings.max_silences),
        now=time.time(),
    )
    logger.info("turn", extra={"turn": msgspec.to_builtins(report)})
    builtins: dict[str, Any] = msgspec.to_builtins(report)
    return builtins
