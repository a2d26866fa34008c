"""The catch rate of seeds, and the bound of what reviewers overlooked."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.reporting.vigilance import LEAST_SEEDS, SeedTally, least_rate, most_overlooked
from autolabel.triage.corrections import SHIFTED
from autolabel.triage.seeds import SeedVerdict


def tally(worker: str, seeds: int, caught: int) -> SeedTally:
    found = SeedTally()
    for number in range(seeds):
        found.take(SeedVerdict(SHIFTED, number < caught, worker=worker))
    return found


def test_residual_errors_of_300_corrections_at_90_of_100_seeds() -> None:
    found = tally("ann", 100, 90).vigilance(300)
    assert found
    assert (found.all.rate, found.residual, found.most) == (0.9, 33, 73)
    (ann,) = found.workers
    assert (ann.seeds, ann.caught, ann.least) == (100, 90, 0.8363)


# Clopper and Pearson's lower bounds at 95 %, one-sided, from scipy.stats.beta.ppf(0.05, caught, seeds - caught + 1).
@pytest.mark.parametrize(
    ("seeds", "caught", "bound"),
    [(10, 0, 0.0), (10, 1, 0.005116), (50, 50, 0.941845), (100, 90, 0.836282)],
)
def test_the_bound_of_the_rate_is_clopper_pearson(seeds: int, caught: int, bound: float) -> None:
    assert least_rate(seeds, caught) == pytest.approx(bound, abs=2e-6)


@given(st.integers(0, 30), st.integers(1, 9))
def test_the_bound_of_overlooked_errors_is_exact(corrections: int, tenths: int) -> None:
    """With one error more than the bound, at most `corrections` of all would be caught in less than 5 % of cases."""
    rate = Fraction(tenths, 10)
    most = most_overlooked(corrections, float(rate))

    def chance(errors: int) -> Fraction:
        return sum(
            (comb(errors, k) * rate**k * (1 - rate) ** (errors - k) for k in range(corrections + 1)), Fraction(0)
        )

    assert chance(corrections + most + 1) <= Fraction(5, 100) < chance(corrections + most) or most == 0


def test_a_million_corrections_are_counted_soon() -> None:
    assert 110_000 < most_overlooked(1_000_000, 0.9) < 112_000


def test_nobody_has_a_rate_before_fifty_seeds() -> None:
    found = tally("ann", LEAST_SEEDS - 1, 40)
    found.add(tally("ben", LEAST_SEEDS, 50))
    result = found.vigilance(0)
    assert result
    assert (result.all.seeds, result.all.caught) == (99, 90)
    assert [one.seeds for one in result.workers] == [LEAST_SEEDS]
    # Without any correction there may still be errors.
    assert (result.residual, result.most) == (0, 0) or (result.most or 0) > 0


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(("ann", "ben")), st.booleans()), min_size=1),
    st.integers(0, 9),
)
def test_the_frames_of_a_stretch_are_one_seed(frames: list[tuple[str, str, bool]], cut: int) -> None:
    parts = SeedTally(), SeedTally()
    for at, (stretch, worker, caught) in enumerate(frames):
        parts[at >= cut].take(SeedVerdict(SHIFTED, caught, worker=worker, stretch=stretch))
    total = SeedTally()
    for part in parts:
        total.add(part)
    for _ in range(2):
        found = total.vigilance(9)
        assert found
        assert found.all.seeds == len({stretch for stretch, _, _ in frames})
        assert found.all.caught == len({stretch for stretch, _, caught in frames if caught})


def test_without_seeds_there_is_no_rate() -> None:
    assert SeedTally().vigilance(9) is None
    unsure = SeedTally()
    unsure.take(SeedVerdict(SHIFTED, True, counts=False))
    assert unsure.vigilance(9) is None
    missed = tally("ann", 60, 0).vigilance(9)
    assert missed
    assert (missed.all.rate, missed.residual, missed.most) == (0.0, None, None)
