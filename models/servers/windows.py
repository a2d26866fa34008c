"""Runs a detector on windows of a frame: with a small input, it finds distant objects only in a part of the frame.

An object that one window cuts is taken from a window that shows all of it. An object that no window shows whole is
joined from its pieces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.servers.detections import Detections
from models.servers.images import Image

# Share of a tile that its neighbour also shows: the usual value of sliced inference (SAHI's default). Each of two tiles
# is 56 % of the frame, each of three is 38 %.
OVERLAP = 0.2
# The box of a cut object ends at most a few pixels of the detector's input (300 to 416) from the border.
_MARGIN = 0.01
# Two pieces are of one object when the IoU of their extents along the cut is at least this.
_AGREEMENT = 0.5

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """A part of a frame, in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def of(self, image: Image) -> Image:
        return image[self.top : self.bottom, self.left : self.right]

    def inner(self, width: int, height: int) -> Floats:
        """The area [left, top, right, bottom] of boxes that none of its borders inside the frame cuts."""
        across, down = (self.right - self.left) * _MARGIN, (self.bottom - self.top) * _MARGIN
        return np.array(
            [
                self.left + across if self.left > 0 else -math.inf,
                self.top + down if self.top > 0 else -math.inf,
                self.right - across if self.right < width else math.inf,
                self.bottom - down if self.bottom < height else math.inf,
            ],
            np.float32,
        )


Layout = Callable[[int, int], list[Window]]


def whole(width: int, height: int) -> list[Window]:
    """One window: the whole frame."""
    return [Window(0, 0, width, height)]


def tiles(width: int, height: int, count: int) -> list[Window]:
    """`count` windows of one size along the frame's longer side, each over all of its shorter side."""
    length = max(width, height)
    size = length / (count - (count - 1) * OVERLAP)
    # In a frame of few pixels the last start would be its end, and the tile empty.
    starts = [min(round(number * size * (1 - OVERLAP)), length - 1) for number in range(count)]
    ends = [*(min(start + math.ceil(size), length) for start in starts[:-1]), length]
    if width >= height:
        return [Window(start, 0, end, height) for start, end in zip(starts, ends, strict=True)]
    return [Window(0, start, width, end) for start, end in zip(starts, ends, strict=True)]


def look(image: Image, windows: Sequence[Window], detect: Callable[[Image], Detections]) -> Detections:
    """Run `detect` on each window; returns each object once, best first, boxes as shares of the frame."""
    height, width = image.shape[:2]
    views = [_in_frame(detect(window.of(image)), window) for window in windows]
    inner = [window.inner(width, height) for window in windows]
    entire, pieces = [], []
    for view, own in zip(views, inner, strict=True):
        shown = _within(view.boxes, own)
        elsewhere = np.any([_within(view.boxes, other) for other in inner], axis=0)
        entire.append(view[shown])
        pieces.append(view[~elsewhere])
    joined = _join(pieces, along=0 if width >= height else 1)
    found = _concatenate([*entire, joined]).suppressed()
    frame = np.array([width, height, width, height], np.float32)
    return Detections(np.clip(found.boxes / frame, 0, 1), found.scores, found.classes)


def _in_frame(seen: Detections, window: Window) -> Detections:
    size = np.array([window.right - window.left, window.bottom - window.top] * 2, np.float32)
    corner = np.array([window.left, window.top] * 2, np.float32)
    return Detections(seen.boxes * size + corner, seen.scores, seen.classes)


def _within(boxes: Floats, area: Floats) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = np.all(boxes[:, :2] > area[:2], axis=1) & np.all(boxes[:, 2:] < area[2:], axis=1)
    return inside


def _join(pieces: Sequence[Detections], along: int) -> Detections:
    """Join pieces of one object in neighbouring windows into one box; other boxes stay as they are."""
    across = 1 - along
    done = pieces[0]
    for following in pieces[1:]:
        boxes, scores = done.boxes.copy(), done.scores.copy()
        alone = np.ones(len(following.boxes), bool)
        for place, (box, score, number) in enumerate(
            zip(following.boxes, following.scores, following.classes, strict=True)
        ):
            low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
            extent = np.maximum(boxes[:, 2 + across], box[2 + across]) - np.minimum(boxes[:, across], box[across])
            agreement = np.where(extent > 0, (high - low)[:, across] / np.maximum(extent, 1e-6), 0)
            fits = (done.classes == number) & ((high - low)[:, along] > 0) & (agreement >= _AGREEMENT)
            if not fits.any():
                continue
            best = int(np.argmax(np.where(fits, agreement, 0)))
            boxes[best] = [*np.minimum(boxes[best, :2], box[:2]), *np.maximum(boxes[best, 2:], box[2:])]
            scores[best] = max(scores[best], score)
            alone[place] = False
        done = _concatenate([Detections(boxes, scores, done.classes), following[alone]])
    return done


def _concatenate(parts: Sequence[Detections]) -> Detections:
    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.classes for part in parts]),
    )
