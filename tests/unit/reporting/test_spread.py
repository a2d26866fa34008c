"""Spreads count numbers in steps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.reporting.spread import Spread

numbers = st.lists(st.floats(-1, 150), max_size=40)


def spread(*taken: float) -> Spread:
    found = Spread(step=0.1, most=100.0)
    for number in taken:
        found.take(number)
    return found


def test_a_spread_of_nothing_is_zero() -> None:
    assert (spread().count, spread().total, spread().quantile(0.5)) == (0, 0, 0)


@given(numbers.filter(bool), st.floats(0.01, 1))
def test_a_quantile_is_exact_to_half_a_step(taken: list[float], share: float) -> None:
    ordered = sorted(min(max(number, 0.0), 100.0) for number in taken)
    there = ordered[math.ceil(share * len(ordered)) - 1]
    assert spread(*taken).quantile(share) == pytest.approx(there, abs=0.0501)
