"""Messages as a queue delivers them: one that cannot be worked on now waits, a hopeless one is put aside."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from autolabel.aws.clients import is_passing
from autolabel.contracts.errors import Unavailable

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from mypy_boto3_sqs import SQSClient

Value = TypeVar("Value")
# The longest wait of a message that goes back, in seconds.
_LONGEST_WAIT = 900
# Of an attribute that a person reads.
_MAX_REASON = 2_000


class DeadLettered(Exception):
    """A message that failed again and again lies in the dead-letter queue now; `reason` is its last error."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Deliveries:
    """One queue's messages, delivered to a function.

    `first_wait`: seconds that a message waits when it cannot be worked on for the first time; it doubles up to 15
    minutes. `bury_after`: receives after which a message that fails for a reason of its own goes to the dead letters.
    """

    def __init__(
        self, client: SQSClient, queue: str, dead_letters: str, *, first_wait: float, dead_letter_after: int
    ) -> None:
        self._sqs = client
        self._queue = queue
        self._dead_letters = dead_letters
        self._first_wait = first_wait
        self._bury_after = dead_letter_after

    def work(self, record: SQSRecord, work: Callable[[], Value]) -> Value:
        """Do the work of a message; what `work` raises, once the message is made to wait, or Buried."""
        try:
            return work()
        except Exception as e:  # whatever it is, the message waits for it or is shown to a person
            received = int(record.attributes.approximate_receive_count)
            if received < self._bury_after or isinstance(e, Unavailable) or is_passing(e):
                self._back_off(record.receipt_handle, received)
                raise
            self._bury(record, e)
            raise DeadLettered(f"{type(e).__name__}: {e}") from e

    def _back_off(self, receipt: str, received: int) -> None:
        wait = min(_LONGEST_WAIT, int(self._first_wait * 2 ** min(received - 1, 16)))
        self._sqs.change_message_visibility(QueueUrl=self._queue, ReceiptHandle=receipt, VisibilityTimeout=wait)

    def _bury(self, record: SQSRecord, error: Exception) -> None:
        """The body stays as it was, so that it can be moved back; why it lies there is beside it."""
        # SQS refuses a message whose attributes hold control characters.
        said = f"{type(error).__name__}: {error}"[:_MAX_REASON]
        reason = "".join(character if character.isprintable() else " " for character in said)
        self._sqs.send_message(
            QueueUrl=self._dead_letters,
            MessageBody=record.body,
            MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},
        )
