"""The event history of an execution."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

_SHARED_DETAILS = {
    "StateEntered": "stateEnteredEventDetails",
    "StateExited": "stateExitedEventDetails",
}
# Events without details, or with details named after another event (states API model, HistoryEvent).
_DETAILS = {
    "MapStateStarted": "mapStateStartedEventDetails",
    "MapIterationStarted": "mapIterationStartedEventDetails",
    "MapIterationSucceeded": "mapIterationSucceededEventDetails",
    "MapIterationFailed": "mapIterationFailedEventDetails",
    "MapIterationAborted": "mapIterationAbortedEventDetails",
}
EVENT_LIMIT = 25_000
"""Limit of events of a Standard execution (Step Functions quotas)."""


class HistoryFull(Exception):
    """An execution has used up its history."""


class History:
    """Numbered events, in order; safe for threads. `events`: those that it begins with."""

    def __init__(self, events: Iterable[dict[str, Any]] = ()) -> None:
        self._events = list(events)
        self._lock = threading.Lock()

    def add(self, kind: str, details: dict[str, Any] | None, previous: int, *, final: bool = False) -> int:
        """Record an event; return its number. Raises HistoryFull unless the event ends the execution."""
        event: dict[str, Any] = {"type": kind, "timestamp": time.time(), "previousEventId": previous}
        if details is not None:
            event[_details_name(kind)] = details
        with self._lock:
            if len(self._events) >= EVENT_LIMIT and not final:
                raise HistoryFull
            event["id"] = len(self._events) + 1
            self._events.append(event)
            return int(event["id"])

    @property
    def full(self) -> bool:
        """Whether no event fits any more beside the last."""
        with self._lock:
            return len(self._events) >= EVENT_LIMIT - 1

    def events(self) -> list[dict[str, Any]]:
        """Return all events so far."""
        with self._lock:
            return list(self._events)


class Trail:
    """The events of one strand of an execution; each names the one before it."""

    def __init__(self, history: History, last: int = 0) -> None:
        self._history = history
        self._last = last

    def add(self, kind: str, final: bool = False, **details: Any) -> None:
        """Record an event of this strand; keyword arguments are its details."""
        self._last = self._history.add(kind, details or None, self._last, final=final)

    def fork(self) -> Trail:
        """Begin another strand after the latest event."""
        return Trail(self._history, self._last)


def _details_name(kind: str) -> str:
    for ending, name in _SHARED_DETAILS.items():
        if kind.endswith(ending):
            return name
    return _DETAILS.get(kind, f"{kind[0].lower()}{kind[1:]}EventDetails")
