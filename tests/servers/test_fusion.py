"""Fusion of the detections of several views."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.servers.detections import Detections
from models.servers.fusion import fuse
from models.servers.suppression import ious

numbers = st.floats(0, 1, width=32)


@st.composite
def detections(draw: st.DrawFn) -> Detections:
    rows = draw(st.lists(st.tuples(numbers, numbers, numbers, numbers, numbers, st.integers(0, 1)), max_size=8))
    corners = np.array([row[:4] for row in rows], np.float32).reshape(-1, 2, 2)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return Detections(boxes, np.array([row[4] for row in rows], np.float32), np.array([r[5] for r in rows], np.intp))


def found(*rows: tuple[float, ...]) -> Detections:
    values = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(values[:, :4], values[:, 4], np.zeros(len(values), np.intp))


def test_an_object_of_two_views_has_their_mean_box_by_score_and_their_mean_score() -> None:
    fused = fuse([found((0, 0, 0.4, 0.4, 0.9)), found((0, 0, 0.44, 0.4, 0.3))])
    assert fused.boxes[0].tolist() == pytest.approx([0, 0, 0.41, 0.4])
    assert fused.scores.tolist() == pytest.approx([0.6])


def test_an_object_of_one_view_of_two_keeps_half_its_score() -> None:
    assert fuse([found((0, 0, 0.4, 0.4, 0.9)), found()]).scores.tolist() == pytest.approx([0.45])


@given(st.lists(detections(), min_size=1, max_size=3))
def test_fusion_keeps_scores_in_sum_and_objects_of_a_view_apart(views: list[Detections]) -> None:
    fused = fuse(views)
    assert fused.scores.sum() == pytest.approx(sum(view.scores.sum() for view in views) / len(views), abs=1e-4)
    for number in (0, 1):
        counts = [int((view.classes == number).sum()) for view in views]
        assert max(counts) <= int((fused.classes == number).sum()) <= sum(counts)
    boxes = np.concatenate([view.boxes for view in views])
    assert (np.diff(fused.scores) <= 0).all()
    if len(boxes):
        assert (fused.boxes >= boxes.min(axis=0) - 1e-6).all()
        assert (fused.boxes <= boxes.max(axis=0) + 1e-6).all()


@given(detections())
def test_the_iou_of_a_box_with_itself_is_one(view: Detections) -> None:
    for box in view.boxes:
        assert ious(box, box[None])[0] == pytest.approx(1 if np.prod(box[2:] - box[:2]) > 0 else 0)
