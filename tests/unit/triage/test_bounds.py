"""Bounds: a count of errors proves a share."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autolabel.triage.bounds import lower_bound, proves, trials_needed

counts = st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1)))


def _chance_of_few(trials: int, errors: int, share: float) -> float:
    """Compute the binomial's lower tail with fractions, without rounding."""
    right = Fraction(share)
    tail = sum(math.comb(trials, n) * (1 - right) ** n * right ** (trials - n) for n in range(errors + 1))
    return float(tail)


def test_no_trials_and_only_errors_prove_nothing() -> None:
    assert [lower_bound(0, 0), lower_bound(1, 1), lower_bound(400, 400)] == [0.0, 0.0, 0.0]
    assert not any(proves(n, n, 0.5) for n in (0, 1, 400))


@pytest.mark.parametrize(("errors", "trials"), [(0, 59), (1, 93)])
def test_59_and_93_objects_prove_95_percent_and_one_less_does_not(errors: int, trials: int) -> None:
    assert lower_bound(trials, errors) >= 0.95 > lower_bound(trials - 1, errors)
    assert trials_needed(errors, 0.95) == trials


# scipy.stats.beta.ppf(1 - confidence, trials - errors, errors + 1) of SciPy 1.17.1.
@pytest.mark.parametrize(
    ("trials", "errors", "confidence", "bound"),
    [
        (1, 0, 0.95, 0.050000000000000044),
        (12, 3, 0.95, 0.4726733964396566),
        (71, 0, 0.95, 0.9586843412930905),
        (93, 1, 0.95, 0.9500060216120116),
        (400, 9, 0.95, 0.9610658801322894),
        (10_000, 120, 0.99, 0.9852157996651426),
    ],
)
def test_bounds_equal_those_of_scipy(trials: int, errors: int, confidence: float, bound: float) -> None:
    assert lower_bound(trials, errors, confidence) == pytest.approx(bound, abs=1e-9)


@given(counts, st.sampled_from([0.8, 0.95, 0.99]))
def test_at_the_bound_the_chance_is_one_minus_confidence(count: tuple[int, int], confidence: float) -> None:
    trials, errors = count
    bound = lower_bound(trials, errors, confidence)
    assert _chance_of_few(trials, errors, bound) == pytest.approx(1 - confidence, abs=1e-8)


@given(counts)
def test_more_trials_prove_more_and_more_errors_less(count: tuple[int, int]) -> None:
    trials, errors = count
    bound = lower_bound(trials, errors)
    assert 0.0 < bound < (trials - errors) / trials
    assert lower_bound(trials + 1, errors) > bound > lower_bound(trials + 1, errors + 1)
    assert lower_bound(trials, errors, 0.99) < bound


@given(counts, st.floats(0.01, 0.999))
def test_a_target_is_proven_if_the_bound_reaches_it(count: tuple[int, int], target: float) -> None:
    bound = lower_bound(*count)
    assume(abs(bound - target) > 1e-9)
    assert proves(*count, target) == (bound > target)


@given(st.integers(0, 30), st.floats(0.5, 0.99))
def test_fewer_trials_than_needed_do_not_prove_the_target(errors: int, target: float) -> None:
    needed = trials_needed(errors, target)
    assert lower_bound(needed, errors) >= target > lower_bound(needed - 1, min(errors, needed - 1))


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="3 errors in 2 trials"):
        lower_bound(2, 3)
