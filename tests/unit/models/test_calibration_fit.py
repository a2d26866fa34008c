from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labels.detections import Box
from autolabel.models.calibration import IDENTITY, Calibration
from autolabel.models.calibration_fit import fit_calibration, fit_shift


def _labelled(truth: Calibration, count: int, seed: int) -> tuple[list[float], list[bool]]:
    """Draw scores, and hits with the probability that `truth` gives."""
    draw = np.random.default_rng(seed)
    scores = draw.uniform(0.02, 0.98, count)
    hits = [draw.uniform() < truth.confidence(float(score)) for score in scores]
    return [float(score) for score in scores], hits


def _drawn(bias: Box, count: int, seed: int) -> tuple[list[Box], list[Box]]:
    """Draw boxes of many sizes, and objects that they miss by `bias` and some noise, as shares of the box."""
    draw = np.random.default_rng(seed)
    corners, sizes = draw.uniform(0, 500, (count, 2)), draw.uniform(20, 300, (count, 2))
    found = np.concatenate([corners, corners + sizes], axis=1)
    true = found + (np.array(bias) + draw.normal(0.0, 0.05, (count, 4))) * np.tile(sizes, 2)
    return _boxes(found), _boxes(true)


def _boxes(rows: np.ndarray) -> list[Box]:
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in rows.tolist()]


side = st.floats(-0.1, 0.1)


def test_no_labels_leave_the_scores_as_they_are() -> None:
    assert fit_calibration([], [], 0) == IDENTITY


@given(st.floats(0.4, 2.5), st.floats(-2.0, 2.0), st.integers(0, 1_000))
def test_a_known_distortion_is_found(slope: float, offset: float, seed: int) -> None:
    truth = Calibration(slope, offset)
    fitted = fit_calibration(*_labelled(truth, 4_000, seed), objects=4_000)
    # Four standard errors: of 4,000 labels they are under 0.1 each at these slopes.
    assert fitted.slope == pytest.approx(slope, abs=0.4)
    assert fitted.offset == pytest.approx(offset, abs=0.4)
    for score in (0.05, 0.35, 0.7, 0.95):
        assert fitted.confidence(score) == pytest.approx(truth.confidence(score), abs=0.08)


@given(st.floats(0.05, 0.95), st.booleans())
def test_one_label_changes_little(score: float, hit: bool) -> None:
    fitted = fit_calibration([score], [hit], objects=1)
    assert fitted.slope == pytest.approx(1.0, abs=0.25)
    assert fitted.confidence(score) == pytest.approx(score, abs=0.15)


def test_more_of_the_same_labels_change_more() -> None:
    some, many = (fit_calibration([0.9] * n, [False] * n, objects=0).confidence(0.9) for n in (2, 50))
    assert 0.9 > some > many > 0.0


def test_scores_that_are_lower_for_objects_get_no_slope() -> None:
    scores = [0.1] * 500 + [0.9] * 500
    fitted = fit_calibration(scores, [True] * 500 + [False] * 500, objects=500)
    assert fitted.slope == 0.0
    assert fitted.confidence(0.1) == pytest.approx(fitted.confidence(0.9))
    assert not fitted.wrong()


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), max_size=60), st.integers(0, 20))
def test_the_catalogue_accepts_every_fitted_calibration(labels: list[tuple[float, bool]], missed: int) -> None:
    scores, hits = [score for score, _ in labels], [hit for _, hit in labels]
    fitted = fit_calibration(scores, hits, objects=sum(hits) + missed)
    assert not fitted.wrong()


def test_recall_is_the_share_of_found_objects() -> None:
    assert fit_calibration([0.5] * 30, [True] * 30, objects=39).recall == pytest.approx(31 / 40)


def test_more_hits_than_objects_are_refused() -> None:
    with pytest.raises(ValueError, match="2 of 2 hits do not fit 1 objects"):
        fit_calibration([0.5, 0.6], [True, True], objects=1)


@given(st.tuples(side, side, side, side), st.integers(0, 1_000))
def test_sides_that_are_always_off_are_moved_back(bias: Box, seed: int) -> None:
    # The median of 1,000 misses is exact to a few thousandths; the prior takes a hundredth of the bias.
    assert fit_shift(*_drawn(bias, 1_000, seed)) == pytest.approx(bias, abs=0.01)


def test_boxes_of_other_objects_do_not_count() -> None:
    bias = (0.0, 0.0, 0.05, 0.0)
    found, true = _drawn(bias, 200, 1)
    wild = [(x1 - 100, y1 + 50, x2 + 300, y2) for x1, y1, x2, y2 in true[:40]]
    assert fit_shift(found, [*wild, *true[40:]]) == pytest.approx(bias, abs=0.025)


def test_few_boxes_move_sides_little_and_no_boxes_not_at_all() -> None:
    box, object_ = (100.0, 100.0, 200.0, 200.0), (100.0, 100.0, 210.0, 200.0)
    few, many = (fit_shift([box] * n, [object_] * n)[2] for n in (1, 100))
    assert 0.0 < few < 0.02 < 0.09 < many < 0.1
    assert fit_shift([], []) == IDENTITY.shift


@given(st.lists(st.tuples(*[st.floats(0, 1_000)] * 4), min_size=1, max_size=9))
def test_the_catalogue_accepts_every_fitted_shift(places: list[tuple[float, float, float, float]]) -> None:
    found = [(x, y, x + 1.0 + w, y + 1.0 + h) for x, y, w, h in places]
    assert not Calibration(shift=fit_shift(found, found[::-1])).wrong()
