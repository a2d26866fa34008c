"""Decodes answers of Hugging Face's transformers pipelines, as its inference containers serve them.

`object-detection`: [{"score", "label", "box": {"xmin", "ymin", "xmax", "ymax"}}, ...] in pixels of the picture.
`image-segmentation`: [{"score", "label", "mask"}, ...], a mask a base64 PNG of the picture's size. The subtasks
`instance` and `panoptic` score each object; `semantic` scores nothing, and its segments are not objects.
"""

from __future__ import annotations

import msgspec

from autolabel.contracts.errors import AnswerRefused
from autolabel.models.decoders.base import (
    BOX_OF_MASK,
    Decoder,
    DecoderOptions,
    MaskPlace,
    RawDetection,
    check_counts,
    check_score,
    parse,
)


class _Box(msgspec.Struct):
    xmin: float
    ymin: float
    xmax: float
    ymax: float


class _Object(msgspec.Struct):
    score: float
    label: str
    box: _Box


class _Segment(msgspec.Struct):
    score: float | None
    label: str


_objects = msgspec.json.Decoder(list[_Object])
_segments = msgspec.json.Decoder(list[_Segment])


def decode_objects(body: bytes, width: int, height: int, options: DecoderOptions) -> list[RawDetection]:
    """Read detections of the pipeline `object-detection`."""
    answer = parse(body, _objects, "object-detection answer")
    check_counts(boxes=len(answer))
    return [
        RawDetection(
            one.label,
            check_score(one.score),
            options.on_frame((one.box.xmin, one.box.ymin, one.box.xmax, one.box.ymax), width, height),
            at,
        )
        for at, one in enumerate(answer)
    ]


def decode_segments(body: bytes, width: int, height: int, options: DecoderOptions) -> list[RawDetection]:
    """Read detections of the pipeline `image-segmentation`; their boxes come from their masks."""
    answer = parse(body, _segments, "image-segmentation answer")
    check_counts(boxes=len(answer))
    found = []
    for at, one in enumerate(answer):
        if one.score is None:
            raise AnswerRefused(
                "answer-unreadable",
                f"the segment {one.label!r} has no score: ask the pipeline for its subtask instance or panoptic",
            )
        found.append(RawDetection(one.label, check_score(one.score), BOX_OF_MASK, at))
    return found


OBJECTS = Decoder(frozenset(_Object.__struct_fields__), decode_objects, (MaskPlace("mask"),))
SEGMENTS = Decoder(frozenset(_Segment.__struct_fields__), decode_segments, (MaskPlace("mask"),))
