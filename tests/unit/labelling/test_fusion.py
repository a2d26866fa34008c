"""The detections of several models in one frame are merged into one set."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import ensemble_boxes
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labelling.fusion import merge_frame
from autolabel.labelling.model_detections import GROUP_IOU, ModelDetections
from autolabel.labelling.weighted_boxes import NETWORK_IOU, VIEW_IOU, overlaps, suppress
from autolabel.labels.detections import Box, Detection, box_iou
from autolabel.models.calibration import Calibration
from autolabel.models.catalogue import Model
from autolabel.models.coverage import Coverage
from tests.fakes.answers import DETECTOR

WIDTH, HEIGHT = 1_000, 500
NAMES = ("car", "van", "person", "bicycle")


def model(name: str, **changes: object) -> Model:
    return msgspec.structs.replace(DETECTOR, name=name, classes={n: n for n in NAMES}, **changes)


A, B, C = model("a"), model("b"), model("c")


def found_by(one: Model, *found: tuple[str, float, Box]) -> ModelDetections:
    return ModelDetections(one, [_detection(one, name, score, box) for name, score, box in found])


def _detection(one: Model, name: str, score: float, box: Box) -> Detection:
    confidence = one.calibration_of(name).confidence(score)
    return Detection(name, box, score, confidence, name, (one.id,))


def merge(*of: ModelDetections) -> list[Detection]:
    return list(merge_frame(of, "front", WIDTH, HEIGHT)[0])


def moved(box: Box, x: float) -> Box:
    return box[0] + x, box[1], box[2] + x, box[3]


CAR: Box = (100.0, 100.0, 200.0, 200.0)
FAR: Box = (700.0, 100.0, 800.0, 200.0)

# At a few places, so that most of them overlap.
boxes = st.tuples(st.integers(0, 3), st.floats(0, 40), st.floats(0, 40), st.floats(60, 110), st.floats(60, 110)).map(
    lambda p: (200 * p[0] + p[1], p[2], 200 * p[0] + p[1] + p[3], p[2] + p[4])
)
detection_lists = st.lists(st.tuples(st.sampled_from(NAMES), st.floats(0.01, 1.0), boxes), max_size=12)


@given(st.lists(st.floats(0.03, 1.0), min_size=2, max_size=5), st.floats(0.0, 30.0))
def test_a_box_at_the_frames_edge_stays_inside(scores: list[float], shift: float) -> None:
    # The average of floats can be outside of their range by the last digit.
    edge = (907.7458213999898 - shift, 245.69732804086738, float(WIDTH), float(HEIGHT))
    found = merge(*(found_by(model(f"m{index}"), ("car", score, edge)) for index, score in enumerate(scores)))
    assert [d.box for d in found] == [edge]


# Against a well-known implementation


@given(st.lists(st.tuples(st.floats(0.01, 1.0), boxes), min_size=1, max_size=30, unique_by=lambda one: one[0]))
def test_suppression_equals_that_of_ensemble_boxes(found: list[tuple[float, Box]]) -> None:
    ordered = sorted(found, reverse=True)
    array = np.array([box for _, box in ordered])
    kept = [members[0] for members in suppress(overlaps(array, array) > VIEW_IOU)]
    size = [WIDTH, HEIGHT, WIDTH, HEIGHT]
    _, scores, _ = ensemble_boxes.nms(
        [array / size], [[score for score, _ in ordered]], [[0] * len(ordered)], iou_thr=VIEW_IOU
    )
    assert [ordered[index][0] for index in kept] == pytest.approx(sorted(scores, reverse=True), abs=1e-6)


@given(st.data())
def test_independent_models_are_merged_as_by_ensemble_boxes(data: st.DataObject) -> None:
    # Each model finds an object at most once and a little displaced; objects are far from each other.
    places = data.draw(st.lists(st.integers(0, 4), unique=True, min_size=1))
    weights = [data.draw(st.floats(0.5, 3.0)) for _ in range(3)]
    models = [model(name, weight=weight) for name, weight in zip("abc", weights, strict=True)]
    given_, expected = [], ([], [], [])
    for one in models:
        found = []
        for place in places:
            if data.draw(st.booleans()):
                shift = data.draw(st.floats(-10, 10))
                found.append(("car", data.draw(st.floats(0.05, 1.0)), moved(CAR, 180.0 * place - 100 + shift + 20)))
        given_.append(found_by(one, *found))
        expected[0].append([np.array(box) / [WIDTH, HEIGHT, WIDTH, HEIGHT] for _, _, box in found])
        expected[1].append([score for _, score, _ in found])
        expected[2].append([0] * len(found))
    theirs, scores, _ = ensemble_boxes.weighted_boxes_fusion(
        *expected, weights=weights, iou_thr=NETWORK_IOU, skip_box_thr=0.0
    )
    ours = merge(*given_)
    assert [d.confidence for d in ours] == pytest.approx(sorted(scores, reverse=True), abs=1e-5)
    by_place = sorted(tuple(np.array(box) * [WIDTH, HEIGHT, WIDTH, HEIGHT]) for box in theirs)
    for our, their in zip(sorted(d.box for d in ours), by_place, strict=True):
        # Its boxes are in single precision.
        assert our == pytest.approx(their, abs=0.01)


# One model


@given(detection_lists)
def test_one_model_keeps_all_except_other_names_of_an_object(
    found: list[tuple[str, float, Box]],
) -> None:
    only = found_by(A, *found)
    merged, dropped = merge_frame([only], "front", WIDTH, HEIGHT)
    assert len(merged) + dropped.total() == len(found)
    assert set(merged) <= set(only.detections)
    for one, other in itertools.combinations(merged, 2):
        if {one.name, other.name} == {"car", "van"}:
            assert box_iou(one.box, other.box) <= GROUP_IOU


def test_a_vehicle_has_one_name_but_person_and_bicycle_stay_two() -> None:
    found = merge(
        found_by(A, ("car", 0.8, CAR), ("van", 0.6, moved(CAR, 5)), ("person", 0.7, FAR), ("bicycle", 0.9, FAR))
    )
    assert [d.name for d in found] == ["bicycle", "car", "person"]


# Views of one network


def test_views_of_one_network_are_one_model() -> None:
    whole, tiles = model("whole", network="net"), model("tiles", network="net")
    (only,) = merge(found_by(whole, ("car", 0.6, CAR)), found_by(tiles, ("car", 0.8, moved(CAR, 5))))
    # The box and score are the better view's, unchanged: two views are one opinion.
    assert (only.box, only.score, only.confidence) == (moved(CAR, 5), 0.8, 0.8)
    assert set(only.models) == {"whole.0001", "tiles.0001"}


def test_a_detection_of_one_view_alone_keeps_its_confidence() -> None:
    whole, tiles = model("whole", network="net"), model("tiles", network="net")
    (only,) = merge(found_by(whole), found_by(tiles, ("car", 0.8, CAR)))
    assert only.confidence == pytest.approx(0.8)
    assert only.missed == ("whole.0001",)


# Votes


def test_boxes_are_averaged_by_confidence_and_weight() -> None:
    heavy = model("heavy", weight=2.0)
    (only,) = merge(found_by(heavy, ("car", 0.9, CAR)), found_by(B, ("car", 0.6, moved(CAR, 10))))
    assert only.box == pytest.approx(moved(CAR, 10 * 0.6 / 2.4))
    assert only.confidence == pytest.approx((2 * 0.9 + 0.6) / 3)
    assert [(vote.model, vote.score) for vote in only.votes] == [("heavy.0001", 0.9), ("b.0001", 0.6)]
    assert all(0.8 < vote.iou <= 1.0 for vote in only.votes)


def test_a_miss_is_a_vote_only_within_coverage() -> None:
    (doubted,) = merge(found_by(A, ("car", 0.9, CAR)), found_by(B))
    assert (doubted.confidence, doubted.missed) == (pytest.approx(0.45), ("b.0001",))
    for coverage in (
        Coverage(classes=("person",)),
        Coverage(min_height=150.0),
        Coverage(max_height=50.0),
        Coverage(region=(0.5, 0.0, 1.0, 1.0)),
        Coverage(cameras=("rear",)),
    ):
        (alone,) = merge(found_by(A, ("car", 0.9, CAR)), found_by(model("b", coverage=coverage)))
        assert (alone.confidence, alone.missed) == (pytest.approx(0.9), ())


def test_a_model_that_knows_only_another_name_of_the_group_still_votes() -> None:
    vans = model("vans", coverage=Coverage(classes=("van",)))
    (doubted,) = merge(found_by(A, ("car", 0.9, CAR)), found_by(vans))
    assert doubted.missed == ("vans.0001",)


def test_the_name_within_a_group_has_most_votes() -> None:
    (only,) = merge(found_by(A, ("car", 0.5, CAR)), found_by(B, ("van", 0.7, CAR)), found_by(C, ("car", 0.4, CAR)))
    assert only.name == "car"
    assert {vote.name for vote in only.votes} == {"car", "van"}


def test_a_class_comes_only_from_models_with_authority_over_it() -> None:
    expert = model("expert", authority=("van",))
    found, dropped = merge_frame(
        [found_by(expert, ("car", 0.5, CAR)), found_by(B, ("van", 0.9, CAR), ("van", 0.9, FAR))], "front", WIDTH, HEIGHT
    )
    assert [(d.name, d.models) for d in found] == [("car", ("expert.0001",))]
    assert dropped == {"b.0001 has no authority over the class": 2}


def test_a_miss_without_authority_over_the_class_is_no_vote() -> None:
    expert = model("expert", authority=("person",))
    (alone,) = merge(found_by(expert, ("person", 0.9, CAR)), found_by(B))
    assert (alone.confidence, alone.missed) == (pytest.approx(0.9), ())
    # But another model with authority casts one.
    (doubted,) = merge(found_by(expert, ("person", 0.9, CAR)), found_by(model("other", authority=("person",))))
    assert (doubted.confidence, doubted.missed) == (pytest.approx(0.45), ("other.0001",))


def test_a_useless_model_does_not_lower_calibrated_confidence() -> None:
    useless = model("useless", calibration={name: Calibration(0.0, -4.0, recall=0.02) for name in NAMES})
    with_it = merge(
        found_by(A, ("car", 0.9, CAR)), found_by(B, ("car", 0.8, CAR)), found_by(useless, ("person", 0.99, FAR))
    )
    without = merge(found_by(A, ("car", 0.9, CAR)), found_by(B, ("car", 0.8, CAR)))
    assert with_it[0].confidence == pytest.approx(without[0].confidence, abs=0.01)
    assert with_it[1].confidence < 0.02


# The sum of these depends on their order, and the order of a set of names depends on the process.
MERGE = """
from tests.unit.labelling.test_fusion import CAR, merge, model, found_by
found = zip("abc", (0.810117884707084, 0.5940802502550596, 0.4418539409265414))
print(*(d.confidence.hex() for d in merge(*(found_by(model(name), ("car", score, CAR)) for name, score in found))))
"""


def test_a_merge_is_the_same_in_every_process() -> None:
    merged = {
        subprocess.run(
            [sys.executable, "-c", MERGE],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(2)
    }
    assert len(merged) == 1


@given(detection_lists, detection_lists, detection_lists)
def test_a_merge_loses_nothing_and_is_independent_of_order(
    first: list[tuple[str, float, Box]], second: list[tuple[str, float, Box]], third: list[tuple[str, float, Box]]
) -> None:
    of = [found_by(A, *first), found_by(B, *second), found_by(model("c", network="a"), *third)]
    merged, dropped = merge_frame(of, "front", WIDTH, HEIGHT)
    again, _ = merge_frame(of[::-1], "front", WIDTH, HEIGHT)
    assert [(d.name, d.box, d.confidence) for d in merged] == [
        (d.name, pytest.approx(d.box), pytest.approx(d.confidence)) for d in again
    ]
    votes = sum(len(d.votes) for d in merged)
    assert votes <= len(first) + len(second) + len(third)
    for d in merged:
        assert {vote.model for vote in d.votes} == set(d.models)
        assert not set(d.models) & set(d.missed)
        assert 0.0 <= d.confidence <= max(vote.confidence for vote in d.votes) + 1e-9
    if not dropped:
        assert votes == len(first) + len(second) + len(third)
