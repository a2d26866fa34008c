"""Detections held against what is true: which found an object, which found nothing, which nobody counts.

The matching is COCO's, by pycocotools: most confident first, each object once, what is ignored only when nothing that
counts fits. A region takes any number of detections, by the share of the detection that lies in it.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from autolabel.labels.detections import Box
from autolabel_cli.models.truth import COUNTS, REGION, Truth

# Detectors give some hundred of a frame; COCO's own limit of 100 would hide false alarms.
_MOST_DETECTIONS = 3_000


class Guess(NamedTuple):
    """What a model or a merge of models says is there."""

    box: Box
    confidence: float


class Verdict(NamedTuple):
    """One frame's guesses, most confident first, at one or more IoU thresholds.

    `confidences` [n]; `hits` and `ignored` [thresholds, n]; `objects`: how many count. Places in the frame's own lists:
    `guesses` [n], and `truths` [thresholds, n] of what each guess matched, -1 for nothing.
    """

    confidences: npt.NDArray[np.float64]
    hits: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    objects: int
    guesses: npt.NDArray[np.intp]
    truths: npt.NDArray[np.intp]


def judge(
    frames: Sequence[tuple[Sequence[Guess], Sequence[Truth]]], ious: Sequence[float], min_height: float = 0.0
) -> list[Verdict]:
    """A verdict for each frame. A guess lower than `min_height` pixels that matches nothing is ignored."""
    evaluation = COCOeval(iouType="bbox")
    truth, guesses = list[dict[str, Any]](), list[dict[str, Any]]()
    starts = list[tuple[int, int]]()
    for image, (guessed, true) in enumerate(frames):
        starts.append((len(guesses), len(truth)))
        for box, standing in true:
            # pycocotools knows two kinds of what is ignored: crowds, and what is outside its range of areas.
            area = 1.0 if standing == COUNTS else -1.0
            truth.append(_annotation(len(truth), image, box, area) | {"iscrowd": int(standing == REGION)})
        for box, confidence in guessed:
            area = 1.0 if box[3] - box[1] >= min_height else -1.0
            guesses.append(_annotation(len(guesses), image, box, area) | {"score": confidence})
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.cocoGt, evaluation.cocoDt = _collection(len(frames), truth), _collection(len(frames), guesses)
        evaluation.params.imgIds = list(range(len(frames)))
        evaluation.params.catIds = [1]
        evaluation.params.iouThrs = np.asarray(ious)
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0.0, 2.0]], ["all"]
        evaluation.params.maxDets = [_MOST_DETECTIONS]
        evaluation.evaluate()
    return [_verdict(found, len(ious), *start) for found, start in zip(evaluation.evalImgs, starts, strict=True)]


def _annotation(index: int, image: int, box: Box, area: float) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    # Ids from 1: pycocotools takes a match with 0 for none.
    return {"id": index + 1, "image_id": image, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": area}


def _collection(images: int, annotations: list[dict[str, Any]]) -> COCO:
    collection = COCO()
    collection.dataset = {
        "images": [{"id": image} for image in range(images)],
        "categories": [{"id": 1}],
        "annotations": annotations,
    }
    collection.createIndex()
    return collection


def _verdict(found: dict[str, Any] | None, thresholds: int, first_guess: int, first_truth: int) -> Verdict:
    if found is None:
        nothing = np.zeros((thresholds, 0), bool)
        nobody = np.zeros((thresholds, 0), np.intp)
        return Verdict(np.zeros(0), nothing, nothing, 0, nobody[0], nobody)
    ignored = np.asarray(found["dtIgnore"], bool)
    matches = np.asarray(found["dtMatches"]).astype(np.intp)
    hits = (matches > 0) & ~ignored
    objects = int(np.count_nonzero(np.asarray(found["gtIgnore"]) == 0))
    guesses = np.asarray(found["dtIds"], np.intp) - 1 - first_guess
    truths = np.where(matches > 0, matches - 1 - first_truth, -1)
    return Verdict(np.asarray(found["dtScores"], np.float64), hits, ignored, objects, guesses, truths)
