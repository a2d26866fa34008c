"""webhook: takes Label Studio's notifications at a function URL, and wakes the run whose job reviewers finished."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import msgspec
from aws_lambda_powertools.metrics import MetricUnit

from autolabel.aws import Adapters, Secrets, client, logger, metrics, read_settings, tracer
from autolabel.verification import read_connection, take_notification, wake_job

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from autolabel.aws import Answer, Event


class Settings(msgspec.Struct, frozen=True):
    """`label_studio_connection`: the ARN of the secret with Label Studio's connection."""

    ledger_table: str
    state_machine_arn: str
    label_studio_connection: str


settings = read_settings(Settings, os.environ)
adapters = Adapters(settings)


@cache
def secrets() -> Secrets:
    return Secrets(client("secretsmanager"))


def wake(job: str) -> bool:
    """Wake the run that waits for a job; False if none waits."""
    return wake_job(
        job,
        tokens=adapters.ledger,
        executions=adapters.executions,
    )


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: Event, context: LambdaContext) -> Answer:
    connection = read_connection(secrets().read(settings.label_studio_connection), settings.label_studio_connection)
    reply = take_notification(event, connection.webhook_secret, wake)
    metrics.add_metric(f"Verification{reply.status}", MetricUnit.Count, 1)
    if reply.status != 200:
        logger.warning(f"a notification was refused: {reply.text}", extra={"job": reply.job})
    return {"statusCode": reply.status, "headers": {"content-type": "text/plain"}, "body": reply.text}
