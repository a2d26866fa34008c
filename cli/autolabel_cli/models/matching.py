"""Matching of detections with true objects, and the average precision that follows from it.

The matching is that of COCO, by pycocotools: the most confident detection first, each object once, and an ignored
object only when none that counts fits. A region takes any number of detections, by the share of each inside it.
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

from autolabel.labels import Box
from autolabel_cli.models.truth import COUNTS, REGION, Truth

# Detectors give some hundred detections for a frame. COCO's limit of 100 would hide false alarms.
_MOST_DETECTIONS = 3_000
_ROUNDING = 1e-12
# Draws of an interval, the same in each command.
RESAMPLES, _SEED = 200, 0


class Guess(NamedTuple):
    """Box of a model or of merged models, to be matched (xyxy pixels)."""

    box: Box
    confidence: float


class Verdict(NamedTuple):
    """Matches of one frame's guesses, most confident first, at one or more IoU thresholds.

    `confidences` [n]; `hits` and `ignored` [thresholds, n]; `objects`: number of objects that count. Indices into the
    frame's own lists: `guesses` [n], and `truths` [thresholds, n] for the match of each guess, -1 for none.
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
    """Match each frame. A guess lower than `min_height` pixels that matches nothing is ignored."""
    evaluation = COCOeval(iouType="bbox")
    truth, guesses = list[dict[str, Any]](), list[dict[str, Any]]()
    starts = list[tuple[int, int]]()
    for image, (guessed, true) in enumerate(frames):
        starts.append((len(guesses), len(truth)))
        for box, role in true:
            # pycocotools ignores two kinds of objects: crowds, and those outside its range of areas.
            area = 1.0 if role == COUNTS else -1.0
            truth.append(_annotation(len(truth), image, box, area) | {"iscrowd": int(role == REGION)})
        for box, confidence in guessed:
            area = 1.0 if box[3] - box[1] >= min_height else -1.0
            guesses.append(_annotation(len(guesses), image, box, area) | {"score": confidence})
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.cocoGt, evaluation.cocoDt = (
            coco_collection(len(frames), truth),
            coco_collection(len(frames), guesses),
        )
        evaluation.params.imgIds = list(range(len(frames)))
        evaluation.params.catIds = [1]
        evaluation.params.iouThrs = np.asarray(ious)
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0.0, 2.0]], ["all"]
        evaluation.params.maxDets = [_MOST_DETECTIONS]
        evaluation.evaluate()
    return [_verdict(found, len(ious), *start) for found, start in zip(evaluation.evalImgs, starts, strict=True)]


def average_precisions(
    confidences: npt.NDArray[np.float64], hits: npt.NDArray[np.bool_], objects: int, ious: Sequence[float]
) -> list[float]:
    """Compute COCO's average precision at each IoU threshold, from guesses that are not ignored.

    `confidences` [n]; `hits` [thresholds, n]; `objects`: number of objects that count. NaN where no object counts.
    """
    evaluation = COCOeval(iouType="bbox")
    params = evaluation.params
    params.imgIds, params.catIds, params.iouThrs = [0], [1], np.asarray(ious)
    params.areaRng, params.areaRngLbl, params.maxDets = [[0.0, 2.0]], ["all"], [max(1, len(confidences))]
    # Rounding would decide where a recall of the curve equals one of COCO's 101: 29 / 50 is less than its 0.58.
    params.recThrs = np.asarray(params.recThrs) - _ROUNDING
    # All frames as one image: accumulate() pools the images anyway, and this takes a hundredth of the memory.
    evaluation._paramsEval = params
    evaluation.evalImgs = [
        {
            "dtScores": confidences,
            "dtMatches": hits,
            "dtIgnore": np.zeros_like(hits),
            "gtIgnore": np.zeros(objects, bool),
        }
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    # pycocotools gives -1 where no object counts.
    return [float(at.mean()) if objects else np.nan for at in evaluation.eval["precision"][:, :, 0, 0, 0]]


def resampled_precisions(
    confidences: npt.NDArray[np.float64],
    hits: npt.NDArray[np.bool_],
    places: npt.NDArray[np.intp],
    objects: npt.NDArray[np.float64],
    weights: npt.NDArray[np.intp],
    iou: float,
) -> npt.NDArray[np.float64]:
    """Compute the average precision [draws] of guesses [n] whose blocks are drawn again and again.

    `places` [n]: the block of each guess. `objects` [blocks]: their number that counts. `weights` [draws, blocks]: how
    often each draw has a block. NaN for a draw without objects.
    """
    found = []
    for drawn in weights:
        chosen = np.repeat(np.arange(len(hits)), drawn[places])
        found += average_precisions(confidences[chosen], hits[None, chosen], int(drawn @ objects), [iou])
    return np.array(found)


def draws(blocks: int) -> npt.NDArray[np.intp]:
    """Draw blocks with replacement: how often each draw has a block. The first draw is the blocks themselves."""
    random = np.random.default_rng(_SEED)
    drawn = random.multinomial(blocks, np.full(blocks, 1 / blocks), RESAMPLES)
    return np.vstack([np.ones(blocks, np.intp), drawn])


def interval(drawn: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of a figure [draws], without its first draw; NaN draws do not count."""
    low, high = np.nanpercentile(drawn[1:], (2.5, 97.5))
    return float(low), float(high)


# `Any`, here and below: the fields of an annotation of COCO have different types.
def _annotation(index: int, image: int, box: Box, area: float) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    # Ids begin at 1, since pycocotools takes a match with id 0 as no match.
    return {"id": index + 1, "image_id": image, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": area}


def coco_collection(images: int, annotations: list[dict[str, Any]]) -> COCO:
    """Collect annotations of one category, in `images` images with the ids from 0."""
    collection = COCO()
    collection.dataset = {
        # pycocotools reads a height and width for each mask, and needs them of polygons only.
        "images": [{"id": image, "height": 0, "width": 0} for image in range(images)],
        "categories": [{"id": 1}],
        "annotations": annotations,
    }
    collection.createIndex()
    return collection


def _verdict(found: dict[str, Any] | None, thresholds: int, first_guess: int, first_truth: int) -> Verdict:
    if found is None:
        no_hits = np.zeros((thresholds, 0), bool)
        no_matches = np.zeros((thresholds, 0), np.intp)
        return Verdict(np.zeros(0), no_hits, no_hits, 0, no_matches[0], no_matches)
    ignored = np.asarray(found["dtIgnore"], bool)
    matches = np.asarray(found["dtMatches"]).astype(np.intp)
    hits = (matches > 0) & ~ignored
    objects = int(np.count_nonzero(np.asarray(found["gtIgnore"]) == 0))
    guesses = np.asarray(found["dtIds"], np.intp) - 1 - first_guess
    truths = np.where(matches > 0, matches - 1 - first_truth, -1)
    return Verdict(np.asarray(found["dtScores"], np.float64), hits, ignored, objects, guesses, truths)
