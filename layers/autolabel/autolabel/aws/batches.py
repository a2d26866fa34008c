"""Processes the messages of a batch at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.batch.base import FailureResponse, SuccessResponse


class ConcurrentBatches(BatchProcessor):
    """Gives a batch of SQS messages to the record handler in `workers` threads, and reports those that failed.

    The handler must be safe for threads. Powertools' metrics are not: add them under a lock.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="record")

    def process(self) -> list[SuccessResponse | FailureResponse]:
        """Process all records; return their results in the order of the records."""
        return list(self._pool.map(self._process_record, self.records))
