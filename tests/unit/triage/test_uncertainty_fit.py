"""A map is fitted to what people changed: rising, and right on other runs too."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autolabel.contracts.verification import BLIND_AUDIT, EVERYTHING
from autolabel.labels.agreement import ClassAgreement
from autolabel.triage.hindsight import Reviewed
from autolabel.triage.uncertainty_fit import (
    LEAST_BLIND_STRETCHES,
    LEAST_STRETCHES,
    ReviewedLevel,
    TooFewStretches,
    as_map,
    fit_steps,
    reviewed_level,
)


@given(st.integers(0, 10**9), st.integers(1, 99), st.integers(100, 400))
@settings(max_examples=50)
def test_levels_and_shares_of_a_fit_rise_and_are_between_0_and_1(seed: int, levels: int, count: int) -> None:
    draw = Random(seed)
    reviewed = [
        ReviewedLevel(draw.randrange(levels) / 100, draw.random() < 0.3, str(n % LEAST_STRETCHES), draw.random() < 0.1)
        for n in range(count)
    ]
    fit = fit_steps(reviewed)
    of = as_map(fit, "r", "0001")
    assert list(of.levels) == sorted(set(of.levels))
    assert list(of.shares) == sorted(of.shares)
    assert all(0 < share < 1 for share in of.shares)
    assert sum(step.changed for step in fit.steps) <= of.frames == fit.frames <= len(reviewed)
    for step in fit.steps:
        assert step.share_low <= step.changed / step.frames <= step.share_high


def drives(truth: Callable[[float], float], seed: int, stretches: int = 1_500) -> list[ReviewedLevel]:
    """Make reviewed frames: those of a stretch have near levels, and need a change together more often than not."""
    draw = Random(seed)
    found = []
    for stretch in range(stretches):
        middle, luck = draw.random(), draw.random()
        for _ in range(10):
            level = min(max(middle + draw.uniform(-0.05, 0.05), 0.0), 0.999)
            lot = luck if draw.random() < 0.3 else draw.random()
            found.append(ReviewedLevel(level, lot < truth(level), str(stretch), True))
    return found


@pytest.mark.parametrize(
    "truth",
    [lambda level: level, lambda level: level**3, lambda level: 0.6 + 0.3 * level, lambda _: 0.25],
    ids=["right", "too high", "too low", "no information"],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_share_of_two_in_ten_means_two_in_ten_on_other_runs(truth: Callable[[float], float], seed: int) -> None:
    of = as_map(fit_steps(drives(truth, seed)), "r", "0001")
    others = [(of.share(one.level), one.changed) for one in drives(truth, seed + 100)]
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        within = [(share, changed) for share, changed in others if low <= share < low + 0.2]
        if len(within) > 400:
            wanted = sum(share for share, _ in within) / len(within)
            assert sum(changed for _, changed in within) / len(within) == pytest.approx(wanted, abs=0.05)


def test_where_enough_frames_were_audited_blind_only_these_count() -> None:
    # People who see the pre-label overlook all errors.
    blind = [ReviewedLevel(0.1, n % 2 == 0, f"b{n}", True) for n in range(LEAST_BLIND_STRETCHES)]
    shown = [ReviewedLevel(level, level > 0.5, f"s{n}", False) for n in range(100) for level in (0.05, 0.1, 0.9)]
    fit = fit_steps([*blind, *shown])
    assert (fit.reach, fit.frames) == (0.1, LEAST_BLIND_STRETCHES + 100)
    of = as_map(fit, "r", "0001")
    assert of.share(0.1) == pytest.approx(0.5, abs=0.02)
    assert of.share(0.9) > 0.9
    fit = fit_steps([*blind[1:], *shown])
    assert (fit.reach, fit.frames) == (0.0, LEAST_BLIND_STRETCHES - 1 + 300)


def test_too_few_stretches_are_refused_with_the_number_that_is_needed() -> None:
    reviewed = [ReviewedLevel(n / 1_000, False, str(n % (LEAST_STRETCHES - 1)), False) for n in range(900)]
    with pytest.raises(TooFewStretches, match=r"99 audit stretches are too few .* 100 are needed"):
        fit_steps(reviewed)


def test_frames_count_by_their_own_level_and_any_error_is_a_change() -> None:
    def reviewed(**changes: object) -> Reviewed:
        return Reviewed("k", "front", 25, EVERYTHING, 0.9, boxes=(0.2,), candidates=(0.1, 0.5), **changes)  # type: ignore[arg-type]  # of any field

    right = {"car": ClassAgreement(kept=1)}
    assert reviewed_level("d", reviewed(verified=True, classes=right), 10) == (0.6, False, "d/front/2", False)
    wrong = {**right, "bus": ClassAgreement(added=1)}
    found = reviewed_level("d", reviewed(verified=True, classes=wrong), 10)
    assert found is not None
    assert found.changed
    assert reviewed_level("d", reviewed(), 10) is None
    assert reviewed_level("d", Reviewed("k", "front", 0, BLIND_AUDIT, None, verified=True), 10) is None
    # A frame with a filled box.
    assert reviewed_level("d", Reviewed("k", "front", 0, EVERYTHING, 1.0, (1.0,), verified=True), 10) is None
