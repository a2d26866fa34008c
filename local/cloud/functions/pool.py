"""The live function processes of a cloud: reused, replaced and limited in number."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from local.cloud.functions.worker import Worker


class Throttled(RuntimeError):
    """No function process was free in time."""


@dataclass
class Lease:
    """A worker in use; `fresh`: whether its process was started for this lease."""

    function: Hashable
    revision: Hashable
    worker: Worker
    fresh: bool


@dataclass
class _Idle:
    function: Hashable
    revision: Hashable
    worker: Worker
    since: float = field(default_factory=time.monotonic)


class WorkerPool:
    """Leases workers by (function, revision).

    At the cap, the idle worker that was unused for longest makes room. When all are busy, callers wait in order, so
    that no source of invocations starves another.
    """

    def __init__(self, cap: int, *, patience: float = 60.0) -> None:
        self._cap = cap
        self._patience = patience
        self._idle: list[_Idle] = []
        self._live = 0
        self._queue: deque[object] = deque()
        self._condition = threading.Condition()
        self._closed = False

    def acquire(self, function: Hashable, revision: Hashable, start: Callable[[], Worker]) -> Lease:
        """Return a worker for the function's revision, started by `start` when none is idle.

        Raises Throttled after `patience` seconds at the cap, and when the pool is closed.
        """
        victim: _Idle | None = None
        ticket = object()
        with self._condition:
            self._queue.append(ticket)
            self._remove_dead()
            try:
                deadline = time.monotonic() + self._patience
                while not (self._queue[0] is ticket and (self._live < self._cap or self._idle)) and not self._closed:
                    if not self._condition.wait(max(0.0, deadline - time.monotonic())):
                        raise Throttled(f"all {self._cap} function processes were busy for {self._patience:g} s")
                if self._closed:
                    raise Throttled("the embedded cloud is going down")
                idle = self._pop_idle(function, revision)
                if idle is not None:
                    return Lease(function, revision, idle.worker, fresh=False)
                if self._live < self._cap:
                    self._live += 1
                else:
                    victim = self._idle.pop(0)
            finally:
                self._queue.remove(ticket)
                self._condition.notify_all()
        try:
            if victim is not None:
                victim.worker.kill()
            return Lease(function, revision, start(), fresh=True)
        except BaseException:
            self._forget_one()
            raise

    def release(self, lease: Lease) -> None:
        """Give a worker back; a dead one leaves the pool."""
        if not lease.worker.alive or self._closed:
            lease.worker.kill()
            self._forget_one()
            return
        with self._condition:
            self._idle.append(_Idle(lease.function, lease.revision, lease.worker))
            self._condition.notify_all()

    def retire(self, function: Hashable) -> None:
        """End the idle workers of an updated or deleted function; busy ones end because of their old revision."""
        with self._condition:
            doomed = [idle for idle in self._idle if idle.function == function]
            self._idle = [idle for idle in self._idle if idle.function != function]
        for idle in doomed:
            idle.worker.kill()
            self._forget_one()

    def close(self) -> None:
        """End every idle worker and refuse further leases."""
        with self._condition:
            self._closed = True
            doomed, self._idle = self._idle, []
            self._condition.notify_all()
        for idle in doomed:
            idle.worker.kill()

    def _pop_idle(self, function: Hashable, revision: Hashable) -> _Idle | None:
        for position in reversed(range(len(self._idle))):
            idle = self._idle[position]
            if idle.function == function and idle.revision == revision:
                return self._idle.pop(position)
        return None

    def _remove_dead(self) -> None:
        dead = [idle for idle in self._idle if not idle.worker.alive]
        self._idle = [idle for idle in self._idle if idle.worker.alive]
        self._live -= len(dead)
        for idle in dead:
            idle.worker.kill()

    def _forget_one(self) -> None:
        with self._condition:
            self._live -= 1
            self._condition.notify_all()
