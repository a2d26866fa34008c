"""Tests of boxes inside frames, and of the ego mask, in which boxes do not count."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.errors import AnswerRefused
from autolabel.labelling.ego_mask import covered_share
from autolabel.labels.detections import Box, Detection, Detections, repair_box
from autolabel.labels.manifest import whole_pixels


def detection(box: Box, score: float = 0.5) -> Detection:
    return Detection("car", box, score, score, "car", ("m.0001",))


def test_a_frame_may_have_no_detections() -> None:
    assert len(Detections(10, 10)) == 0
    assert list(Detections(10, 10)) == []


@pytest.mark.parametrize("box", [(0, 0, 10, 8), (0, 0, 0.5, 0.5), (9.5, 7.5, 10, 8)])
def test_a_box_inside_its_frame_is_kept(box: Box) -> None:
    assert [d.box for d in Detections(10, 8, (detection(box),))] == [box]


@pytest.mark.parametrize(
    "box", [(-0.1, 0, 5, 5), (0, 0, 10.1, 5), (0, 0, 5, 8.1), (5, 0, 5, 5), (6, 0, 5, 5), (0, math.nan, 5, 5)]
)
def test_a_box_that_is_not_inside_its_frame_is_an_error(box: Box) -> None:
    with pytest.raises(ValueError, match="10x8"):
        Detections(10, 8, (detection(box),))


@pytest.mark.parametrize("score", [-0.1, 1.1, math.nan])
def test_a_score_outside_0_to_1_is_an_error(score: float) -> None:
    with pytest.raises(ValueError, match="score"):
        Detections(10, 8, (detection((0, 0, 5, 5), score),))


@pytest.mark.parametrize(
    ("box", "repaired"),
    [
        ((1.5, 2.5, 5.0, 6.0), (1.5, 2.5, 5.0, 6.0)),
        ((-5.0, -5.0, 5.0, 5.0), (0.0, 0.0, 5.0, 5.0)),
        ((5.0, 5.0, 50.0, 50.0), (5.0, 5.0, 10.0, 8.0)),
        ((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)),
        ((0.0, 0.0, 0.9, 5.0), None),
        ((9.5, 0.0, 20.0, 5.0), None),
        ((5.0, 5.0, 2.0, 7.0), None),
        ((5.0, 5.0, 7.0, 2.0), None),
        ((20.0, 20.0, 30.0, 30.0), None),
        ((-30.0, -30.0, -20.0, -20.0), None),
    ],
)
def test_a_box_is_clipped_to_the_frame_or_dropped(box: Box, repaired: Box | None) -> None:
    assert repair_box(box, 10, 8) == repaired


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(4))
def test_a_coordinate_that_is_not_finite_refuses_the_answer(bad: float, place: int) -> None:
    box = [0.0, 0.0, 5.0, 5.0]
    box[place] = bad
    with pytest.raises(AnswerRefused) as refused:
        repair_box((box[0], box[1], box[2], box[3]), 10, 8)
    assert refused.value.reason == "answer-not-finite"


COORDINATES = st.floats(-50, 350) | st.floats(-1e300, 1e300) | st.integers(0, 300).map(float)


@given(st.tuples(COORDINATES, COORDINATES, COORDINATES, COORDINATES), st.integers(1, 300), st.integers(1, 200))
def test_detections_and_manifests_take_every_repaired_box(box: Box, width: int, height: int) -> None:
    repaired = repair_box(box, width, height)
    if repaired is not None:
        Detections(width, height, (detection(repaired),))
        left, top, wide, high = whole_pixels(repaired, width, height)
        assert 0 <= left < left + wide <= width
        assert 0 <= top < top + high <= height


@st.composite
def frames_and_boxes(draw: st.DrawFn) -> tuple[int, int, Box]:
    """Draw a frame's width and height, and a box in it of at least 1 x 1 pixel."""
    sides = []
    for _ in range(2):
        size = draw(st.integers(1, 100))
        start = draw(st.floats(0, size - 1))
        sides.append((size, start, draw(st.floats(start + 1, size))))
    (width, x1, x2), (height, y1, y2) = sides
    return width, height, (x1, y1, x2, y2)


