"""Decodes any JSON answer with the JMESPath expressions in the model's catalogue document."""

from __future__ import annotations

from functools import cache
from typing import Any

import jmespath
import msgspec

from autolabel.contracts.errors import AnswerRefused
from autolabel.labels.detections import Box
from autolabel.models.decoders.base import (
    Decoder,
    DecoderOptions,
    RawDetection,
    check_counts,
    check_score,
    convert,
    parse,
)
from autolabel.models.decoders.mapping import Mapping

_json: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def decode_mapped(body: bytes, width: int, height: int, options: DecoderOptions) -> list[RawDetection]:
    """Read detections with the expressions of `options.mapping`."""
    if (mapping := options.mapping) is None:
        raise AnswerRefused("answer-unreadable", "the model's document has no `mapping`: add one")
    answer = parse(body, _json, "JSON")
    items = _search(mapping.items, answer)
    if items is None:
        # The answer lacks what `items` names; a model that found nothing returns an empty list.
        raise AnswerRefused("answer-unreadable", f"the answer has nothing at `{mapping.items}`")
    things = convert(items, list[Any], f"list in `{mapping.items}`")
    check_counts(boxes=len(things))
    found = []
    for thing in things:
        label = convert(_first(_search(mapping.label, thing)), float | str, f"class in `{mapping.label}`")
        name = options.class_name(label)
        if name is None:
            continue
        score = convert(_first(_search(mapping.score, thing)), float, f"score in `{mapping.score}`")
        box = convert(_search(mapping.box, thing), Box, f"box in `{mapping.box}`")
        found.append(RawDetection(name, check_score(score), _pixels(box, mapping, options, width, height)))
    return found


@cache
def _compiled(expression: str) -> Any:
    return jmespath.compile(expression)


def _search(expression: str, value: object) -> Any:
    try:
        return _compiled(expression).search(value)
    except (
        jmespath.exceptions.JMESPathError,
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
        RecursionError,
    ) as e:
        # JMESPathError, which is a ValueError, or Python's errors in its functions for values of the answer.
        raise AnswerRefused("answer-unreadable", f"`{expression}` cannot be read in the answer: {e}") from e


def _first(value: Any) -> Any:
    """Take a value out of lists with one element."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def _pixels(box: Box, mapping: Mapping, options: DecoderOptions, width: int, height: int) -> Box:
    a, b, c, d = box
    if mapping.format == "xywh":
        c, d = a + c, b + d
    elif mapping.format == "cxcywh":
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    if mapping.units == "pixels":
        return options.on_frame((a, b, c, d), width, height)
    if options.resized is None:
        return (a * width, b * height, c * width, d * height)
    picture = options.resized.area(width, height)
    return options.on_frame(
        (a * picture.width, b * picture.height, c * picture.width, d * picture.height), width, height
    )


MAPPED = Decoder(frozenset(), decode_mapped)
