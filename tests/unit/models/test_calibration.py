"""Tests of how a calibration changes scores and boxes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labelling.decoding import decode_answer
from autolabel.labels.detections import Box
from autolabel.models.calibration import IDENTITY, MAX_SHIFT, Calibration, least_worthwhile
from autolabel.models.catalogue import Model
from tests.fakes.answers import CAR, DETECTOR, answer

WIDTH, HEIGHT = 400, 200

side = st.floats(-MAX_SHIFT, MAX_SHIFT)
shifts = st.tuples(side, side, side, side)
# As a decoder leaves them: at least a pixel wide and high, inside the frame.
boxes = st.tuples(st.floats(0, WIDTH - 1), st.floats(0, HEIGHT - 1), st.floats(0, 1), st.floats(0, 1)).map(
    lambda p: (p[0], p[1], min(WIDTH, p[0] + 1 + p[2] * (WIDTH - p[0])), min(HEIGHT, p[1] + 1 + p[3] * (HEIGHT - p[1])))
)


@given(boxes)
def test_without_a_calibration_a_box_stays_as_it_is(box: Box) -> None:
    assert IDENTITY.place(box, WIDTH, HEIGHT) is box


@given(boxes, shifts)
def test_a_box_stays_a_box_inside_the_frame(box: Box, shift: Box) -> None:
    x1, y1, x2, y2 = Calibration(shift=shift).place(box, WIDTH, HEIGHT)
    assert 0 <= x1 < x2 <= WIDTH
    assert 0 <= y1 < y2 <= HEIGHT


def test_sides_move_by_shares_of_the_box() -> None:
    calibration = Calibration(shift=(-0.1, 0.05, 0.1, 0.2))
    assert calibration.place((100, 50, 200, 90), WIDTH, HEIGHT) == pytest.approx((90, 52, 210, 98))


def test_a_side_at_the_frames_edge_stays_there() -> None:
    calibration = Calibration(shift=(0.1, 0.1, -0.1, -0.1))
    whole = (0.0, 0.5, WIDTH - 0.5, float(HEIGHT))
    assert calibration.place(whole, WIDTH, HEIGHT) == whole


def test_answers_are_read_with_shifted_boxes() -> None:
    def read(model: Model) -> Box:
        [found] = decode_answer([answer((CAR,), scores=(0.9,))], model, WIDTH, HEIGHT)[0]
        assert found.score == 0.9
        return found.box

    shifted = msgspec.structs.replace(DETECTOR, calibration={"car": Calibration(shift=(0.1, 0, 0, 0))})
    (x1, *others), (left, *same) = read(DETECTOR), read(shifted)
    assert left == pytest.approx(x1 + 0.1 * (others[1] - x1))
    assert others == same


@given(st.floats(0.01, 100.0), st.floats(0.0, 1.0))
def test_a_box_is_kept_if_it_saves_more_work_than_it_costs(cost: float, right: float) -> None:
    saved, lost = right * 1.0, (1.0 - right) * cost
    assert (right >= least_worthwhile(cost)) == (saved >= lost) or saved == pytest.approx(lost)


def test_with_equal_costs_a_box_is_kept_if_it_is_probably_right() -> None:
    assert least_worthwhile(1.0) == 0.5
