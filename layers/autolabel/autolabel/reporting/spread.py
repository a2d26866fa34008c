"""Counts numbers in steps, so that any number of them takes constant memory."""

from __future__ import annotations

from collections import Counter


class Spread:
    """A distribution of numbers from 0 to `most`, rounded to a `step`. Greater numbers count as `most`."""

    def __init__(self, step: float, most: float) -> None:
        self._step = step
        self._most = most
        self._counts: Counter[int] = Counter()

    def take(self, number: float) -> None:
        self._counts[round(min(max(number, 0.0), self._most) / self._step)] += 1

    @property
    def count(self) -> int:
        return self._counts.total()

    @property
    def total(self) -> float:
        return sum(steps * count for steps, count in self._counts.items()) * self._step

    def quantile(self, share: float) -> float:
        """Return the least number n such that at least `share` of the numbers are n or less; 0 without numbers."""
        passed, wanted = 0, share * self.count
        for steps in sorted(self._counts):
            passed += self._counts[steps]
            if passed >= wanted:
                return round(steps * self._step, 6)
        return 0.0
