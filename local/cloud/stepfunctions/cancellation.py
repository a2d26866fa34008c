"""End work from outside: when an execution is stopped or times out, or a sibling branch has failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from local.cloud.stepfunctions.errors import Cancelled


class Cancellation:
    """A flag that wakes its waiters; cancelling a parent cancels its children."""

    def __init__(self, parent: Cancellation | None = None) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._listeners: list[Callable[[], None]] = []
        self._parent = parent
        if parent is not None:
            parent.listen(self.cancel)

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        """Set the flag for good."""
        with self._lock:
            if self._cancelled:
                return
            self._cancelled = True
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the flag is set, at once if it is set already."""
        with self._lock:
            if not self._cancelled:
                self._listeners.append(listener)
                return
        listener()

    def forget(self, listener: Callable[[], None]) -> None:
        """Remove a listener."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def detach(self) -> None:
        """Stop listening to the parent, when the work under this flag is over."""
        if self._parent is not None:
            self._parent.forget(self.cancel)

    def check(self) -> None:
        """Raise Cancelled if the flag is set."""
        if self._cancelled:
            raise Cancelled

    def sleep(self, seconds: float) -> None:
        """Sleep, or raise Cancelled as soon as the flag is set."""
        self.wait(threading.Event(), time.monotonic() + seconds)

    def wait(self, event: threading.Event, deadline: float) -> bool:
        """Wait for an event until a time of the monotonic clock; return whether it came. Raises Cancelled."""
        self.listen(event.set)
        try:
            event.wait(min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX))
            self.check()
            return event.is_set()
        finally:
            self.forget(event.set)
