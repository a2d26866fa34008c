"""The queue of an asynchronous endpoint: unbounded, first in, first out, with an expiry for each request."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from local.sagemaker.async_inference.invocations import Invocation


@dataclass(eq=False)
class Queued:
    """An invocation with its times, in seconds of the backlog's clock."""

    invocation: Invocation
    enqueued: float
    expires: float
    waiting: bool = field(default=True)


class Backlog:
    """Requests that wait or are in process; safe for threads. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._queue: deque[Queued] = deque()
        self._expiries: list[tuple[float, int, Queued]] = []
        self._order = itertools.count()
        self._in_process: set[Queued] = set()
        self._waiting = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, invocation: Invocation) -> None:
        """Append a request."""
        now = self._clock()
        queued = Queued(invocation, now, now + invocation.ttl_seconds)
        with self._changed:
            self._queue.append(queued)
            heapq.heappush(self._expiries, (queued.expires, next(self._order), queued))
            self._waiting += 1
            self._changed.notify()

    def take(self, timeout: float, cancelled: threading.Event | None = None) -> Queued | None:
        """Take the oldest request that has not expired.

        Returns None when none came within `timeout` seconds, when the backlog is closed, and when `cancelled` is set.
        """
        with self._changed:
            while True:
                if self._closed:
                    return None
                if cancelled is not None and cancelled.is_set():
                    # The wake-up may have been meant for another taker.
                    self._changed.notify()
                    return None
                while self._queue:
                    queued = self._queue.popleft()
                    # An expired request stays on the heap for `take_expired`.
                    if queued.waiting and queued.expires > self._clock():
                        queued.waiting = False
                        self._waiting -= 1
                        self._in_process.add(queued)
                        return queued
                if not self._changed.wait(timeout):
                    return None

    def give_back(self, queued: Queued) -> None:
        """Put a request that no container saw back to the front."""
        with self._changed:
            self._in_process.discard(queued)
            queued.waiting = True
            self._waiting += 1
            self._queue.appendleft(queued)
            heapq.heappush(self._expiries, (queued.expires, next(self._order), queued))
            self._changed.notify()

    def done(self, queued: Queued) -> None:
        """Forget a taken request: it has ended."""
        with self._changed:
            self._in_process.discard(queued)

    def take_expired(self) -> list[Queued]:
        """Remove and return the requests that have expired."""
        now = self._clock()
        expired = []
        with self._changed:
            while self._expiries and (self._expiries[0][0] <= now or not self._expiries[0][2].waiting):
                queued = heapq.heappop(self._expiries)[2]
                if queued.waiting:
                    queued.waiting = False
                    self._waiting -= 1
                    expired.append(queued)
        return expired

    def close(self) -> int:
        """Hand nothing out any more; return the number of requests that will never be answered."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return self._waiting + len(self._in_process)

    def size(self) -> int:
        """Count the requests that wait or are in process."""
        with self._changed:
            return self._waiting + len(self._in_process)

    def oldest_age(self) -> float:
        """Return the age of the oldest request that waits or is in process, in seconds; 0 without requests."""
        with self._changed:
            waiting = next((queued.enqueued for queued in self._queue if queued.waiting), None)
            times = [queued.enqueued for queued in self._in_process] + ([] if waiting is None else [waiting])
            return self._clock() - min(times) if times else 0.0
