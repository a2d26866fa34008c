"""Defines detections: the objects that models found in one frame."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from autolabel.contracts.errors import AnswerRefused

Box = tuple[float, float, float, float]


class Vote(msgspec.Struct, frozen=True, omit_defaults=True, rename={"iou": "overlap"}):
    """The statement of one of several models about an object.

    `name`, `label`, `score`, `confidence`: those of its own detection; `iou`: of its box with the merged box.
    """

    model: str
    name: str
    label: str
    score: float
    confidence: float
    iou: float


class Detection(msgspec.Struct, frozen=True, omit_defaults=True):
    """One object. `box`: xyxy, float pixels of the original frame, origin top left. `score`: the model's own, 0 to 1.

    `confidence` is the calibrated score; `label` is the model's class name, `name` the taxonomy's. `models` are the
    `name.revision` of those that found it. If several models were asked: `votes` of those that found it, and `missed`,
    the models whose coverage includes it and that did not find it; `score` and `label` are then the strongest vote's.
    `mask`: the counts of its COCO run-length encoding at the frame's size, of the strongest vote with a mask.
    """

    name: str
    box: Box
    score: float
    confidence: float
    label: str
    models: tuple[str, ...]
    votes: tuple[Vote, ...] = ()
    missed: tuple[str, ...] = ()
    mask: str = ""


class Detections(msgspec.Struct, frozen=True):
    """The detections of one frame of `width` x `height` pixels, most confident first, every box inside the frame."""

    width: int
    height: int
    items: tuple[Detection, ...] = ()

    def __post_init__(self) -> None:
        for item in self.items:
            x1, y1, x2, y2 = item.box
            if not (0 <= x1 < x2 <= self.width and 0 <= y1 < y2 <= self.height):
                raise ValueError(f"box {item.box} is not inside the frame of {self.width}x{self.height}")
            if not 0 <= item.score <= 1:
                raise ValueError(f"score {item.score} is not between 0 and 1")

    def without_masks(self) -> Detections:
        """Return the same detections without masks."""
        if not any(one.mask for one in self.items):
            return self
        return msgspec.structs.replace(self, items=tuple(msgspec.structs.replace(one, mask="") for one in self.items))

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Detection]:
        return iter(self.items)


def rank(detection: Detection) -> tuple[float, str, Box]:
    """Return the sort key of a detection: the most confident first, in an order that is always the same."""
    return -detection.confidence, detection.name, detection.box


def box_iou(one: Box, other: Box) -> float:
    """Compute the IoU of two boxes, xyxy."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0.0 or height <= 0.0:
        return 0.0
    shared = width * height
    areas = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
    return shared / (areas - shared)


def repair_box(box: Box, width: int, height: int) -> Box | None:
    """Clip a box (xyxy, pixels) to the frame; None if less than a pixel of its width or height is left.

    The single rule for wrong boxes of models: a coordinate that is not finite raises AnswerRefused, which refuses the
    whole answer; a box with corners in the wrong order, or less than a pixel in the frame, is dropped.
    """
    x1, y1, x2, y2 = box
    # The sum is finite only if all coordinates are. Finite ones with an infinite sum are too large to be coordinates.
    if not math.isfinite(x1 + y1 + x2 + y2):
        raise AnswerRefused("answer-not-finite", f"a box has the coordinates {box}, which are not all finite")
    x1, y1 = max(0.0, x1), max(0.0, y1)
    x2, y2 = min(float(width), x2), min(float(height), y2)
    return (x1, y1, x2, y2) if x2 - x1 >= 1.0 and y2 - y1 >= 1.0 else None
