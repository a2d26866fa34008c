"""Uncertainty: how likely it is that a person would change a frame's pre-label, and why."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labelling.model_detections import ModelDetections
from autolabel.labelling.prelabel import LEAST_CANDIDATE, label_frame
from autolabel.labelling.uncertainty import (
    CANDIDATE,
    FAILED,
    FLOOR,
    MAX_CANDIDATES,
    MISSED,
    NAME,
    PLACE,
    UNSURE,
    Uncertainty,
    as_attribute,
    frame_level,
    frame_uncertainty,
)
from autolabel.labels.detections import Box, Detection
from autolabel.labels.manifest import MAX_ATTRIBUTE
from autolabel.models.catalogue import Model
from autolabel.models.coverage import Coverage
from tests.fakes.answers import DETECTOR

WIDTH, HEIGHT = 1_000, 500
LABELS = frozenset({"car", "van", "person", "bicycle", "rider"})
CAR: Box = (100.0, 100.0, 200.0, 200.0)
FAR: Box = (700.0, 100.0, 800.0, 200.0)
levels = st.lists(st.floats(0.0, 1.0), max_size=8)


def model(name: str, **changes: object) -> Model:
    return msgspec.structs.replace(DETECTOR, name=name, classes={n: n for n in sorted(LABELS)}, **changes)


A, B, C = model("a"), model("b"), model("c")


def found_by(one: Model, *found: tuple[str, float, Box]) -> ModelDetections:
    return ModelDetections(one, [Detection(name, box, score, score, name, (one.id,)) for name, score, box in found])


def uncertainty(
    *of: ModelDetections, failed: tuple[Model, ...] = (), ego_mask: tuple[tuple[float, float], ...] | None = None
) -> Uncertainty:
    labels = label_frame(of, "front", WIDTH, HEIGHT, labels=LABELS, ego_mask=ego_mask)
    return frame_uncertainty(labels, [one.model for one in of] + list(failed), len(failed))


def moved(box: Box, x: float) -> Box:
    return box[0] + x, box[1], box[2] + x, box[3]


def test_an_empty_frame_is_certain() -> None:
    assert uncertainty(found_by(A)) == Uncertainty(0.0, (), (), 0.0, ())
    assert uncertainty(found_by(A), found_by(B)) == Uncertainty(0.0, (), (), 0.0, ())


def test_a_box_with_low_confidence_is_uncertain() -> None:
    found = uncertainty(found_by(A, ("car", 0.99, CAR), ("car", 0.35, FAR)))
    assert found.boxes == (0.01, 0.65)
    assert found.why == (UNSURE,)
    assert found.level == pytest.approx(1 - 0.99 * 0.35)


def test_a_candidate_below_the_floor_adds_no_uncertainty() -> None:
    above, under = uncertainty(found_by(A, ("car", 0.2, CAR))), uncertainty(found_by(A, ("car", FLOOR - 0.01, CAR)))
    assert (above.level, above.why, above.boxes) == (0.2, (CANDIDATE,), ())
    # Below the floor it does not count, but reviewers see it.
    assert (under.level, under.why, len(under.candidates)) == (0.0, (), 1)
    assert not uncertainty(found_by(A, ("car", LEAST_CANDIDATE - 0.01, CAR))).candidates


def test_a_candidate_at_the_floor_adds_uncertainty() -> None:
    assert (frame_level([], [FLOOR]), frame_level([], [FLOOR - 0.01])) == (FLOOR, 0.0)


def test_a_detection_that_can_never_count_adds_no_uncertainty() -> None:
    kite = uncertainty(found_by(model("kites"), ("traffic light", 0.2, CAR)))
    hood = uncertainty(found_by(A, ("car", 0.2, CAR)), ego_mask=((0, 0), (300, 0), (300, 300), (0, 300)))
    assert kite.candidates == hood.candidates == ()


def test_models_that_disagree_in_place_add_uncertainty() -> None:
    # The merged box is almost the stronger model's box.
    strong = model("strong", weight=1e9)
    alike = uncertainty(found_by(strong, ("car", 1.0, CAR)), found_by(B, ("car", 1.0, moved(CAR, 4))))
    apart = uncertainty(found_by(strong, ("car", 1.0, CAR)), found_by(B, ("car", 1.0, moved(CAR, 25))))
    assert alike.level == 0.0
    # An IoU of 75/125; two people's boxes have 0.88.
    assert (apart.boxes, apart.why) == ((round(1 - 0.6 / 0.88, 2),), (PLACE,))


def test_models_that_disagree_in_class_add_uncertainty() -> None:
    found = uncertainty(found_by(A, ("car", 1.0, CAR)), found_by(B, ("car", 1.0, CAR)), found_by(C, ("van", 1.0, CAR)))
    assert (found.boxes, found.why) == ((0.33,), (NAME,))


def test_a_miss_within_coverage_adds_uncertainty() -> None:
    # Its weight is almost 0, so the confidence does not show that it missed the car.
    light = model("light", weight=0.01)
    found = uncertainty(found_by(A, ("car", 0.99, CAR)), found_by(light))
    assert (found.boxes, found.why) == ((0.5,), (MISSED,))


def test_a_miss_outside_coverage_or_by_a_view_adds_no_uncertainty() -> None:
    short = model("short", coverage=Coverage(min_height=300.0))
    view = model("view", network="a")
    assert uncertainty(found_by(A, ("car", 1.0, CAR)), found_by(short)).level == 0.0
    assert uncertainty(found_by(A, ("car", 1.0, CAR)), found_by(view)).level == 0.0


def test_a_person_renamed_to_rider_is_not_a_disagreement() -> None:
    bicycle: Box = (110.0, 150.0, 190.0, 230.0)
    found = uncertainty(*(found_by(one, ("person", 1.0, CAR), ("bicycle", 1.0, bicycle)) for one in (A, B)))
    assert (found.level, len(found.boxes)) == (0.0, 2)


def test_a_failed_model_makes_the_frame_uncertain() -> None:
    found = uncertainty(found_by(A, ("car", 1.0, CAR)), failed=(B,))
    assert (found.level, found.failed, found.why) == (0.5, 0.5, (FAILED,))
    assert uncertainty(failed=(A, B)).level == 1.0


def test_reasons_are_ordered_strongest_first() -> None:
    found = uncertainty(found_by(A, ("car", 0.8, CAR), ("car", 0.25, FAR)), failed=(B, C))
    assert found.why == (FAILED, CANDIDATE, UNSURE)


def test_the_attribute_has_whole_pixels_and_fits_a_line() -> None:
    places = itertools.product(range(0, 990, 10), range(0, 490, 100))
    many = [("bicycle", 0.29 - 0.0001 * n, (x + 0.4, y + 0.4, x + 8.6, y + 98.6)) for n, (x, y) in enumerate(places)]
    bicycles = msgspec.structs.replace(A, thresholds={"bicycle": 0.4})
    found = uncertainty(found_by(bicycles, ("car", 0.987654, CAR), *many))
    labels = label_frame([found_by(bicycles, *many)], "front", WIDTH, HEIGHT, labels=LABELS, ego_mask=None)
    attribute = msgspec.to_builtins(as_attribute(found, labels.thresholds, WIDTH, HEIGHT))
    assert len(attribute["ghosts"]) == MAX_CANDIDATES
    assert attribute["ghosts"][0] == {
        "label": "bicycle", "left": 0, "top": 0, "width": 9, "height": 99, "confidence": 0.29, "threshold": 0.4,
    }  # fmt: skip
    assert list(attribute["boxes"]) == [0.01]
    assert len(msgspec.json.encode(attribute)) < MAX_ATTRIBUTE


@given(levels, levels, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_more_uncertainty_of_any_part_never_lowers_the_frames_level(
    boxes: list[float], candidates: list[float], failed: float, more: float
) -> None:
    level = frame_level(boxes, candidates, failed)
    assert 0.0 <= level <= 1.0
    assert level >= max([*boxes, failed, *(candidate for candidate in candidates if candidate >= FLOOR)]) - 1e-4
    for worse in (
        frame_level([*boxes, more], candidates, failed),
        frame_level(boxes, [*candidates, more], failed),
        frame_level(boxes, candidates, max(failed, more)),
        frame_level(boxes, candidates, failed, floor=FLOOR / 2),
    ):
        assert worse >= level - 1e-9
    assert frame_level(boxes[::-1], candidates[::-1], failed) == pytest.approx(level, abs=1e-4)


@given(st.lists(st.tuples(st.sampled_from(["car", "van", "person"]), st.floats(0.06, 1.0)), max_size=6))
def test_the_level_can_be_computed_from_the_record(found: list[tuple[str, float]]) -> None:
    boxes = [(name, score, moved(CAR, 130.0 * place)) for place, (name, score) in enumerate(found)]
    one = uncertainty(found_by(A, *boxes), found_by(B, *boxes[::2]), failed=(C,))
    assert frame_level(one.boxes, one.candidate_levels, one.failed) == one.level


def test_the_uncertainty_of_one_models_frame_loads_no_numpy() -> None:
    code = (
        "import sys; from autolabel.labelling.uncertainty import frame_uncertainty\n"
        "from autolabel.labelling.prelabel import label_frame\n"
        "labels = label_frame([], 'front', 9, 9, labels=frozenset(), ego_mask=None)\n"
        "frame_uncertainty(labels, [], 0); sys.exit('numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": ":".join(sys.path)})
