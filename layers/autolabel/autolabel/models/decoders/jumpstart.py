"""Decodes JumpStart's object detection (`pytorch-od*`, `tensorflow-od*`, `mxnet-od-*`) and instance segmentation.

Detection, the answer to `Accept: application/json;verbose`: `normalized_boxes` [[left, top, right, bottom], ...] from
0 to 1, `classes` (indexes into `labels`, often as floats), `scores`, `labels`. Mask R-CNN (`mxnet-is-*`): `bboxes` in
pixels of the network's picture, `ids`, `scores` and `masks`, each perhaps nested as MXNet's arrays are,
`labels`, and a picture with masks that is not needed (facts: the introduction notebooks of
aws/amazon-sagemaker-examples). In both a negative class is padding and left out.
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
    name_of,
    parse,
    rows,
    scalars,
)


class _Detection(msgspec.Struct):
    normalized_boxes: list[Box]
    classes: list[float]
    scores: list[float]
    labels: list[str]


class _MaskRcnn(msgspec.Struct):
    bboxes: list[Any]
    ids: list[Any]
    scores: list[Any]
    labels: list[str]


_detection = msgspec.json.Decoder(_Detection)
_mask_rcnn = msgspec.json.Decoder(_MaskRcnn)


def decode_detection(body: bytes, width: int, height: int, options: DecoderOptions) -> list[RawDetection]:
    """Read detections of an object detection model."""
    answer = parse(body, _detection, "JumpStart detection answer")
    check_counts(boxes=len(answer.normalized_boxes), classes=len(answer.classes), scores=len(answer.scores))
    return [
        RawDetection(
            name_of(index, answer.labels),
            check_score(score),
            (left * width, top * height, right * width, bottom * height),
        )
        for (left, top, right, bottom), index, score in zip(
            answer.normalized_boxes, answer.classes, answer.scores, strict=True
        )
        if index >= 0
    ]


def decode_mask_rcnn(body: bytes, width: int, height: int, options: DecoderOptions) -> list[RawDetection]:
    """Read detections of a Mask R-CNN."""
    answer = parse(body, _mask_rcnn, "Mask R-CNN answer")
    boxes = convert(rows(answer.bboxes), list[Box], "list of boxes")
    ids = convert(scalars(answer.ids), list[float], "list of classes")
    scores = convert(scalars(answer.scores), list[float], "list of scores")
    check_counts(boxes=len(boxes), ids=len(ids), scores=len(scores))
    return [
        RawDetection(name_of(index, answer.labels), check_score(score), options.on_frame(box, width, height), at)
        for at, (box, index, score) in enumerate(zip(boxes, ids, scores, strict=True))
        if index >= 0
    ]


DETECTION = Decoder(frozenset(_Detection.__struct_fields__), decode_detection)
MASK_RCNN = Decoder(frozenset(_MaskRcnn.__struct_fields__), decode_mask_rcnn, (MaskPlace("masks", listed=True),))