@given(frames_and_boxes())
def test_whole_pixels_are_inside_the_frame_and_near_the_box(drawn: tuple[int, int, Box]) -> None:
    width, height, box = drawn
    left, top, wide, high = whole_pixels(box, width, height)
    assert 0 <= left < left + wide <= width
    assert 0 <= top < top + high <= height
    assert (left, top, left + wide, top + high) == pytest.approx(box, abs=1.0)


# The ego mask


def test_an_empty_box_is_not_covered() -> None:
    assert covered_share((5, 5, 5, 9), [(0, 0), (10, 0), (10, 10)]) == 0.0


@pytest.mark.parametrize(
    ("polygon", "share"),
    [
        ([(0, 0), (20, 0), (20, 20), (0, 20)], 1.0),
        ([(20, 20), (30, 20), (30, 30)], 0.0),
        ([(0, 5), (10, 5), (10, 10), (0, 10)], 0.5),
        ([(0, 10), (10, 10), (10, 5), (0, 5)], 0.5),
        ([(0, 0), (10, 10), (0, 10)], 0.5),
        ([(10, 0), (20, 0), (20, 10), (10, 10)], 0.0),
        ([(2, 2), (4, 2), (4, 4), (2, 4)], 0.04),
        ([(3, 3), (3, 3), (3, 3)], 0.0),
        ([(-5, 20), (5, -5), (15, 20)], 0.775),
    ],
)
def test_the_share_of_a_box_under_a_polygon(polygon: list[tuple[float, float]], share: float) -> None:
    assert covered_share((0, 0, 10, 10), polygon) == pytest.approx(share, abs=1e-9)


GRID = 96


def rastered(box: Box, polygon: list[tuple[float, float]]) -> float:
    """Compute the share by counting the points of a dense raster that are inside the polygon."""
    x1, y1, x2, y2 = box
    steps = (np.arange(GRID) + 0.5) / GRID
    xs, ys = np.meshgrid(x1 + (x2 - x1) * steps, y1 + (y2 - y1) * steps)
    inside = np.zeros_like(xs, dtype=bool)
    for (ax, ay), (bx, by) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        crosses = (ay > ys) != (by > ys)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (xs < (bx - ax) * (ys - ay) / (by - ay) + ax)
    return float(inside.mean())


@given(
    st.lists(st.tuples(st.floats(0, 0.9), st.floats(5, 60)), min_size=4, max_size=9),
    st.tuples(st.floats(-20, 60), st.floats(-20, 60), st.floats(1, 50), st.floats(1, 50)),
)
def test_the_share_agrees_with_a_raster_for_any_star_polygon(
    rays: list[tuple[float, float]], place: tuple[float, float, float, float]
) -> None:
    # Rays from one point, each in its own sector, make a simple polygon, which may be concave.
    angles = [(i + jitter) * 2 * math.pi / len(rays) for i, (jitter, _) in enumerate(rays)]
    polygon = [(30 + r * math.cos(a), 30 + r * math.sin(a)) for a, (_, r) in zip(angles, rays, strict=True)]
    x, y, width, height = place
    box = (x, y, x + width, y + height)
    assert covered_share(box, polygon) == pytest.approx(rastered(box, polygon), abs=0.04)


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=3, max_size=8),
    st.tuples(st.floats(0, 1000), st.floats(0, 1000), st.floats(1, 1000), st.floats(1, 1000)),
)
def test_a_share_is_between_0_and_1(
    polygon: list[tuple[float, float]], place: tuple[float, float, float, float]
) -> None:
    x, y, width, height = place
    assert 0.0 <= covered_share((x, y, x + width, y + height), polygon) <= 1.0
