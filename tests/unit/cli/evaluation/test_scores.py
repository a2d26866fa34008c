"""Scores are those of another scorer, and do not depend on how frames are batched."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster

from autolabel.labels import Box
from autolabel_cli.evaluation.scores import AT, IOUS, Scores, Tally
from autolabel_cli.models.matching import Guess, average_precisions, interval, judge
from autolabel_cli.models.truth import COUNTS, REGION, Truth

Frames = list[tuple[list[Guess], list[Truth]]]
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


def _scored(frames: Frames, size: int) -> Scores:
    tally = Tally()
    for at in range(0, len(frames), size):
        some = frames[at : at + size]
        tally.add(judge(some, IOUS), judge(some, [AT]))
    return tally.scores()


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_equals_that_of_another_scorer(seed: int) -> None:
    frames = _random_frames(seed)
    theirs = _scored_by_others(frames)
    scores = _scored(frames, len(frames))
    # COCO's IoUs are 0.5, 0.55 and so on.
    assert [scores.ap50, scores.ap70] == pytest.approx([theirs[0], theirs[4]], abs=1e-4)
    assert scores.objects == OBJECTS


@pytest.mark.parametrize("size", [1, 5])
def test_scores_do_not_depend_on_the_batches(size: int) -> None:
    frames = _random_frames(1)
    assert _scored(frames, size) == _scored(frames, len(frames))


def test_the_first_draw_is_the_frames_themselves_and_the_interval_holds_it() -> None:
    frames, tally = _random_frames(1), Tally()
    tally.add(judge(frames, IOUS), judge(frames, [AT]))
    drawn = tally.resampled()
    low, high = interval(drawn)
    assert drawn[0] == pytest.approx(tally.scores().ap50, abs=1e-4)
    assert low < drawn[0] < high


def test_precision_and_recall_are_those_of_all_pre_labels() -> None:
    boxes: list[Box] = [(100.0 * i, 0.0, 100.0 * i + 50.0, 50.0) for i in range(4)]
    guesses = [Guess(boxes[0], 0.9), Guess((0, 100, 50, 150), 0.8), Guess(boxes[1], 0.7), Guess((0, 200, 50, 250), 0.6)]
    scores = _scored([(guesses, [Truth(box, COUNTS) for box in boxes])], 1)
    assert (scores.precision, scores.recall) == (0.5, 0.5)


def test_scores_without_guesses_or_objects_are_zero_or_none() -> None:
    box: Box = (0, 0, 50, 50)
    assert _scored([([], [Truth(box, COUNTS)])], 1) == Scores(1, 0.0, 0.0, None, 0.0)
    assert _scored([([Guess(box, 0.5)], [])], 1) == Scores(0, None, None, 0.0, None)
    assert _scored([([], [])], 1) == Scores(0, None, None, None, None)


def test_a_recall_that_is_one_of_cocos_counts_in_spite_of_rounding() -> None:
    # 29 / 50 is less than the 0.58 of the recalls.
    hits = np.ones((1, 29), bool)
    [precision] = average_precisions(np.linspace(0.9, 0.1, 29), hits, 50, [0.5])
    assert precision == pytest.approx(59 / 101)
