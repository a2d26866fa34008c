"""Implements the submit queue on SQS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from autolabel.contracts.errors import Unavailable
from autolabel.contracts.units import CloseRequest, LogsRequest, Unit, UnitRequest
from autolabel.contracts.wording import counted

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# The limit of SendMessageBatch, in messages.
_BATCH = 10
# SendMessageBatch may take only some of the messages, and boto3 does not send the others again.
_TRIES = 4


class SqsSubmitQueue:
    """Implements `SubmitQueue` on SQS."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._sqs = client
        self._url = url

    def send(self, units: Sequence[tuple[Unit, str, str]]) -> None:
        for start in range(0, len(units), _BATCH):
            entries: Any = [
                {"Id": str(i), "MessageBody": msgspec.json.encode(UnitRequest(*unit)).decode()}
                for i, unit in enumerate(units[start : start + _BATCH])
            ]
            for _ in range(_TRIES):
                response = self._sqs.send_message_batch(QueueUrl=self._url, Entries=entries)
                failed = {entry["Id"] for entry in response.get("Failed", [])}
                entries = [entry for entry in entries if entry["Id"] in failed]
                if not entries:
                    break
            else:
                raise Unavailable(f"the submit queue did not take {counted(len(entries), 'unit')}")

    def close(self, drive: str) -> None:
        self._ask(CloseRequest(drive))

    def look_at_logs(self, drive: str) -> None:
        self._ask(LogsRequest(drive))

    def _ask(self, request: CloseRequest | LogsRequest) -> None:
        self._sqs.send_message(QueueUrl=self._url, MessageBody=msgspec.json.encode(request).decode())
