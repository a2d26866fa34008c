"""Pace: compares the time of a piece of work in a long measurement with that in short ones."""

from __future__ import annotations

import time
from typing import Any

from tools.bench.probe import peak_memory, run_probe


class Pace:
    """Times `pieces` pieces of work, with short measurements in between.

    The speed of a shared machine varies by more than the difference that is measured. So the clock stops at `stops`
    moments, evenly spread, and each time `place` (a probe) runs `short` pieces in a fresh interpreter: the long and
    the short measurements meet the same machine. Without stops it is a plain clock.
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
        """Count pieces that are done, and make the short measurements that are due."""
        before = self._done // self._every
        self._done += pieces
        for _ in range(self._done // self._every - before):
            self._hold()
            self._shorts.append(run_probe(self._place, self._short))
            self._run()

    def stop(self) -> dict[str, Any]:
        """Seconds a piece (`wall`, `processor`), `peak` memory in bytes, and `shorts`: the same of the short ones."""
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
