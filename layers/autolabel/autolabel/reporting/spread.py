"""Spreads: how numbers are spread, counted in steps, so that any many of them take the same room and parts add up."""

from __future__ import annotations

from collections import Counter


class Spread:
    """Numbers from 0 to `most`, which greater ones count as, rounded to a `step`."""

    def __init__(self, step: float, most: float) -> None:
        self._step = step
        self._most = most
        self._counts: Counter[int] = Counter()

    def take(self, number: float) -> None:
        self._counts[round(min(max(number, 0.0), self._most) / self._step)] += 1

    def add(self, other: Spread) -> None:
        """Take in what another one of the same step took."""
        self._counts += other._counts

    @property
    def count(self) -> int:
        return self._counts.total()

    @property
    def total(self) -> float:
        return sum(steps * count for steps, count in self._counts.items()) * self._step

    def quantile(self, share: float) -> float:
        """The least number that at least this share of all is not above; 0 when there is none."""
        passed, wanted = 0, share * self.count
        for steps in sorted(self._counts):
            passed += self._counts[steps]
            if passed >= wanted:
                return round(steps * self._step, 6)
        return 0.0
