"""Edits: the reviewers' changes to the boxes that they were shown."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labels.manifest import LabelledBox
from autolabel.reporting.edits import EditTally, compare, cost, summarise


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
    assert not summarise(changes).others
    assert cost(changes) == 0


def test_adding_costs_more_than_deleting_or_a_small_move() -> None:
    added, deleted = compare([], [box("car")]), compare([box("car")], [])
    assert cost(added) > cost(deleted) > cost(compare([box("car")], [box("car", 5)])) > 0


@given(boxes, boxes)
def test_a_tally_counts_every_change(predicted: list[LabelledBox], verified: list[LabelledBox]) -> None:
    changes, tally = compare(predicted, verified), EditTally()
    tally.take(summarise(changes))
    counted = Counter(
        {(kind, name): getattr(of, kind) for name, of in tally.classes.items() for kind in of.__struct_fields__}
    )
    assert +counted == Counter(kinds(predicted, verified))
    assert tally.untouched == all(change.kind == "kept" for change in changes)
    assert tally.relabelled.total() == sum(change.kind == "relabelled" for change in changes)
    assert tally.moved.total == pytest.approx(sum(c.iou for c in changes if c.kind == "moved"), abs=0.01)
