"""verify: what the state machine asks of a verification back-end beside starting Ground Truth's jobs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from autolabel.aws.bucket import S3Bucket
from autolabel.aws.clients import client
from autolabel.aws.ledger import DynamoLedger
from autolabel.ground_truth import read_output
from autolabel.observability import logger, metrics, tracer
from autolabel.settings import read_settings
from autolabel.settlement import settle_round
from autolabel.verification import JobRound

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Settings(msgspec.Struct, frozen=True):
    label_bucket: str
    ledger_table: str


class Request(msgspec.Struct, frozen=True):
    """`settle`: a round that its back-end has ended."""

    drive: str
    run: str
    settle: JobRound


settings = read_settings(Settings, os.environ)


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    request = msgspec.convert(event, Request)
    run = DynamoLedger(client("dynamodb"), settings.ledger_table).run(request.drive, request.run)
    labels = S3Bucket(client("s3"), settings.label_bucket)
    frames = labels.lines(request.settle.manifest.removeprefix(labels.uri("")))
    settled = settle_round(
        request.settle, read_output(request.settle, frames, labels), labels=labels, names=frozenset(run.labels)
    )
    logger.info("settled", extra={"settled": msgspec.to_builtins(settled)})
    builtins: dict[str, Any] = msgspec.to_builtins(settled)
    return builtins
