"""Bet on audit stretches: what they prove of a class at every look, and when newer ones contradict it.

The unit is the audit stretch with its error, the share of its objects that are wrong. A capital of 1 is bet on every
stretch, with fixed bets, that the error is below 1 - target. While the mean of the expected errors so far is above
1 - target, the capital reaches 1/α at any time with a chance of at most α. Stretches are drawn by lot, so their objects
may depend on each other, and drives of different difficulty may come in any order.

Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (JRSS B 2024); for the fall, Shin,
Ramdas and Rinaldo, "E-detectors" (NEJSDS 2024).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

# The chance that a class is accepted wrongly, at any time and in any attempt.
ALPHA = 0.05
# The capital is the mean of these bets. Large ones are quick when all is right, small ones when the class is close to
# the target. They are shares of the most that can be bet: no stretch takes the whole capital.
_BETS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 0.95)
# Bets on a fall. Large ones notice a steep fall, small ones a slow one.
_FALL_BETS = (0.5, 1.0, 2.0, 4.0, 8.0)
# A class exactly at its target falls wrongly once in this many stretches at most, in the mean.
_FALL_AT = 200.0
# The largest error of a bound.
_PRECISION = 1e-9


def alpha_of(attempt: int) -> float:
    """Return the chance of a wrong acceptance that an attempt may take; those of all attempts, from 1, add to ALPHA."""
    return ALPHA / 2.0**attempt


class Capital:
    """The capital that the stretches of one class and side have earned, kept as logarithms: it can be of any size."""

    def __init__(self, target: float) -> None:
        self._target = target
        self._logs = (0.0,) * len(_BETS)

    def take(self, wrong: int, objects: int) -> None:
        """Bet on a stretch with this number of objects, at least 1."""
        growth = _growth(self._target, wrong, objects)
        self._logs = tuple(log + grown for log, grown in zip(self._logs, growth, strict=True))

    @property
    def log(self) -> float:
        return _log_mean(self._logs)

    def reaches(self, alpha: float) -> bool:
        return self.log >= -math.log(alpha)

    def needed(self, alpha: float) -> int:
        """Return the least number of further stretches that reach 1/α, if all of their objects are right."""
        growth, wanted = _growth(self._target, 0, 1), -math.log(alpha)

        def enough(count: int) -> bool:
            return _log_mean([log + count * grown for log, grown in zip(self._logs, growth, strict=True)]) >= wanted

        low, high = -1, 1
        while not enough(high):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high


class FallDetector:
    """Bets that the error of an accepted class is above 1 - target now, however long it was below it before."""

    def __init__(self, target: float) -> None:
        self._allowed = 1.0 - target
        # Below 1/(1 - target), so that no stretch makes it negative.
        self._bets = tuple(min(bet, _BETS[-1] / self._allowed) for bet in _FALL_BETS)
        self._capital = (1.0,) * len(_FALL_BETS)

    def take(self, wrong: int, objects: int) -> bool:
        """Bet on a stretch with this number of objects, at least 1; return whether the class falls."""
        excess = wrong / objects - self._allowed
        self._capital = tuple(
            max(capital, 1.0) * (1.0 + bet * excess) for capital, bet in zip(self._capital, self._bets, strict=True)
        )
        return sum(self._capital) / len(self._capital) >= _FALL_AT


def lower_bound(stretches: Mapping[tuple[int, int], int], alpha: float = ALPHA) -> float:
    """Return the highest target that stretches prove: their capital reaches 1/α. It is 0 if they prove none.

    `stretches`: their number by wrong objects and objects. The bound holds at every look.
    """

    def reaches(target: float) -> bool:
        logs = [0.0] * len(_BETS)
        for (wrong, objects), count in stretches.items():
            logs = [log + count * grown for log, grown in zip(logs, _growth(target, wrong, objects), strict=True)]
        return _log_mean(logs) >= -math.log(alpha)

    low, high = 0.0, 1.0
    while high - low > _PRECISION:
        target = (low + high) / 2
        low, high = (target, high) if reaches(target) else (low, target)
    return low


@lru_cache(maxsize=65_536)
def _growth(target: float, wrong: int, objects: int) -> tuple[float, ...]:
    """Return the logarithm of what a stretch makes of each bet's capital."""
    if not 0 <= wrong <= objects or not objects:
        raise ValueError(f"there cannot be {wrong} wrong objects among {objects}")
    gain = (objects - wrong) / (objects * target) - 1.0
    return tuple(math.log1p(bet * gain) for bet in _BETS)


def _log_mean(logs: tuple[float, ...] | list[float]) -> float:
    most = max(logs)
    return most + math.log(sum(math.exp(log - most) for log in logs) / len(logs))
