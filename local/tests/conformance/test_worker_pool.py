"""The pool of function processes: reuse, eviction, fairness, and its cap."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

import pytest

from local.cloud.functions.pool import Throttled, WorkerPool
from local.cloud.functions.worker import Worker
from local.tests.conformance.workbench import eventually


class FakeWorker:
    """The part of a worker that the pool uses."""

    def __init__(self) -> None:
        self.alive = True

    def kill(self) -> None:
        self.alive = False


def start() -> Worker:
    return cast(Worker, FakeWorker())


def broken() -> Worker:
    raise OSError("no more processes")


def test_an_idle_worker_is_reused_only_by_its_own_revision() -> None:
    pool = WorkerPool(4)
    first = pool.acquire("f", 1, start)
    pool.release(first)
    again = pool.acquire("f", 1, start)
    other = pool.acquire("f", 2, start)
    assert (again.worker is first.worker, again.fresh, other.fresh) == (True, False, True)


def test_at_the_cap_the_longest_idle_worker_makes_room() -> None:
    pool = WorkerPool(2)
    old, young = pool.acquire("a", 1, start), pool.acquire("b", 1, start)
    pool.release(old)
    pool.release(young)
    pool.acquire("c", 1, start)
    assert (old.worker.alive, young.worker.alive) == (False, True)


def test_a_worker_that_dies_while_idle_frees_its_place() -> None:
    pool = WorkerPool(1, patience=1)
    lease = pool.acquire("a", 1, start)
    pool.release(lease)
    lease.worker.kill()
    fresh = pool.acquire("a", 1, start)
    assert fresh.fresh
    pool.release(fresh)
    assert pool.acquire("b", 1, start).fresh


def test_a_start_that_fails_does_not_use_up_the_cap() -> None:
    pool = WorkerPool(1, patience=1)
    with pytest.raises(OSError, match="no more processes"):
        pool.acquire("a", 1, broken)
    assert pool.acquire("a", 1, start).fresh


def test_a_call_is_throttled_when_all_workers_stay_busy() -> None:
    pool = WorkerPool(1, patience=0.05)
    pool.acquire("a", 1, start)
    with pytest.raises(Throttled, match="all 1 function processes"):
        pool.acquire("b", 1, start)


def test_a_rare_caller_is_served_among_frequent_ones() -> None:
    pool = WorkerPool(1, patience=10)
    order: list[str] = []

    def call(name: str) -> None:
        lease = pool.acquire(name, 1, start)
        order.append(name)
        time.sleep(0.01)
        pool.release(lease)

    def queue_up(name: str) -> threading.Thread:
        waiting = len(cast(Any, pool)._queue)
        thread = threading.Thread(target=call, args=(name,))
        thread.start()
        eventually(lambda: len(cast(Any, pool)._queue) > waiting)
        return thread

    held = pool.acquire("greedy", 1, start)
    threads = [queue_up(name) for name in ("greedy", "greedy", "rare", "greedy", "greedy")]
    pool.release(held)
    for thread in threads:
        thread.join(10)
    assert order == ["greedy", "greedy", "rare", "greedy", "greedy"]


def test_retired_and_closed_workers_are_ended() -> None:
    pool = WorkerPool(4, patience=0.05)
    one, other, busy = (pool.acquire(name, 1, start) for name in "aab")
    for lease in (one, other):
        pool.release(lease)
    pool.retire("a")
    assert not one.worker.alive
    assert not other.worker.alive
    pool.close()
    pool.release(busy)
    assert not busy.worker.alive
    with pytest.raises(Throttled):
        pool.acquire("a", 1, start)
