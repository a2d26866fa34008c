"""How likely it is that a person would change a frame's pre-label, and why."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labelling.model_detections import Seen
from autolabel.labelling.prelabel import LEAST_GHOST, label_frame
from autolabel.labelling.uncertainty import (
    FAILED,
    FLOOR,
    GHOST,
    MAX_GHOSTS,
    MISSED,
    NAME,
    PLACE,
    UNSURE,
    Doubt,
    as_attribute,
    frame_doubt,
    frame_level,
)
from autolabel.labels.detections import Box, Detection
from autolabel.labels.manifest import MAX_ATTRIBUTE
from autolabel.models.catalogue import Model
from autolabel.models.coverage import Reach
from tests.fakes.answers import DETECTOR

WIDTH, HEIGHT = 1_000, 500
LABELS = frozenset({"car", "van", "person", "bicycle", "rider"})
CAR: Box = (100.0, 100.0, 200.0, 200.0)
FAR: Box = (700.0, 100.0, 800.0, 200.0)
levels = st.lists(st.floats(0.0, 1.0), max_size=8)


def model(name: str, **changes: object) -> Model:
    return msgspec.structs.replace(DETECTOR, name=name, classes={n: n for n in sorted(LABELS)}, **changes)


A, B, C = model("a"), model("b"), model("c")


def seen(one: Model, *found: tuple[str, float, Box]) -> Seen:
    return Seen(one, [Detection(name, box, score, score, name, (one.id,)) for name, score, box in found])


def doubt(*of: Seen, failed: tuple[Model, ...] = (), ego_mask: tuple[tuple[float, float], ...] | None = None) -> Doubt:
    labels = label_frame(of, "front", WIDTH, HEIGHT, labels=LABELS, ego_mask=ego_mask)
    return frame_doubt(labels, [one.model for one in of] + list(failed), len(failed))


def moved(box: Box, x: float) -> Box:
    return box[0] + x, box[1], box[2] + x, box[3]


def test_an_empty_frame_is_sure() -> None:
    assert doubt(seen(A)) == Doubt(0.0, (), (), 0.0, ())
    assert doubt(seen(A), seen(B)) == Doubt(0.0, (), (), 0.0, ())


def test_a_box_near_the_threshold_is_in_doubt_and_a_certain_one_is_not() -> None:
    found = doubt(seen(A, ("car", 0.99, CAR), ("car", 0.35, FAR)))
    assert found.boxes == (0.01, 0.65)
    assert found.why == (UNSURE,)
    assert found.level == pytest.approx(1 - 0.99 * 0.35)


def test_a_candidate_under_the_threshold_is_a_doubt_only_above_the_floor() -> None:
    above, under = doubt(seen(A, ("car", 0.2, CAR))), doubt(seen(A, ("car", FLOOR - 0.01, CAR)))
    assert (above.level, above.why, above.boxes) == (0.2, (GHOST,), ())
    # Not counted, and shown to a person all the same.
    assert (under.level, under.why, len(under.ghosts)) == (0.0, (), 1)
    assert not doubt(seen(A, ("car", LEAST_GHOST - 0.01, CAR))).ghosts


def test_a_candidate_at_the_floor_is_a_doubt() -> None:
    assert (frame_level([], [FLOOR]), frame_level([], [FLOOR - 0.01])) == (FLOOR, 0.0)


def test_what_would_not_count_at_any_confidence_is_no_doubt() -> None:
    kite = doubt(seen(model("kites"), ("traffic light", 0.2, CAR)))
    hood = doubt(seen(A, ("car", 0.2, CAR)), ego_mask=((0, 0), (300, 0), (300, 300), (0, 300)))
    assert kite.ghosts == hood.ghosts == ()


def test_models_that_disagree_in_place_are_a_doubt() -> None:
    # The merged box is that of the stronger, but for a hair.
    strong = model("strong", weight=1e9)
    alike = doubt(seen(strong, ("car", 1.0, CAR)), seen(B, ("car", 1.0, moved(CAR, 4))))
    apart = doubt(seen(strong, ("car", 1.0, CAR)), seen(B, ("car", 1.0, moved(CAR, 25))))
    assert alike.level == 0.0
    # An IoU of 75/125, where two people's boxes have 0.88.
    assert (apart.boxes, apart.why) == ((round(1 - 0.6 / 0.88, 2),), (PLACE,))


def test_models_that_disagree_in_class_are_a_doubt() -> None:
    found = doubt(seen(A, ("car", 1.0, CAR)), seen(B, ("car", 1.0, CAR)), seen(C, ("van", 1.0, CAR)))
    assert (found.boxes, found.why) == ((0.33,), (NAME,))


def test_what_a_model_within_reach_did_not_see_is_a_doubt() -> None:
    # Its word is nearly nothing, so that the confidence hides that it did not see the car.
    deaf = model("deaf", weight=0.01)
    found = doubt(seen(A, ("car", 0.99, CAR)), seen(deaf))
    assert (found.boxes, found.why) == ((0.5,), (MISSED,))


def test_silence_beyond_reach_and_of_another_view_is_no_doubt() -> None:
    short = model("short", reach=Reach(min_height=300.0))
    view = model("view", network="a")
    assert doubt(seen(A, ("car", 1.0, CAR)), seen(short)).level == 0.0
    assert doubt(seen(A, ("car", 1.0, CAR)), seen(view)).level == 0.0


def test_a_rider_whom_models_call_a_person_is_no_disagreement() -> None:
    bicycle: Box = (110.0, 150.0, 190.0, 230.0)
    found = doubt(*(seen(one, ("person", 1.0, CAR), ("bicycle", 1.0, bicycle)) for one in (A, B)))
    assert (found.level, len(found.boxes)) == (0.0, 2)


def test_a_model_that_failed_leaves_the_frame_in_doubt() -> None:
    found = doubt(seen(A, ("car", 1.0, CAR)), failed=(B,))
    assert (found.level, found.failed, found.why) == (0.5, 0.5, (FAILED,))
    assert doubt(failed=(A, B)).level == 1.0


def test_reasons_are_told_strongest_first() -> None:
    found = doubt(seen(A, ("car", 0.8, CAR), ("car", 0.25, FAR)), failed=(B, C))
    assert found.why == (FAILED, GHOST, UNSURE)


def test_the_attribute_has_whole_pixels_and_fits_a_line() -> None:
    places = itertools.product(range(0, 990, 10), range(0, 490, 100))
    many = [("bicycle", 0.29 - 0.0001 * n, (x + 0.4, y + 0.4, x + 8.6, y + 98.6)) for n, (x, y) in enumerate(places)]
    found = doubt(seen(A, ("car", 0.987654, CAR), *many))
    attribute = msgspec.to_builtins(as_attribute(found, WIDTH, HEIGHT))
    assert len(attribute["ghosts"]) == MAX_GHOSTS
    assert attribute["ghosts"][0] == {
        "label": "bicycle", "left": 0, "top": 0, "width": 9, "height": 99, "confidence": 0.29,
    }  # fmt: skip
    assert list(attribute["boxes"]) == [0.01]
    assert len(msgspec.json.encode(attribute)) < MAX_ATTRIBUTE


@given(levels, levels, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_more_doubt_about_anything_is_no_less_about_the_frame(
    boxes: list[float], ghosts: list[float], failed: float, more: float
) -> None:
    level = frame_level(boxes, ghosts, failed)
    assert 0.0 <= level <= 1.0
    assert level >= max([*boxes, failed, *(ghost for ghost in ghosts if ghost >= FLOOR)]) - 1e-4
    for worse in (
        frame_level([*boxes, more], ghosts, failed),
        frame_level(boxes, [*ghosts, more], failed),
        frame_level(boxes, ghosts, max(failed, more)),
        frame_level(boxes, ghosts, failed, floor=FLOOR / 2),
    ):
        assert worse >= level - 1e-9
    assert frame_level(boxes[::-1], ghosts[::-1], failed) == pytest.approx(level, abs=1e-4)


@given(st.lists(st.tuples(st.sampled_from(["car", "van", "person"]), st.floats(0.06, 1.0)), max_size=6))
def test_the_level_can_be_told_again_from_what_is_recorded(found: list[tuple[str, float]]) -> None:
    boxes = [(name, score, moved(CAR, 130.0 * place)) for place, (name, score) in enumerate(found)]
    one = doubt(seen(A, *boxes), seen(B, *boxes[::2]), failed=(C,))
    assert frame_level(one.boxes, one.ghost_levels, one.failed) == one.level


def test_the_doubt_about_one_models_frames_does_without_numpy() -> None:
    code = (
        "import sys; from autolabel.labelling.uncertainty import frame_doubt\n"
        "from autolabel.labelling.prelabel import label_frame\n"
        "labels = label_frame([], 'front', 9, 9, labels=frozenset(), ego_mask=None)\n"
        "frame_doubt(labels, [], 0); sys.exit('numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": ":".join(sys.path)})
