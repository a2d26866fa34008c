"""Queues on SQS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from autolabel.errors import Unavailable
from autolabel.units import Unit, UnitRequest

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# SendMessageBatch takes ten messages.
_BATCH = 10
# The longest wait of a message that goes back, in seconds.
_LONGEST_WAIT = 900


class SqsSubmitQueue:
    """`autolabel.ports.SubmitQueue` on SQS."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._sqs = client
        self._url = url

    def send(self, units: Sequence[tuple[Unit, str, str]]) -> None:
        for start in range(0, len(units), _BATCH):
            batch = units[start : start + _BATCH]
            response = self._sqs.send_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(i), "MessageBody": msgspec.json.encode(UnitRequest(*unit)).decode()}
                    for i, unit in enumerate(batch)
                ],
            )
            if response.get("Failed"):
                raise Unavailable(f"the submit queue did not take {len(response['Failed'])} units")

    def back_off(self, receipt: str, receive_count: int, first_wait: float) -> None:
        """Hide a message that could not be worked on for longer each time it comes, up to fifteen minutes."""
        wait = min(_LONGEST_WAIT, int(first_wait * 2 ** min(receive_count - 1, 16)))
        self._sqs.change_message_visibility(QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=wait)
