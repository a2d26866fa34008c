"""Capital: what audit stretches prove at every look."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.triage.capital import ALPHA, Capital, FallDetector, alpha_of, lower_bound

targets = st.floats(0.5, 0.999)
counts = st.integers(1, 8).flatmap(lambda objects: st.tuples(st.integers(0, objects), st.just(objects)))
BETS = [Fraction(bet, 100) for bet in (5, 10, 20, 35, 50, 70, 85, 95)]


def earned(target: float, stretches: list[tuple[int, int]]) -> Capital:
    capital = Capital(target)
    for wrong, objects in stretches:
        capital.take(wrong, objects)
    return capital


@given(targets, st.lists(counts, max_size=30))
def test_the_capital_is_the_mean_of_fixed_bets(target: float, stretches: list[tuple[int, int]]) -> None:
    exact, of = Fraction(target), Fraction(0)
    for bet in BETS:
        product = Fraction(1, len(BETS))
        for wrong, objects in stretches:
            product *= 1 + bet / exact * (1 - exact - Fraction(wrong, objects))
        of += product
    assert math.exp(earned(target, stretches).log) == pytest.approx(float(of), rel=1e-9)


@given(targets, st.lists(st.tuples(counts, st.integers(1, 100)), min_size=1, max_size=6))
def test_nothing_is_earned_in_the_mean_while_errors_are_at_the_target(
    target: float, mixture: list[tuple[tuple[int, int], int]]
) -> None:
    # Mixed with wholly right or wholly wrong stretches, so that the expected error is 1 - target.
    total = sum(weight for _, weight in mixture)
    chances = [(count, weight / total) for count, weight in mixture]
    error = sum(chance * wrong / objects for (wrong, objects), chance in chances)
    other, of_other = ((1, 1), 1.0) if error < 1 - target else ((0, 1), 0.0)
    share = 0.0 if error == of_other else (1 - target - error) / (of_other - error)
    chances = [(count, chance * (1 - share)) for count, chance in chances] + [(other, share)]
    start = [(0, 1)] * 20
    before = math.exp(earned(target, start).log)
    after = sum(chance * math.exp(earned(target, [*start, count]).log) for count, chance in chances)
    assert after == pytest.approx(before, rel=1e-9)


def test_a_class_without_an_error_needs_104_stretches_for_95_percent() -> None:
    capital = Capital(0.95)
    assert capital.needed(alpha_of(1)) == 104
    assert earned(0.95, [(0, 1)] * 104).reaches(alpha_of(1))
    assert not earned(0.95, [(0, 3)] * 103).reaches(alpha_of(1))


@given(targets, st.lists(counts, max_size=20), st.integers(1, 12))
def test_what_is_missing_is_the_least_that_is_enough(
    target: float, stretches: list[tuple[int, int]], attempt: int
) -> None:
    needed = earned(target, stretches).needed(alpha_of(attempt))
    if needed:
        assert not earned(target, [*stretches, *[(0, 1)] * (needed - 1)]).reaches(alpha_of(attempt))
    assert earned(target, [*stretches, *[(0, 1)] * needed]).log >= -math.log(alpha_of(attempt)) - 1e-9


def test_the_chances_of_all_attempts_add_up() -> None:
    assert sum(alpha_of(attempt) for attempt in range(1, 60)) == pytest.approx(ALPHA)


@given(st.dictionaries(counts, st.integers(1, 300), min_size=1, max_size=6))
def test_the_bound_is_the_highest_target_that_is_proven(stretches: dict[tuple[int, int], int]) -> None:
    bound, every = lower_bound(stretches), list(Counter(stretches).elements())
    assert 0.0 <= bound < 1.0
    if bound > 1e-6:
        assert earned(bound - 1e-7, every).reaches(ALPHA)
    assert not earned(bound + 1e-7, every).reaches(ALPHA)


def test_nothing_and_only_errors_prove_nothing() -> None:
    assert [lower_bound({}), lower_bound({(3, 3): 400})] == [0.0, pytest.approx(0.0, abs=1e-6)]
    assert not Capital(0.95).reaches(alpha_of(1))


def test_a_million_stretches_neither_overflow_nor_ruin() -> None:
    assert lower_bound({(0, 1): 1_000_000}) > 0.999
    assert lower_bound({(1, 2): 1_000_000}) == pytest.approx(0.5, abs=0.01)
    capital = earned(0.5, [(0, 1)] * 20_000 + [(1, 1)] * 20_000)
    assert math.isfinite(capital.log)
    assert capital.needed(alpha_of(1)) > 0


@pytest.mark.parametrize("count", [(0, 0), (2, 1), (-1, 1)])
def test_counts_that_cannot_be_are_refused(count: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="there cannot be"):
        Capital(0.95).take(*count)


def noticed(target: float, stretches: list[tuple[int, int]]) -> int | None:
    detector = FallDetector(target)
    return next((number for number, count in enumerate(stretches, start=1) if detector.take(*count)), None)


@pytest.mark.parametrize("target", [0.5, 0.8, 0.95, 0.999])
def test_a_fall_is_noticed_however_long_the_class_was_good(target: float) -> None:
    bad = [(1, 1)] * 30
    assert noticed(target, [(0, 1)] * 10_000) is None
    alone = noticed(target, bad)
    assert alone is not None
    assert noticed(target, [(0, 1)] * 10_000 + bad) == 10_000 + alone


def test_errors_at_the_target_do_not_end_acceptance_soon() -> None:
    # One object of twenty in each stretch.
    assert noticed(0.95, [(1, 20)] * 1_000) is None
