"""Decodes answers of torchvision's detectors, plain and behind TorchServe's `object_detector` (facts: pytorch/serve).

The handler: [{"<class>": [x1, y1, x2, y2], "score": s}, ...], with the index as class if it has no names. Plain, for
one picture, in a list or alone: {"boxes": [[x1, y1, x2, y2], ...], "labels": [index, ...], "scores": [...]}, and
"masks" of the picture's size if the model has them. Boxes are in pixels of the picture.
"""

from __future__ import annotations

from typing import Any

import msgspec

from autolabel.contracts.errors import AnswerRefused
from autolabel.labels.detections import Box
from autolabel.models.decoders.base import (
    Decoder,
    DecoderOptions,
    MaskPlace,
    RawDetection,
    check_counts,
    check_score,
    parse,
)

_KEYS = frozenset({"boxes", "labels", "scores"})


class _Plain(msgspec.Struct):
    boxes: list[Box]
    labels: list[float | str]
    scores: list[float]


_either: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | dict[str, msgspec.Raw])
_plain_answer = msgspec.json.Decoder(_Plain)
_score = msgspec.json.Decoder(float)
_box: msgspec.json.Decoder[Box] = msgspec.json.Decoder(Box)


def decode_torchvision(body: bytes, width: int, height: int, options: DecoderOptions) -> list[RawDetection]:
    """Read detections of either shape."""
    answer = parse(body, _either, "torchvision answer")
    if isinstance(answer, dict):
        return _plain(body, width, height, options)
    if len(answer) == 1 and answer[0].keys() >= _KEYS:
        return _plain(bytes(msgspec.json.encode(answer[0])), width, height, options)
    check_counts(boxes=len(answer))
    return [_handled(one, width, height, options) for one in answer]


def _plain(body: bytes, width: int, height: int, options: DecoderOptions) -> list[RawDetection]:
    answer = parse(body, _plain_answer, "torchvision answer")
    check_counts(boxes=len(answer.boxes), labels=len(answer.labels), scores=len(answer.scores))
    return [
        RawDetection(name, check_score(score), options.on_frame(box, width, height), at)
        for at, (box, label, score) in enumerate(zip(answer.boxes, answer.labels, answer.scores, strict=True))
        if (name := options.class_name(label)) is not None
    ]


def _handled(one: dict[str, msgspec.Raw], width: int, height: int, options: DecoderOptions) -> RawDetection:
    names = one.keys() - {"score"}
    if len(names) != 1 or "score" not in one:
        raise AnswerRefused("answer-unreadable", "an object is not one class with its box and a score")
    (name,) = names
    score = check_score(parse(one["score"], _score, "score"))
    box: Box = parse(one[name], _box, "box")
    return RawDetection(options.class_name(name) or name, score, options.on_frame(box, width, height))


TORCHVISION = Decoder(_KEYS, decode_torchvision, (MaskPlace("masks", listed=True),))
