"""Serves GrabCut as a promptable segmenter: `python -m models.servers.grabcut --port N`.

GrabCut (Rother, Kolmogorov, Blake, SIGGRAPH 2004) parts the colours of a box from those around it, and knows nothing of
objects. It stands in for a segmenter where no weights of one can be installed: its masks are drafts for a person.
"""

from __future__ import annotations

import math
import threading

import cv2
import numpy as np
import numpy.typing as npt

from models.servers.container import JSON, Reply, Request, RequestRefused, run
from models.servers.images import Image
from models.servers.prompts import Box, FoundMask, masks_reply, read_prompted

# Frames that are decoded and cut, at once.
_AT_ONCE = 2
# What is around a box shows its background: so much of its sides is looked at on each side.
_MARGIN = 0.25
# Pixels of the longer side of what is cut: time and memory are the same for all boxes.
_SIDE = 240
# The part of the box's sides that is an ellipse in its middle, and surely the object.
_CORE = 0.3
_ITERATIONS = 5
# GrabCut does not say how good a mask is, so all of them get the same score.
_SCORE = 0.5
_RANDOM_SEED = 1

Pixels = npt.NDArray[np.bool_]


class GrabcutModel:
    """Cuts the object of each box out of the colours around it."""

    max_request_bytes = 32 << 20

    def __init__(self) -> None:
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def load(self) -> None:
        cv2.setNumThreads(1)

    def predict(self, request: Request) -> Reply:
        if request.accept.partition(";")[0].strip() not in ("", "*/*", JSON):
            raise RequestRefused(406, f"the answer is {JSON}, not {request.accept!r}")
        with self._turns:
            image, boxes = read_prompted(request)
            return masks_reply((cut(image, box) for box in boxes), draft=True)


def cut(image: Image, box: Box) -> FoundMask:
    """Return the mask of the object in a box (left, top, right, bottom in pixels of the image).

    A mask that GrabCut cannot make is empty, with a score of 0.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = box
    across, down = (right - left) * _MARGIN, (bottom - top) * _MARGIN
    x1, y1 = max(0, math.floor(left - across)), max(0, math.floor(top - down))
    x2, y2 = min(width, math.ceil(right + across)), min(height, math.ceil(bottom + down))
    zoom = _SIDE / max(x2 - x1, y2 - y1)
    size = max(1, round((x2 - x1) * zoom)), max(1, round((y2 - y1) * zoom))
    part = cv2.resize(image[y1:y2, x1:x2], size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    found = _cut_part(
        np.asarray(part, np.uint8), ((left - x1) * zoom, (top - y1) * zoom, (right - x1) * zoom, (bottom - y1) * zoom)
    )
    pixels = np.zeros((height, width), bool)
    soft = cv2.resize(found.astype(np.float32), (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)
    pixels[y1:y2, x1:x2] = soft >= 0.5
    return FoundMask(pixels, _SCORE if pixels.any() else 0.0)


def _cut_part(part: Image, box: Box) -> Pixels:
    marks = _marks(part, box)
    # GrabCut groups colours by random centres, and one mask must not depend on those before it.
    cv2.setRNGSeed(_RANDOM_SEED)
    try:
        # The rectangle is not read where marks are given.
        cv2.grabCut(part, marks, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        # Too few pixels of one kind, in a box of a few pixels.
        return np.zeros(part.shape[:2], bool)
    return _largest(marks)


def _marks(part: Image, box: Box) -> npt.NDArray[np.uint8]:
    """Mark the pixels: around the box surely background, in its middle surely the object, perhaps in the rest of it."""
    marks = np.full(part.shape[:2], cv2.GC_BGD, np.uint8)
    left, top, right, bottom = box
    marks[math.floor(top) : math.ceil(bottom), math.floor(left) : math.ceil(right)] = cv2.GC_PR_FGD
    if (marks == cv2.GC_PR_FGD).all():
        # The box is the whole image, which shows no background: the least that there can be is its border.
        marks[[0, -1]] = marks[:, [0, -1]] = cv2.GC_BGD
    middle = round((left + right) / 2), round((top + bottom) / 2)
    axes = max(1, round((right - left) * _CORE / 2)), max(1, round((bottom - top) * _CORE / 2))
    cv2.ellipse(marks, middle, axes, 0, 0, 360, int(cv2.GC_FGD), -1)
    return marks


def _largest(marks: npt.NDArray[np.uint8]) -> Pixels:
    """Return the pixels of the object's largest piece."""
    inside = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    pieces, numbers, statistics, _ = cv2.connectedComponentsWithStats(inside)
    if pieces < 2:
        return np.zeros(marks.shape, bool)
    largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    return np.asarray(numbers == largest)


if __name__ == "__main__":
    run(GrabcutModel())
