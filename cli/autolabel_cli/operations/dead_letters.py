"""Dead-letter queues: their messages with the reasons, and moving them back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from botocore.exceptions import ClientError

from autolabel.aws import error_code
from autolabel.contracts.errors import DocumentRefused
from autolabel.contracts.frames import drive_of
from autolabel.contracts.units import UnitRequest
from autolabel.contracts.wording import counted
from autolabel.inference import ObjectEvent, parse_notification, read_message
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack

QUEUES = {
    "submit": ("SubmitDeadLettersUrl", "SubmitQueueUrl"),
    "collect": ("CollectDeadLettersUrl", "CollectQueueUrl"),
}
_MOST_LOOKED_AT = 100
# A message is released after it was read. If the command dies, SQS releases it after this time.
_HIDDEN_SECONDS = 15
_BATCH = 10
_MAX_REASON = 200


class DeadLetter(NamedTuple):
    """Dead letter with its reason, and its drive when it names one."""

    reason: str
    drive: str | None


class Move(NamedTuple):
    """Result of moving messages back to their queue. `already`: another move is under way."""

    outcome: Literal["nothing", "moved", "already"]
    moved: int = 0


class DeadLetterQueue:
    """Dead letters of one of the stack's queues, `submit` or `collect`."""

    def __init__(self, stack: Stack, queue: str) -> None:
        self.queue = queue
        self._sqs = stack.client("sqs")
        self._dead_letters, self._source = (stack.output(name) for name in QUEUES[queue])

    def count(self) -> int:
        """Count the messages approximately, including those that another command reads at the moment."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        found = self._sqs.get_queue_attributes(QueueUrl=self._dead_letters, AttributeNames=list(names))["Attributes"]
        return sum(int(found[name]) for name in names)

    def look(self, count: int) -> list[DeadLetter]:
        """Read about the first `count` messages, at most a hundred. They stay in the queue."""
        with self._received(min(count, _MOST_LOOKED_AT)) as messages:
            return [DeadLetter(_reason(message), _drive(message["Body"])) for message in messages]

    def erase(self, drive: str) -> int:
        """Delete the messages of a drive, and return their number. The others stay in the queue."""
        erased = 0
        with self._received(self.count()) as messages:
            for message in messages:
                if drive in _drives(message["Body"]):
                    self._sqs.delete_message(QueueUrl=self._dead_letters, ReceiptHandle=message["ReceiptHandle"])
                    erased += 1
        return erased

    # `Any`: messages as boto3 gives them.
    @contextmanager
    def _received(self, most: int) -> Iterator[Iterator[dict[str, Any]]]:
        """Receive about the first `most` messages. Those that are not deleted are released afterwards."""
        receipts: list[str] = []

        def receive() -> Iterator[dict[str, Any]]:
            while len(receipts) < most:
                messages = self._sqs.receive_message(
                    QueueUrl=self._dead_letters,
                    MaxNumberOfMessages=_BATCH,
                    VisibilityTimeout=_HIDDEN_SECONDS,
                    # Without a wait, SQS asks only some of its servers.
                    WaitTimeSeconds=1,
                    MessageAttributeNames=["All"],
                ).get("Messages", [])
                if not messages:
                    break
                receipts.extend(message["ReceiptHandle"] for message in messages)
                yield from messages

        try:
            yield receive()
        finally:
            for start in range(0, len(receipts), _BATCH):
                self._sqs.change_message_visibility_batch(
                    QueueUrl=self._dead_letters,
                    Entries=[
                        {"Id": str(i), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                        for i, receipt in enumerate(receipts[start : start + _BATCH])
                    ],
                )

    def move_back(self, seen: Callable[[int, int], None]) -> Move:
        """Move all messages back to their queue, and wait until it is done. Calls `seen(moved, total)` meanwhile.

        CommandError when SQS stops before all are moved.
        """
        source = self._arn(self._dead_letters)
        latest = self._latest_move(source)
        if latest.get("Status") == "RUNNING":
            return Move("already", latest["ApproximateNumberOfMessagesMoved"])
        if not self.count():
            return Move("nothing")
        try:
            # With a destination, since SQS does not know the source of messages that a function sent.
            self._sqs.start_message_move_task(SourceArn=source, DestinationArn=self._arn(self._source))
        except ClientError as e:
            # Another command was faster. The code has a prefix, for clients of the older protocol.
            if error_code(e).endswith("UnsupportedOperation"):
                return Move("already")
            raise
        while True:
            task = self._latest_move(source)
            moved = task["ApproximateNumberOfMessagesMoved"]
            seen(moved, task.get("ApproximateNumberOfMessagesToMove", moved))
            if task["Status"] != "RUNNING":
                break
            # SQS has no event for the end of the task.
            time.sleep(0.5)
        if task["Status"] != "COMPLETED":
            why = task.get("FailureReason", task["Status"])
            raise CommandError(
                f"moving stopped after {counted(moved, 'message')} ({why}); give the command again for the others"
            )
        return Move("moved", moved)

    def _latest_move(self, source: str) -> dict[str, Any]:
        results = self._sqs.list_message_move_tasks(SourceArn=source, MaxResults=1).get("Results", [])
        return results[0] if results else {}

    def _arn(self, url: str) -> str:
        found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(found["Attributes"]["QueueArn"])


def _reason(message: dict[str, Any]) -> str:
    attributes = message.get("MessageAttributes", {})
    # The functions set `reason`. SNS sets ErrorMessage on what it could not deliver.
    for name in ("reason", "ErrorMessage"):
        if name in attributes:
            return str(attributes[name].get("StringValue", ""))[:_MAX_REASON]
    return "received too often: its function crashed or timed out"


def _drive(body: str) -> str | None:
    return next((drive for drive in _drives(body) if drive), None)


def _drives(body: str) -> Iterator[str | None]:
    notification = parse_notification(body)
    if notification is not None:
        _, _, rest = notification.request_parameters.input_location.partition("://")
        yield drive_of(rest.partition("/")[2])
        return
    try:
        for asked in read_message(body):
            if isinstance(asked, ObjectEvent):
                yield drive_of(asked.key)
            else:
                yield asked.unit.drive if isinstance(asked, UnitRequest) else asked.drive
    except DocumentRefused:
        return
