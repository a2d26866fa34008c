"""The quality benchmark scores, orders and resamples frames as independent implementations do."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from hypothesis import assume, given
from hypothesis import strategies as st

from autolabel.labels.detections import Box, Detection
from autolabel.models.catalogue import Model
from autolabel_cli.models.class_calibration import KnownFrame, fit_calibrations
from autolabel_cli.models.kitti import LEVELS, KittiObject
from autolabel_cli.models.matching import Guess, judge
from autolabel_cli.models.truth import COUNTS, IGNORED, REGION, Truth
from tools.quality.controls import random_detections, random_model
from tools.quality.edits import Edits, count_edits
from tools.quality.precision import IOUS, Curve, draw_resamples, interval
from tools.quality.uncertainty import auroc, share_in_first_half

Frames = list[tuple[list[Guess], list[Truth]]]
HARD = LEVELS["hard"]
# A prime, so that only the recalls 0 and 1 are among COCO's 101 recalls, where rounding would decide.
OBJECTS = 97


def _random_frames(seed: int) -> Frames:
    """Make random objects and regions, with guesses near them and anywhere."""
    draw = np.random.default_rng(seed)
    frames: Frames = [([], []) for _ in range(12)]
    for index in range(OBJECTS + 10):
        guesses, truth = frames[draw.integers(len(frames))]
        box = _random_box(draw)
        truth.append(Truth(box, COUNTS if index < OBJECTS else REGION))
        for _ in range(draw.integers(0, 3)):
            moved = np.array(box) + draw.normal(0.0, 4.0, 4)
            guesses.append(Guess((moved[0], moved[1], moved[2], moved[3]), float(draw.uniform())))
        guesses.append(Guess(_random_box(draw), float(draw.uniform())))
    return frames


def _random_box(draw: np.random.Generator) -> Box:
    left, top = draw.uniform(0, 400, 2)
    wide, high = draw.uniform(30, 120, 2)
    return (float(left), float(top), float(left + wide), float(top + high))


def _annotation(image: int, box: Box) -> dict[str, object]:
    x1, y1, x2, y2 = box
    size = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
    return {"image_id": image, "category_id": 1, **size}


def _scored_by_others(frames: Frames) -> list[float]:
    """Compute AP at each IoU threshold with faster-coco-eval."""
    truth: list[dict[str, object]] = []
    guesses: list[dict[str, object]] = []
    for image, (guessed, true) in enumerate(frames):
        truth += [
            _annotation(image, t.box) | {"id": len(truth) + n, "iscrowd": int(t.role == REGION)}
            for n, t in enumerate(true, 1)
        ]
        guesses += [_annotation(image, guess.box) | {"score": guess.confidence} for guess in guessed]
    with contextlib.redirect_stdout(io.StringIO()):
        images = [{"id": image} for image in range(len(frames))]
        known = COCO({"images": images, "categories": [{"id": 1, "name": "car"}], "annotations": truth})
        evaluation = COCOeval_faster(known, known.loadRes(guesses), "bbox")
        evaluation.params.maxDets = [1, 10, 3_000]
        evaluation.evaluate()
        evaluation.accumulate()
    return [float(row.mean()) for row in evaluation.eval["precision"][:, :, 0, 0, 2]]


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_equals_that_of_another_scorer(seed: int) -> None:
    frames = _random_frames(seed)
    verdicts = judge(frames, IOUS)
    each_once = np.ones((1, len(frames)))
    ours = [float(Curve(verdicts, at).average_precision(each_once)[0]) for at in range(len(IOUS))]
    assert ours == pytest.approx(_scored_by_others(frames), abs=1e-6)
    assert ours[0] > ours[-1] > 0.0


def test_a_frame_drawn_twice_counts_as_two_such_frames() -> None:
    frames = _random_frames(1)
    drawn = np.array([[2.0, 0.0, 1.0, *[1.0] * 9]])
    # Slightly less confident, so that there are no ties.
    again = [Guess(guess.box, guess.confidence - 1e-9) for guess in frames[0][0]]
    doubled = judge([frames[0], (again, frames[0][1]), *frames[2:]], IOUS)
    by_weight = Curve(judge(frames, IOUS), 0).average_precision(drawn)[0]
    assert by_weight == pytest.approx(Curve(doubled, 0).average_precision(np.ones((1, 12)))[0], abs=0.01)


def test_resamples_are_repeatable_and_begin_with_the_original_set() -> None:
    assert np.array_equal(draw_resamples(31, 50, seed=4), draw_resamples(31, 50, seed=4))
    assert draw_resamples(31, 50, seed=4)[0].tolist() == [1.0] * 31
    assert (draw_resamples(31, 50, seed=4).sum(axis=1) == 31).all()


def test_an_interval_is_the_middle_of_the_known_values() -> None:
    assert interval(np.array([np.nan, *np.arange(101.0)])) == pytest.approx((2.5, 97.5))


def test_precision_is_zero_without_guesses_and_nan_without_objects() -> None:
    nothing = judge([([], [Truth((0, 0, 50, 50), COUNTS)])], [0.5])
    assert Curve(nothing, 0).average_precision(np.ones((1, 1)))[0] == 0.0
    empty = judge([([Guess((0, 0, 50, 50), 0.5)], [])], [0.5])
    assert np.isnan(Curve(empty, 0).average_precision(np.ones((1, 1)))[0])


def test_precision_at_a_recall_is_that_of_the_first_threshold() -> None:
    boxes: list[Box] = [(100.0 * i, 0.0, 100.0 * i + 50.0, 50.0) for i in range(4)]
    guesses = [Guess(boxes[0], 0.9), Guess((0, 100, 50, 150), 0.8), Guess(boxes[1], 0.7), Guess((0, 200, 50, 250), 0.6)]
    curve = Curve(judge([(guesses, [Truth(box, COUNTS) for box in boxes])], [0.5]), 0)
    once = np.ones((1, 1))
    assert [curve.precision_at(recall, once)[0] for recall in (0.25, 0.5)] == pytest.approx([1.0, 2 / 3])
    assert np.isnan(curve.precision_at(0.75, once)[0])
    assert curve.operating_point() == (0.5, 0.5)


def _detection(name: str, box: Box, confidence: float = 0.9) -> Detection:
    return Detection(name, box, confidence, confidence, name, ("m.0001",))


def _object(kind: str, box: Box, occluded: int = 0) -> KittiObject:
    return KittiObject(kind, 0.0, occluded, box, 1.0)


CAR: Box = (100.0, 100.0, 200.0, 160.0)
ASIDE: Box = (112.0, 100.0, 212.0, 160.0)
ELSEWHERE: Box = (300.0, 100.0, 400.0, 160.0)


@pytest.mark.parametrize(
    ("prelabel", "objects", "edits"),
    [
        ([], [], Edits()),
        ([_detection("car", CAR)], [_object("Car", CAR)], Edits()),
        ([], [_object("Car", CAR)], Edits(add=1)),
        ([_detection("car", CAR)], [], Edits(delete=1)),
        ([_detection("car", ASIDE)], [_object("Car", CAR)], Edits(move=1)),
        ([_detection("truck", ASIDE)], [_object("Car", CAR)], Edits(relabel=1)),
        ([_detection("car", ELSEWHERE)], [_object("Car", CAR)], Edits(add=1, delete=1)),
        ([_detection("car", CAR), _detection("car", ASIDE, 0.99)], [_object("Car", CAR)], Edits(delete=1)),
        ([_detection("car", CAR)], [_object("Car", CAR, occluded=3)], Edits()),
        ([_detection("car", CAR)], [_object("Misc", CAR)], Edits()),
        ([_detection("car", CAR), _detection("car", ASIDE)], [_object("DontCare", (90, 90, 220, 170), -1)], Edits()),
        ([_detection("car", (100, 100, 200, 120))], [], Edits()),
        ([_detection("traffic light", CAR)], [], Edits()),
    ],
    ids=[
        "nothing at all",
        "a good box",
        "a missed object",
        "a false alarm",
        "a box beside the object",
        "another class, in any place",
        "a box too far away",
        "two boxes on one object: the better one stays",
        "an object that does not count",
        "an object without a class",
        "boxes in an unlabelled region",
        "a false alarm too low to count",
        "a class that the set does not label",
    ],
)
def test_edits_turn_a_pre_label_into_the_counted_objects(
    prelabel: Sequence[Detection], objects: Sequence[KittiObject], edits: Edits
) -> None:
    assert count_edits(prelabel, objects, HARD) == edits


def test_a_model_is_calibrated_by_the_hits_of_its_detections() -> None:
    model = Model("m", "0001", "m", "jumpstart-detection", {"car": "car", "person": "person"})
    false_alarms = [_detection("car", ELSEWHERE, 0.9), _detection("car", CAR, 0.6), _detection("person", CAR, 0.5)]
    frames = [KnownFrame(false_alarms, {"car": [Truth(CAR, COUNTS), Truth((0, 0, 9, 9), IGNORED)]})] * 40
    calibrated = fit_calibrations(model, frames).calibration
    # The truth has no persons.
    assert set(calibrated) == {"car"}
    assert calibrated["car"].recall == 1.0
    assert calibrated["car"].confidence(0.9) < 0.7


def test_the_random_model_depends_only_on_its_seed() -> None:
    model = random_model()
    assert random_detections(model, 640, 480, seed=3) == random_detections(model, 640, 480, seed=3)
    assert random_detections(model, 640, 480, seed=3) != random_detections(model, 640, 480, seed=4)
    assert min(d.confidence for d in random_detections(model, 640, 480, seed=3)) >= 0.5


levels = st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9]), st.integers(0, 3)), min_size=2, max_size=12)


@given(levels)
def test_auroc_is_the_share_of_correctly_ordered_pairs(frames: list[tuple[float, int]]) -> None:
    bad = [level for level, edits in frames if edits]
    good = [level for level, edits in frames if not edits]
    assume(bad and good)
    pairs = [1.0 if b > g else 0.5 if b == g else 0.0 for b in bad for g in good]
    found, edits = np.array(frames).T
    both = np.array([np.ones(len(frames)), np.full(len(frames), 2.0)])
    # Drawing every frame twice changes nothing.
    assert auroc(found, (edits > 0).astype(float), both) == pytest.approx([np.mean(pairs)] * 2)


@given(levels)
def test_an_ideal_order_has_most_edits_in_its_first_half(
    frames: list[tuple[float, int]],
) -> None:
    edits = np.array([float(e) for _, e in frames])
    assume(edits.any())
    once = np.ones((1, len(frames)))
    best, worst = (share_in_first_half(levels, edits, once)[0] for levels in (edits, -edits))
    assert best + worst == pytest.approx(1.0)
    assert worst - 1e-9 <= share_in_first_half(np.array(frames)[:, 0], edits, once)[0] <= best + 1e-9
