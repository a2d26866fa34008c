"""Run strands of work concurrently."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from local.cloud.stepfunctions.cancellation import Cancellation
from local.cloud.stepfunctions.errors import Cancelled

MAX_THREADS = 64
"""Limit of concurrent strands; the machine has only a few function processes anyway."""


def run_together(jobs: Sequence[Callable[[Cancellation], None]], limit: int, cancellation: Cancellation) -> None:
    """Run every job, at most `limit` at a time (0: no limit of the caller's).

    The first job that fails cancels the others; its error is raised when all have ended.
    """
    if not jobs:
        return
    together = Cancellation(cancellation)
    failures: list[BaseException] = []
    lock = threading.Lock()

    def guarded(job: Callable[[Cancellation], None]) -> None:
        try:
            together.check()
            job(together)
        except Cancelled:
            together.cancel()
        except BaseException as error:
            with lock:
                failures.append(error)
            together.cancel()

    width = min(len(jobs), MAX_THREADS, limit or MAX_THREADS)
    with ThreadPoolExecutor(width, thread_name_prefix="strand") as threads:
        wait([threads.submit(guarded, job) for job in jobs], return_when=FIRST_EXCEPTION)
    together.detach()
    cancellation.check()
    if failures:
        raise failures[0]
