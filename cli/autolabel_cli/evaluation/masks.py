"""Scores a segmenter's masks on drawn scenes, whose masks are known exactly."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco
from pycocotools.cocoeval import COCOeval

from autolabel.labels import Box, read_bitmap
from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.document import BoxFilling, MaskScores, MasksDocument
from autolabel_cli.evaluation.drawn_scenes import KINDS, DrawnScene, Pixels, draw_scene
from autolabel_cli.evaluation.scores import rounded
from autolabel_cli.models.matching import (
    average_precisions,
    coco_collection,
    draws,
    interval,
    resampled_precisions,
)
from autolabel_cli.models.segmenter_client import Segmenter, Unanswered

MOST_PICTURES = 10_000
# COCO's thresholds of the IoU.
_IOUS = [round(0.5 + 0.05 * step, 2) for step in range(10)]
_AT_50, _AT_75 = _IOUS.index(0.5), _IOUS.index(0.75)
_DIGITS = 3


def evaluate_masks(
    segmenter: Segmenter,
    model: str,
    *,
    pictures: int,
    seed: int,
    moved: float,
    tolerance: int,
    tell: Callable[[int, int], None],
) -> MasksDocument:
    """Ask for the masks of all objects of a set of drawn scenes, and score them.

    `moved`: each side of a box is moved by up to so much of the box's size, as pre-labels are; 0 gives exact boxes.
    `tolerance`: pixels. `tell(count, total)` gets the progress. CommandError if the segmenter fails on a picture.
    """
    random = np.random.default_rng(seed)
    found, filled = _Tally(tolerance), _Tally(tolerance)
    kinds, hidden, drafts, spent = list[str](), list[bool](), list[bool](), 0.0
    for picture in range(pictures):
        tell(picture + 1, pictures)
        # Each seed has scenes of its own.
        scene = draw_scene(seed * MOST_PICTURES + picture)
        width, height = scene.picture.size
        boxes = [_moved(random, one.box, moved, scene) for one in scene.objects]
        began = time.monotonic()
        try:
            masks = segmenter.segment(scene.encoded(), "image/png", boxes, width, height)
        except Unanswered as e:
            raise CommandError(
                f"{model} failed on picture {picture} of seed {seed}: {e}; check it with "
                f"`autolabel models check-segmenter {segmenter.url}`"
            ) from e
        spent += time.monotonic() - began
        for truth, box, mask in zip(scene.objects, boxes, masks, strict=True):
            found.add(picture, truth.mask, read_bitmap(mask.rle.counts, width, height), mask.score)
            filled.add(picture, truth.mask, _fill(box, width, height), 1.0)
            kinds.append(truth.kind)
            hidden.append(truth.hidden)
            drafts.append(mask.draft)
    matched = found.match(pictures)
    precisions = matched.precisions()
    groups = {"all": [True] * len(kinds), **{kind: [one == kind for one in kinds] for kind in KINDS}}
    groups |= {"free": [not one for one in hidden], "hidden": hidden}
    return MasksDocument(
        model,
        pictures,
        seed,
        moved,
        tolerance,
        bool(drafts) and all(drafts),
        rounded(float(np.mean(precisions))),
        rounded(precisions[_AT_50]),
        rounded(precisions[_AT_75]),
        matched.interval_of_50(),
        round(spent / max(1, len(kinds)), _DIGITS),
        {name: found.scores(chosen) for name, chosen in groups.items()},
        BoxFilling(rounded(float(np.mean(filled.match(pictures).precisions()))), filled.scores(groups["all"])),
    )


@dataclass
class _Tally:
    """What is kept of all masks: an encoding of each and of the true one, and how well they agree."""

    tolerance: int
    ious: list[float] = field(default_factory=list)
    boundaries: list[float] = field(default_factory=list)
    # `Any`: the fields of an annotation of COCO have different types.
    _truth: list[dict[str, Any]] = field(default_factory=list)
    _guesses: list[dict[str, Any]] = field(default_factory=list)

    def add(self, picture: int, truth: Pixels, mask: Pixels, score: float) -> None:
        """Add the mask [height, width] of one box, and the true one of its object."""
        self.ious.append(float(np.sum(mask & truth) / np.sum(mask | truth)))
        self.boundaries.append(boundary_f(mask, truth, self.tolerance))
        # Ids begin at 1, since pycocotools takes a match with id 0 as no match.
        number = len(self.ious)
        self._truth.append(_annotation(number, picture, truth))
        self._guesses.append(_annotation(number, picture, mask) | {"score": score})

    def scores(self, chosen: Sequence[bool]) -> MaskScores:
        """Compute the means of the chosen [n] masks."""
        count = sum(chosen)
        if not count:
            return MaskScores(0, None, None, None)
        ious, boundaries = np.array(self.ious)[chosen], np.array(self.boundaries)[chosen]
        means = ious.mean(), (ious >= _IOUS[_AT_50]).mean(), boundaries.mean()
        return MaskScores(count, *(rounded(float(mean)) for mean in means))

    def match(self, pictures: int) -> _Matched:
        """Match masks with true ones as COCO does: the best score of a picture first, each true mask once."""
        evaluation = COCOeval(iouType="segm")
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.cocoGt = coco_collection(pictures, self._truth)
            evaluation.cocoDt = coco_collection(pictures, self._guesses)
            params = evaluation.params
            params.imgIds, params.catIds, params.iouThrs = list(range(pictures)), [1], np.asarray(_IOUS)
            params.areaRng, params.areaRngLbl = params.areaRng[:1], params.areaRngLbl[:1]
            evaluation.evaluate()
        matches = [found for found in evaluation.evalImgs if found]
        hits = [np.asarray(of["dtMatches"]) > 0 for of in matches]
        return _Matched(
            np.concatenate([np.zeros(0), *(of["dtScores"] for of in matches)]),
            np.concatenate([np.zeros((len(_IOUS), 0), bool), *hits], axis=1),
            np.concatenate([np.zeros(0, np.intp), *(np.full(len(of["dtScores"]), of["image_id"]) for of in matches)]),
            np.bincount([of["image_id"] for of in self._truth], minlength=pictures).astype(np.float64),
        )


class _Matched(NamedTuple):
    """COCO's matches of all masks: `scores` [n], `hits` [thresholds, n], `places` [n] and `objects` [pictures]."""

    scores: npt.NDArray[np.float64]
    hits: npt.NDArray[np.bool_]
    places: npt.NDArray[np.intp]
    objects: npt.NDArray[np.float64]

    def precisions(self) -> list[float]:
        """Compute the average precision at each of _IOUS; NaN without objects."""
        return average_precisions(self.scores, self.hits, int(self.objects.sum()), _IOUS)

    def interval_of_50(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the average precision at an IoU of 0.5, over draws of the pictures."""
        if not self.objects.any():
            return None
        weights = draws(len(self.objects))
        drawn = resampled_precisions(self.scores, self.hits[_AT_50], self.places, self.objects, weights, _IOUS[_AT_50])
        low, high = interval(drawn)
        return round(low, _DIGITS), round(high, _DIGITS)


# `Any`: as above.
def _annotation(number: int, picture: int, mask: Pixels) -> dict[str, Any]:
    rle = coco.encode(np.asfortranarray(mask, np.uint8))
    kept = {"segmentation": rle, "area": float(mask.sum()), "bbox": coco.toBbox(rle).tolist(), "iscrowd": 0}
    return {"id": number, "image_id": picture, "category_id": 1, **kept}


def boundary_f(one: Pixels, other: Pixels, tolerance: int) -> float:
    """Compute the boundary F of two masks [height, width]: the harmonic mean of boundary precision and recall.

    A pixel of one boundary is right where the other boundary is at most `tolerance` pixels away. The border of the
    picture does not count. Two masks without a boundary agree. Source: Perazzi et al., CVPR 2016 (DAVIS), section 4.
    """
    first, second = _boundary(one), _boundary(other)
    if not first.any() or not second.any():
        return float(first.any() == second.any())
    precision = np.mean(_grown(second, tolerance)[first])
    recall = np.mean(_grown(first, tolerance)[second])
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _boundary(mask: Pixels) -> Pixels:
    """Return the pixels of a mask with a neighbour outside it, in their row or column."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _grown(pixels: Pixels, by: int) -> Pixels:
    """Return all pixels that are at most `by` pixels from those given."""
    height, width = pixels.shape
    padded, grown = np.pad(pixels, by), np.zeros_like(pixels)
    for down in range(-by, by + 1):
        for across in range(-by, by + 1):
            if down * down + across * across <= by * by:
                grown |= padded[by + down : by + down + height, by + across : by + across + width]
    return grown


def _moved(random: np.random.Generator, box: Box, share: float, scene: DrawnScene) -> Box:
    """Move each side of a box by up to a share of the box's size, inside the scene; a pixel or more is left of it."""
    width, height = scene.picture.size
    x1, y1, x2, y2 = box
    across, down = x2 - x1, y2 - y1
    by = random.uniform(-share, share, 4)
    left, right = max(0.0, x1 + by[0] * across), min(float(width), x2 + by[2] * across)
    top, bottom = max(0.0, y1 + by[1] * down), min(float(height), y2 + by[3] * down)
    return (float(left), float(top), float(max(right, left + 1.0)), float(max(bottom, top + 1.0)))


def _fill(box: Box, width: int, height: int) -> Pixels:
    left, top, right, bottom = (round(side) for side in box)
    pixels = np.zeros((height, width), bool)
    pixels[top:bottom, left:right] = True
    return pixels
