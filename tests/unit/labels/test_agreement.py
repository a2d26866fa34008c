"""Tests of the comparison of a pre-label with its verified label."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labels.agreement import SAME_OBJECT, ClassAgreement, corners, count_agreement, pair_boxes
from autolabel.labels.detections import box_iou
from autolabel.labels.manifest import LabelledBox


def box(name: str, left: float = 0, width: float = 100) -> LabelledBox:
    return LabelledBox(name, left, 0, width, 100, 1.0)


boxes = st.lists(st.builds(box, st.sampled_from(["car", "van", "ignore"]), st.integers(0, 300), st.integers(40, 120)))
predictions = st.lists(st.builds(box, st.sampled_from(["car", "van"]), st.integers(0, 300), st.integers(40, 120)))


def agreement(predicted: list[LabelledBox], verified: list[LabelledBox]) -> dict[str, ClassAgreement]:
    return count_agreement(pair_boxes(predicted, verified))


@pytest.mark.parametrize(
    ("predicted", "verified", "said"),
    [
        ([], [], {}),
        ([box("car")], [box("car", 5)], {"car": ClassAgreement(kept=1)}),
        # An IoU of 0.6.
        ([box("car")], [box("car", 25)], {"car": ClassAgreement(moved=1)}),
        ([box("car")], [], {"car": ClassAgreement(deleted=1)}),
        ([], [box("car")], {"car": ClassAgreement(added=1)}),
        ([box("car")], [box("van")], {"car": ClassAgreement(relabelled=1), "van": ClassAgreement(gained=1)}),
        ([box("car")], [box("car", 300)], {"car": ClassAgreement(deleted=1, added=1)}),
        ([box("car"), box("car", 2)], [box("car")], {"car": ClassAgreement(kept=1, deleted=1)}),
        ([box("car", 30)], [box("ignore", 0, 200)], {}),
        ([box("car")], [box("car"), box("ignore", 0, 200)], {"car": ClassAgreement(kept=1)}),
    ],
    ids=[
        "nothing",
        "a good box",
        "a badly placed box",
        "a false alarm",
        "a missed object",
        "another class",
        "a box elsewhere",
        "two boxes on one object",
        "a box where nothing counts",
        "an object where nothing else counts",
    ],
)
def test_each_change_of_a_box_is_counted_for_its_class(
    predicted: list[LabelledBox], verified: list[LabelledBox], said: dict[str, ClassAgreement]
) -> None:
    assert agreement(predicted, verified) == said


def test_a_rider_and_the_bicycle_are_paired_with_their_own_classes() -> None:
    # The bicycle's box fits the rider's better than its own.
    found = pair_boxes([box("bicycle", 30)], [box("rider", 30), box("bicycle", 0)])
    assert [(p and p.name, v and v.name) for p, v, _ in found] == [("bicycle", "bicycle"), (None, "rider")]


@given(predictions, boxes)
def test_every_box_is_counted_once(predicted: list[LabelledBox], verified: list[LabelledBox]) -> None:
    found = agreement(predicted, verified)
    objects = Counter(one.name for one in verified if one.name != "ignore")
    for name in {"car", "van"}:
        of = found.get(name, ClassAgreement())
        assert of.kept + of.moved + of.added + of.gained == objects[name]
        shown = sum(one.name == name for one in predicted)
        ours = of.kept + of.moved + of.relabelled + of.deleted
        assert ours == shown if len(objects) == len({one.name for one in verified}) else ours <= shown
    assert sum(of.gained for of in found.values()) == sum(of.relabelled for of in found.values())


@given(predictions)
def test_an_untouched_prelabel_has_no_fault(predicted: list[LabelledBox]) -> None:
    found = agreement(predicted, predicted)
    assert sum(of.kept for of in found.values()) == len(predicted)
    assert sum(of.faults for of in found.values()) == 0


sides = st.one_of(st.integers(1, 400), st.floats(0.5, 400))
anywhere = st.lists(
    st.builds(
        LabelledBox,
        st.sampled_from(["car", "van"]),
        st.integers(0, 500),
        st.integers(0, 99),
        sides,
        sides,
        st.just(1.0),
    ),
    max_size=12,
)


@given(anywhere, st.data())
def test_two_boxes_of_one_object_do_not_both_stay_alone(predicted: list[LabelledBox], data: st.DataObject) -> None:
    shifted = [
        LabelledBox(one.name, one.left + data.draw(st.integers(-40, 40)), one.top, one.width, one.height, 1.0)
        for one in data.draw(st.permutations(predicted))
    ]
    found = pair_boxes(predicted, [*shifted, *data.draw(anywhere)])
    alone = [p for p, v, _ in found if p and not v], [v for p, v, _ in found if v and not p]
    assert not any(box_iou(corners(p), corners(v)) >= SAME_OBJECT for p in alone[0] for v in alone[1])
    assert all(iou == box_iou(corners(p), corners(v)) for p, v, iou in found if p and v)
