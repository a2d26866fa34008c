"""Delivers a queue's messages: one that cannot be handled now waits, one that fails too often is dead-lettered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from autolabel.aws.clients import is_passing
from autolabel.contracts.errors import Unavailable

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from mypy_boto3_sqs import SQSClient

Value = TypeVar("Value")
# The longest wait, in seconds, of a message that goes back to the queue.
_LONGEST_WAIT = 900
# A person reads the reason, and needs no more characters than this.
_MAX_REASON = 2_000


class DeadLettered(Exception):
    """A message that failed too often was moved to the dead-letter queue; `reason` is its last error."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Deliveries:
    """Delivers one queue's messages to a function.

    `first_wait`: seconds that a message waits after its first failure; the wait doubles, up to 15 minutes.
    `dead_letter_after`: receives after which a message is dead-lettered, if its error is not temporary.
    """

    def __init__(
        self, client: SQSClient, queue: str, dead_letters: str, *, first_wait: float, dead_letter_after: int
    ) -> None:
        self._sqs = client
        self._queue = queue
        self._dead_letters = dead_letters
        self._first_wait = first_wait
        self._dead_letter_after = dead_letter_after

    def work(self, record: SQSRecord, work: Callable[[], Value]) -> Value:
        """Do the work of a message. If it fails, make the message wait and raise the error, or raise DeadLettered."""
        try:
            return work()
        # For every error, the message must wait or be dead-lettered; the error is always raised again.
        except Exception as e:
            received = int(record.attributes.approximate_receive_count)
            if received < self._dead_letter_after or isinstance(e, Unavailable) or is_passing(e):
                self._back_off(record.receipt_handle, received)
                raise
            self._dead_letter(record, e)
            raise DeadLettered(f"{type(e).__name__}: {e}") from e

    def _back_off(self, receipt: str, received: int) -> None:
        wait = min(_LONGEST_WAIT, int(self._first_wait * 2 ** min(received - 1, 16)))
        self._sqs.change_message_visibility(QueueUrl=self._queue, ReceiptHandle=receipt, VisibilityTimeout=wait)

    def _dead_letter(self, record: SQSRecord, error: Exception) -> None:
        """Dead-letter a message with its reason as an attribute; the body stays, so that it can be moved back."""
        # SQS refuses a message whose attributes hold control characters.
        message = f"{type(error).__name__}: {error}"[:_MAX_REASON]
        reason = "".join(character if character.isprintable() else " " for character in message)
        self._sqs.send_message(
            QueueUrl=self._dead_letters,
            MessageBody=record.body,
            MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},
        )
