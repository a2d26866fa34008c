"""Figures: measured ratios with their limits."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Limit:
    """The side of `bound` on which a figure must be; `sign` is `<=` or `>=`."""

    sign: str
    bound: float

    def holds(self, value: float) -> bool:
        compare: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}
        return compare[self.sign](value, self.bound)

    def __str__(self) -> str:
        return f"{'≤' if self.sign == '<=' else '≥'} {self.bound:g}"


@dataclass(frozen=True)
class Figure:
    """One ratio. `measured`: the measurements behind it, for a reader; `limit`: None for a figure without one."""

    group: str
    name: str
    measured: str
    ratio: float
    limit: Limit | None = None

    @property
    def passed(self) -> bool | None:
        """Whether the ratio keeps the limit; None without a limit."""
        return None if self.limit is None else self.limit.holds(self.ratio)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "passed": self.passed}


def at_most(bound: float) -> Limit:
    return Limit("<=", bound)


def at_least(bound: float) -> Limit:
    return Limit(">=", bound)


def broken(figures: Sequence[Figure]) -> list[Figure]:
    """The figures on the wrong side of their limit."""
    return [figure for figure in figures if figure.passed is False]
