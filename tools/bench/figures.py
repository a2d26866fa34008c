"""Figures: what was measured, beside the limit that it is held to."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Limit:
    """`sign` is `<=` or `>=`: on which side of `bound` a figure has to lie."""

    sign: str
    bound: float

    def holds(self, value: float) -> bool:
        compare: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}
        return compare[self.sign](value, self.bound)

    def __str__(self) -> str:
        return f"{'≤' if self.sign == '<=' else '≥'} {self.bound:g}"


@dataclass(frozen=True)
class Figure:
    """One ratio. `measured`: what stands behind it, for people; `limit`: None for what is shown for information."""

    group: str
    name: str
    measured: str
    ratio: float
    limit: Limit | None = None

    @property
    def passed(self) -> bool | None:
        """None where there is no limit to pass."""
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
