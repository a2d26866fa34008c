"""Inject faults into deliveries from S3 and SNS to queues, which are at least once and in any order."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

from local.cloud import symbols
from local.cloud.faults.board import FaultBoard

Deliver = Callable[[], None]


class Deliveries:
    """Drops, doubles, delays and reorders deliveries as the board says."""

    def __init__(self, board: FaultBoard) -> None:
        self._board = board
        self._held: list[Deliver] = []
        self._lock = threading.Lock()
        board.on_disarm(self.release)

    def install(self) -> None:
        """Wrap the deliveries of ministack's S3 and SNS to queues."""
        symbols.wrap(
            "services.s3",
            "_deliver_event_to_sqs",
            lambda original: (
                lambda arn, event_payload, bucket_region, bucket_name="": self.deliver(
                    f"{arn} {_key(event_payload)}",
                    lambda: original(arn, event_payload, bucket_region, bucket_name),
                )
            ),
            parameters=("arn", "event_payload", "bucket_region", "bucket_name"),
        )
        symbols.wrap(
            "services.sns",
            "_deliver_to_sqs",
            lambda original: (
                lambda endpoint, *rest, **more: self.deliver(endpoint, lambda: original(endpoint, *rest, **more))
            ),
            parameters=(
                *("endpoint", "envelope", "raw", "raw_message", "message_group_id", "message_dedup_id"),
                *("message_attributes", "topic_arn"),
            ),
        )

    def deliver(self, place: str, delivery: Deliver) -> None:
        """Deliver, or apply a fault to the delivery; `place`: the queue's ARN, and an object's key."""
        # The request's account is in the context, and another thread makes a held delivery.
        context = contextvars.copy_context()
        fault = self._board.draw("delivery", lambda fault: fault.target in place)
        match fault.kind if fault else "":
            case "drop":
                return
            case "double":
                delivery()
                delivery()
            case "delay" if fault:
                self._hold(lambda: context.run(delivery), fault.seconds)
            case "reorder" if fault:
                # Later deliveries overtake it, and of the waiting ones the last goes first.
                self._hold(lambda: context.run(delivery), fault.seconds, first=True)
            case _:
                delivery()

    def release(self) -> None:
        """Deliver everything that is held, at once."""
        with self._lock:
            held, self._held = self._held, []
        for delivery in held:
            delivery()

    def _hold(self, delivery: Deliver, seconds: float, *, first: bool = False) -> None:
        with self._lock:
            self._held.insert(0 if first else len(self._held), delivery)
        timer = threading.Timer(seconds, self._let_go, (None if first else delivery,))
        timer.daemon = True
        timer.start()

    def _let_go(self, delivery: Deliver | None) -> None:
        """Deliver this one, or the first of those held, unless they were released before."""
        with self._lock:
            if delivery is None:
                delivery = self._held[0] if self._held else None
            if delivery not in self._held:
                return
            self._held.remove(delivery)
        delivery()


def _key(event: dict[str, Any]) -> str:
    """Return the key of the object that S3 reports; empty for its test event."""
    records = event.get("Records")
    return str(records[0]["s3"]["object"]["key"]) if records else ""
