"""JumpStart's object detection families (`pytorch-od*`, `tensorflow-od*`, `mxnet-od-*`).

The answer to `Accept: application/json;verbose`: `normalized_boxes` [[left, top, right, bottom], ...] from 0 to 1,
`classes` (indexes into `labels`, often as floats), `scores`, `labels` (facts: the introduction notebooks of
aws/amazon-sagemaker-examples).
"""

from __future__ import annotations

import math

import msgspec

from autolabel.decoders.raw import Decoder, DecoderOptions, RawDetection
from autolabel.errors import AnswerRefused

# Detectors give some hundred; what they give of a frame is kept with its shard.
MAX_OBJECTS = 3_000


class _Answer(msgspec.Struct):
    normalized_boxes: list[tuple[float, float, float, float]]
    classes: list[float]
    scores: list[float]
    labels: list[str]


_decoder = msgspec.json.Decoder(_Answer)


def decode_detection(body: bytes, width: int, height: int, options: DecoderOptions) -> list[RawDetection]:
    """Detections in pixels of a frame of `width` x `height`; a negative class is padding and left out."""
    try:
        answer = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise AnswerRefused("answer-unreadable", f"no JumpStart detection answer: {e}") from e
    boxes, classes, scores, labels = answer.normalized_boxes, answer.classes, answer.scores, answer.labels
    if not len(boxes) == len(classes) == len(scores):
        raise AnswerRefused(
            "answer-unreadable",
            f"{len(boxes)} boxes, {len(classes)} classes and {len(scores)} scores do not match",
        )
    if len(boxes) > MAX_OBJECTS:
        raise AnswerRefused("answer-too-large", f"{len(boxes):,} boxes, the limit is {MAX_OBJECTS:,}")
    found = []
    for box, index, score in zip(boxes, classes, scores, strict=True):
        if index < 0:
            continue
        if not (math.isfinite(index) and index == int(index) and index < len(labels)):
            raise AnswerRefused("answer-unreadable", f"class {index} is no index into {len(labels)} labels")
        if not 0.0 <= score <= 1.0:
            raise AnswerRefused("answer-unreadable", f"score {score} is not between 0 and 1")
        left, top, right, bottom = box
        pixels = (left * width, top * height, right * width, bottom * height)
        found.append(RawDetection(labels[int(index)], score, pixels))
    return found


DETECTION = Decoder(frozenset(_Answer.__struct_fields__), decode_detection)
