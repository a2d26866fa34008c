"""Edits: the reviewers' changes to the boxes that they were shown."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labels.manifest import LabelledBox
from autolabel.reporting.edits import EditTally, compare, cost, is_untouched


def box(name: str, left: float = 0, width: float = 100, confidence: float = 0.0) -> LabelledBox:
    return LabelledBox(name, left, 0, width, 100, confidence)


boxes = st.lists(
    st.builds(box, st.sampled_from(["car", "van", "ignore"]), st.integers(0, 300), st.integers(40, 120)), max_size=8
)


def kinds(predicted: list[LabelledBox], verified: list[LabelledBox]) -> list[tuple[str, str]]:
    """The kind and the class of each change, sorted."""
    found = []
    for change in compare(predicted, verified):
        one = change.predicted or change.verified
        assert one is not None
        found.append((change.kind, one.name))
    return sorted(found)


@pytest.mark.parametrize(
    ("predicted", "verified", "said"),
    [
        ([], [], []),
        ([box("car")], [box("car", confidence=0.5)], [("kept", "car")]),
        ([box("car")], [box("car", 0.4)], [("kept", "car")]),
        ([box("car")], [box("car", 1)], [("moved", "car")]),
        ([box("car")], [], [("deleted", "car")]),
        ([], [box("car")], [("added", "car")]),
        ([box("car")], [box("van")], [("relabelled", "car")]),
        ([box("car")], [box("van", 20)], [("relabelled", "car")]),
        ([box("car")], [box("car", 300)], [("added", "car"), ("deleted", "car")]),
        ([box("car"), box("car")], [box("car")], [("deleted", "car"), ("kept", "car")]),
        ([box("car", 30)], [box("ignore", 0, 200)], [("added", "ignore"), ("ignored", "car")]),
    ],
    ids=[
        "nothing",
        "an untouched box",
        "an untouched box between pixels",
        "a box moved by a pixel",
        "a deleted box",
        "an added box",
        "another class",
        "another class and another place",
        "a box put elsewhere",
        "one of two at the same place deleted",
        "a region where nothing counts",
    ],
)
def test_each_box_has_the_right_kind_of_change(
    predicted: list[LabelledBox], verified: list[LabelledBox], said: list[tuple[str, str]]
) -> None:
    assert kinds(predicted, verified) == said


@given(boxes, boxes)
def test_every_box_is_in_one_change(predicted: list[LabelledBox], verified: list[LabelledBox]) -> None:
    changes = compare(predicted, verified)
    assert Counter(c.predicted for c in changes if c.predicted) == Counter(predicted)
    assert Counter(c.verified for c in changes if c.verified) == Counter(verified)
    assert all(0.5 <= c.iou < 1 for c in changes if c.kind == "moved")


@given(boxes)
def test_an_untouched_prelabel_costs_nothing(predicted: list[LabelledBox]) -> None:
    changes = compare(predicted, predicted[::-1])
    assert is_untouched(changes)
    assert cost(changes) == 0


def test_adding_costs_more_than_deleting_or_a_small_move() -> None:
    added, deleted = compare([], [box("car")]), compare([box("car")], [])
    assert cost(added) > cost(deleted) > cost(compare([box("car")], [box("car", 5)])) > 0


@given(st.lists(st.tuples(boxes, boxes), max_size=6), st.integers(0, 6))
def test_tallies_of_parts_add_up(frames: list[tuple[list[LabelledBox], list[LabelledBox]]], cut: int) -> None:
    whole, first, second = EditTally(), EditTally(), EditTally()
    for index, (predicted, verified) in enumerate(frames):
        changes = compare(predicted, verified)
        whole.take(changes)
        (first if index < cut else second).take(changes)
    first.add(second)
    assert (first.frames, first.untouched, first.relabelled) == (whole.frames, whole.untouched, whole.relabelled)
    assert first.classes == whole.classes
    assert (first.moved.count, first.moved.quantile(0.1)) == (whole.moved.count, whole.moved.quantile(0.1))
