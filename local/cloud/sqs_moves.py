"""Redrive dead-letter queues: StartMessageMoveTask, ListMessageMoveTasks and CancelMessageMoveTask."""

from __future__ import annotations

import json
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from local.cloud import symbols

Request = dict[str, Any]


@dataclass
class MoveTask:
    """One move task; `rate` in messages a second, None for no limit."""

    source: str
    destination: str | None
    rate: int | None
    waiting: int
    handle: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: float = field(default_factory=time.time)
    status: str = "RUNNING"
    moved: int = 0
    failure: str | None = None


class MessageMoves:
    """The move tasks of one cloud's queues."""

    def __init__(self) -> None:
        self._tasks: list[MoveTask] = []
        self._queues = symbols.find("services.sqs", "_queues")
        self._lock = symbols.find("services.sqs", "_queues_lock")
        self._queue_by_arn = symbols.find("services.sqs", "_queue_by_arn")
        self._error = symbols.find("services.sqs", "_Err")
        self._wake = symbols.find("services.lambda_svc", "_esm_wake")

    def install(self) -> None:
        """Add the actions to ministack's queue service."""
        symbols.find("services.sqs", "_HANDLERS").update(
            {
                "StartMessageMoveTask": lambda data, url: self.start(data),
                "ListMessageMoveTasks": lambda data, url: self.list(data),
                "CancelMessageMoveTask": lambda data, url: self.cancel(data),
            }
        )

    def start(self, request: Request) -> Request:
        """Begin to move a dead-letter queue's messages to DestinationArn or back to their source queues."""
        source = str(request.get("SourceArn", ""))
        queue = self._queue("SourceArn", source)
        if not self._is_dead_letter_queue(source):
            raise self._error("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
        destination = request.get("DestinationArn")
        if destination:
            self._queue("DestinationArn", destination)
        if any(task.source == source and task.status == "RUNNING" for task in self._tasks):
            raise self._error(
                "UnsupportedOperation",
                f"A task is already running for this source queue: {source}",
            )
        task = MoveTask(source, destination, request.get("MaxNumberOfMessagesPerSecond"), len(queue["messages"]))
        self._tasks.append(task)
        threading.Thread(target=self._run, args=(task, queue), name="message-move", daemon=True).start()
        return {"TaskHandle": task.handle}

    def list(self, request: Request) -> Request:
        """Return the latest tasks of a source queue, at most MaxResults."""
        self._queue("SourceArn", str(request.get("SourceArn", "")))
        tasks = [task for task in reversed(self._tasks) if task.source == request["SourceArn"]]
        return {"Results": [_describe(task) for task in tasks[: int(request.get("MaxResults", 1))]]}

    def cancel(self, request: Request) -> Request:
        """Stop a running task; messages that it has moved stay moved."""
        for task in self._tasks:
            if task.handle == request.get("TaskHandle") and task.status == "RUNNING":
                task.status = "CANCELLED"
                return {"ApproximateNumberOfMessagesMoved": task.moved}
        raise self._error("ResourceNotFoundException", "The task handle does not name a running task.", 404)

    def _run(self, task: MoveTask, queue: dict[str, Any]) -> None:
        while task.status == "RUNNING":
            with self._lock:
                message = next((m for m in queue["messages"] if m["visible_at"] <= time.time()), None)
                if message is None:
                    task.status = "COMPLETED"
                    return
                target = task.destination or message.get("sys", {}).get("DeadLetterQueueSourceArn")
                receiver = self._queue_by_arn(target) if target else None
                if receiver is None:
                    task.status, task.failure = "FAILED", "CouldNotDetermineMessageSource"
                    return
                queue["messages"].remove(message)
                receiver["messages"].append(_renewed(message))
                task.moved += 1
            self._wake.set()
            # The caller's MaxNumberOfMessagesPerSecond.
            if task.rate:
                time.sleep(1 / task.rate)

    def _queue(self, parameter: str, arn: str) -> dict[str, Any]:
        queue: dict[str, Any] | None = self._queue_by_arn(arn)
        if queue is None:
            raise self._error(
                "ResourceNotFoundException",
                f"The resource that you specified for the {parameter} parameter doesn't exist: {arn}",
                404,
            )
        return queue

    def _is_dead_letter_queue(self, arn: str) -> bool:
        policies = (queue["attributes"].get("RedrivePolicy") for queue in list(self._queues.values()))
        return any(policy and json.loads(policy).get("deadLetterTargetArn") == arn for policy in policies)


def _renewed(message: dict[str, Any]) -> dict[str, Any]:
    """Copy a message as a move does: with a new id, a new time and a receive count of 0."""
    now = time.time()
    system = {key: value for key, value in message.get("sys", {}).items() if key != "DeadLetterQueueSourceArn"}
    return {
        **message,
        "id": str(uuid.uuid4()),
        "receipt_handle": None,
        "receive_count": 0,
        "first_receive_at": None,
        "sent_at": now,
        "visible_at": now,
        "sys": {**system, "SentTimestamp": str(int(now * 1000))},
    }


def _describe(task: MoveTask) -> dict[str, Any]:
    described: dict[str, Any] = {
        "Status": task.status,
        "SourceArn": task.source,
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.waiting,
        "StartedTimestamp": int(task.started * 1000),
    }
    optional = {
        "TaskHandle": task.handle if task.status == "RUNNING" else None,
        "DestinationArn": task.destination,
        "MaxNumberOfMessagesPerSecond": task.rate,
        "FailureReason": task.failure,
    }
    return described | {name: value for name, value in optional.items() if value is not None}
