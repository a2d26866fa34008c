"""Messages of queues: looked at again and again, because many parts of ministack send them."""

from __future__ import annotations

import time
from typing import Any

from local.cloud import symbols
from local.records import Records


class KeptQueues:
    """The messages of all queues, as they were at the last look."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._queues = symbols.find("services.sqs", "_queues")
        self._lock = symbols.find("services.sqs", "_queues_lock")
        self._wake = symbols.find("services.lambda_svc", "_esm_wake")
        self._known: dict[str, set[str]] = {}

    def restore(self) -> None:
        """Send the former messages of all queues that exist again, and forget those of others."""
        with self._lock:
            queues = {queue["name"]: queue for queue in self._queues.all_values()}
            for name in self._records.places("message"):
                former = dict(self._records.all("message", name))
                self._known[name] = set(former)
                if name in queues:
                    fresh = {"receipt_handle": None, "visible_at": time.time()}
                    queues[name]["messages"].extend(message | fresh for message in former.values())
        self._wake.set()

    def look(self) -> None:
        """Record the messages that came since the last look, and forget those that went."""
        found: dict[str, dict[str, Any]] = {
            queue["name"]: {message["id"]: message for message in list(queue["messages"])}
            for queue in self._queues.all_values()
        }
        for name in found.keys() | self._known.keys():
            messages, known = found.get(name, {}), self._known.get(name, set())
            for one in messages.keys() - known:
                self._records.put("message", name, one, dict(messages[one]))
            for one in known - messages.keys():
                self._records.drop("message", name, one)
            self._known[name] = set(messages)
