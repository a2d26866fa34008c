"""Pace: does a long measurement take more time for each piece of work than a short one?"""

from __future__ import annotations

import time
from typing import Any

from tools.bench.probe import peak_memory, run_probe


class Pace:
    """The clock of a measurement of `pieces` pieces of work, which may stop for shorter ones in between.

    A machine that others use is faster now and slower then, by more than the difference that is looked for. So the
    clock of the long measurement is stopped at `stops` moments, evenly spread, and each time `place` (a probe) is run
    with `short` pieces in a fresh interpreter: both meet the same machine. With no stops it is a plain clock.
    """

    def __init__(self, pieces: int, place: str, *, short: int, stops: int) -> None:
        self._pieces = pieces
        self._place = place
        self._short = short
        self._every = max(1, pieces // stops) if stops else pieces + 1
        self._done = 0
        self._wall = self._processor = 0.0
        self._shorts: list[dict[str, Any]] = []
        self._run()

    def add(self, pieces: int = 1) -> None:
        """So much more has been done."""
        before = self._done // self._every
        self._done += pieces
        for _ in range(self._done // self._every - before):
            self._hold()
            self._shorts.append(run_probe(self._place, self._short))
            self._run()

    def stop(self) -> dict[str, Any]:
        """`wall` and `processor`: seconds a piece; `peak`: bytes; `shorts`: the same of the short measurements."""
        self._hold()
        if self._done != self._pieces:
            raise AssertionError(f"{self._place}: {self._done} of {self._pieces} pieces were done")
        return {
            "pieces": self._pieces,
            "wall": self._wall / self._pieces,
            "processor": self._processor / self._pieces,
            "peak": peak_memory(),
            "shorts": self._shorts,
        }

    def _run(self) -> None:
        self._since = time.perf_counter(), time.process_time()

    def _hold(self) -> None:
        self._wall += time.perf_counter() - self._since[0]
        self._processor += time.process_time() - self._since[1]
