"""Measures asking for units through the real adapters for DynamoDB and SQS, without a network."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config

from autolabel.aws.ledger import DynamoLedger
from autolabel.aws.queue import SqsSubmitQueue
from autolabel.contracts.ports import PendingUnit
from tools.bench.work.generated_units import Count, GeneratedLabels, GeneratedLedger
from tools.bench.work.pace import Pace
from tools.bench.work.reconciling import UNKNOWN, turn_over


class _Ledger(GeneratedLedger):
    """Knows no unit, and records pending ones through boto3."""

    def __init__(self, frames: int, client: Any) -> None:
        super().__init__(frames, UNKNOWN)
        self._real = DynamoLedger(client, "ledger")

    def add_pending(self, pending: PendingUnit) -> bool:
        return self._real.add_pending(pending)


class _Done(AWSResponse):
    """A response of 200 without a connection."""

    def __init__(self, url: str) -> None:
        super().__init__(url, 200, HTTPHeaders(), None)

    @property
    def content(self) -> bytes:
        return b"{}"


def ask_for_units(units: int) -> dict[str, Any]:
    """Ask for `units` unknown units; returns seconds for each, of processor time and by the clock."""
    sent = Count()

    def answer(request: Any, **_: Any) -> AWSResponse:
        sent.add(1)
        return _Done(request.url)

    def client(service: str) -> Any:
        made = boto3.client(
            service,
            region_name="us-east-1",
            aws_access_key_id="nobody",
            aws_secret_access_key="nothing",
            # As autolabel.aws.clients.
            config=Config(max_pool_connections=32),
        )
        made.meta.events.register("before-send", answer)
        return made

    ledger, queue = _Ledger(units, client("dynamodb")), SqsSubmitQueue(client("sqs"), "https://sqs/queue")
    pace = Pace(units, "", short=0, stops=0)
    report = turn_over(units, GeneratedLabels(units, UNKNOWN, pace.add, frozen=False), ledger, queue)
    measured = pace.stop()
    if report.submitted != units or sent.value != units + units // 10:
        raise AssertionError(f"{sent.value} requests for {report}")
    return measured
