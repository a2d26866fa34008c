"""Keeps the items with the highest scores of a stream, without keeping the rest."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Foremost(Generic[T]):
    """Keeps at most `count` items with the highest scores; of equal scores, the earlier items."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken = 0
        self._heap: list[tuple[float, int, T]] = []

    def take(self, score: float, item: T) -> None:
        self._taken += 1
        entry = (score, -self._taken, item)
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def ranked(self) -> list[T]:
        """Return the items, the highest score first."""
        return [item for *_, item in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


class ForemostOfStretches(Generic[T]):
    """As Foremost, but of consecutive items in the same stretch, keeps only the one with the highest score."""

    def __init__(self, count: int) -> None:
        self._foremost = Foremost[T](count)
        self._stretch: Hashable = None
        self._best: tuple[float, T] | None = None

    def take(self, stretch: Hashable, score: float, item: T) -> None:
        if stretch != self._stretch:
            self._close()
            self._stretch = stretch
        if self._best is None or score > self._best[0]:
            self._best = score, item

    def ranked(self) -> list[T]:
        self._close()
        return self._foremost.ranked()

    def _close(self) -> None:
        if self._best:
            self._foremost.take(*self._best)
        self._best = None
