"""Decodes answers of YOLO detectors, as ultralytics writes them.

Its summary: [{"name", "class", "confidence", "box": {"x1", "y1", "x2", "y2"}, "segments": {"x": [...], "y": [...]}},
...]; a rotated box has four corners, and its upright hull is taken. Its tensor: rows [x1, y1, x2, y2, confidence,
class], alone, as a batch of one, or as `boxes` beside `masks` (facts: AWS's example of YOLO on SageMaker; an answer
without objects is then {}). Boxes are in pixels of the picture.
"""

from __future__ import annotations

from typing import Any

import msgspec

from autolabel.labels.detections import Box
from autolabel.models.decoders.base import (
    Decoder,
    DecoderOptions,
    MaskPlace,
    RawDetection,
    check_counts,
    check_score,
    convert,
    parse,
    rows,
)

_Row = tuple[float, float, float, float, float, float]


class _Corners(msgspec.Struct):
    x1: float
    y1: float
    x2: float
    y2: float
    x3: float | None = None
    y3: float | None = None
    x4: float | None = None
    y4: float | None = None

    def box(self) -> Box:
        if None in (self.x3, self.y3, self.x4, self.y4):
            return (self.x1, self.y1, self.x2, self.y2)
        across = [x for x in (self.x1, self.x2, self.x3, self.x4) if x is not None]
        down = [y for y in (self.y1, self.y2, self.y3, self.y4) if y is not None]
        return (min(across), min(down), max(across), max(down))


class _Object(msgspec.Struct, rename={"index": "class"}):
    confidence: float
    box: _Corners
    name: str | None = None
    index: float | str | None = None

    def __post_init__(self) -> None:
        if self.name is None and self.index is None:
            raise ValueError("an object has neither `name` nor `class`")


class _Tensors(msgspec.Struct):
    boxes: list[Any]


_tensors = msgspec.json.Decoder(_Tensors)
_listed = msgspec.json.Decoder(list[Any])


def decode_yolo(body: bytes, width: int, height: int, options: DecoderOptions) -> list[RawDetection]:
    """Read detections of any of the shapes."""
    if body.lstrip()[:1] == b"{":
        if body.strip() == b"{}":
            return []
        return _rows(parse(body, _tensors, "YOLO answer").boxes, width, height, options)
    answer = rows(parse(body, _listed, "YOLO answer"))
    if answer and isinstance(answer[0], list):
        return _rows(answer, width, height, options)
    check_counts(boxes=len(answer))
    return [
        RawDetection(name, check_score(one.confidence), options.on_frame(one.box.box(), width, height), at)
        for at, one in enumerate(convert(answer, list[_Object], "YOLO answer"))
        if (name := options.class_name(one.index if one.name is None else one.name)) is not None
    ]


def _rows(values: list[Any], width: int, height: int, options: DecoderOptions) -> list[RawDetection]:
    table = convert(rows(values), list[_Row], "list of rows of corners, confidence and class")
    check_counts(boxes=len(table))
    return [
        RawDetection(name, check_score(row[4]), options.on_frame(row[:4], width, height), at)
        for at, row in enumerate(table)
        if (name := options.class_name(row[5])) is not None
    ]


# `boxes` is a key of the tensor, the others are keys of the summary.
_KEYS = frozenset({"boxes", "name", "class", "confidence", "box"})
YOLO = Decoder(_KEYS, decode_yolo, (MaskPlace("masks", listed=True, padded=True), MaskPlace("segments")))
