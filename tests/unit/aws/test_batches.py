"""Messages of a batch are processed at the same time, and those that failed are reported."""

from __future__ import annotations

import threading
from typing import Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from autolabel.aws import ConcurrentBatches


def records(count: int) -> list[dict[str, Any]]:
    return [{"messageId": str(number), "body": str(number)} for number in range(count)]


def test_messages_are_processed_at_the_same_time() -> None:
    together = threading.Barrier(4)
    processor = ConcurrentBatches(4)
    for _ in range(2):
        with processor(records(8), lambda record: together.wait(timeout=10)):
            assert len(processor.process()) == 8
        assert processor.response() == {"batchItemFailures": []}


def test_each_failed_message_is_reported_and_no_other() -> None:
    def take(record: SQSRecord) -> int:
        number = int(record.body)
        if number % 3 == 0:
            raise ValueError(number)
        return number

    processor = ConcurrentBatches(4)
    with processor(records(10), take):
        results = processor.process()
    assert [result for status, result, _ in results if status == "success"] == [1, 2, 4, 5, 7, 8]
    failed = sorted(failure["itemIdentifier"] for failure in processor.response()["batchItemFailures"])
    assert failed == ["0", "3", "6", "9"]
    with processor(records(1), lambda record: None):
        processor.process()
    assert processor.response() == {"batchItemFailures": []}
