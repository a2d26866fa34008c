"""Rounds: times several ways to do the same work, one after the other, so that all meet the same machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def time_ways(ways: Mapping[str, Callable[[], object]], rounds: int, calls: int) -> dict[str, float]:
    """Median processor seconds of a call, by way; each round makes `calls` calls of every way."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.process_time()
            for _ in range(calls):
                way()
            taken[name].append((time.process_time() - started) / calls)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}
