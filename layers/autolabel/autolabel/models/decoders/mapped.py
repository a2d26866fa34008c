"""Decodes any JSON answer with the JMESPath expressions in the model's catalogue document."""

from __future__ import annotations

from collections.abc import Iterator
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
    rows,
    scalars,
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
    values = _in_lists(items, mapping) if isinstance(items, dict) else _in_objects(items, mapping)
    found = []
    for given_label, given_score, given_box in values:
        name = options.class_name(convert(_first(given_label), float | str, f"class in `{mapping.label}`"))
        if name is None:
            continue
        score = convert(_first(given_score), float, f"score in `{mapping.score}`")
        box = convert(given_box, Box, f"box in `{mapping.box}`")
        found.append(RawDetection(name, check_score(score), _pixels(box, mapping, options, width, height)))
    return found


def _in_objects(items: Any, mapping: Mapping) -> Iterator[tuple[Any, Any, Any]]:
    """Yield class, score and box of each object in a list of objects."""
    things = convert(items, list[Any], f"list in `{mapping.items}`")
    check_counts(boxes=len(things))
    for thing in things:
        yield _search(mapping.label, thing), _search(mapping.score, thing), _search(mapping.box, thing)


def _in_lists(items: dict[str, Any], mapping: Mapping) -> Iterator[tuple[Any, Any, Any]]:
    """Yield class, score and box at each place of parallel lists. Each may be a batch of one picture."""
    # `Any`: a part of a foreign answer, which the conversions below check.
    labels = scalars(convert(_search(mapping.label, items), list[Any], f"list of classes in `{mapping.label}`"))
    scores = scalars(convert(_search(mapping.score, items), list[Any], f"list of scores in `{mapping.score}`"))
    boxes = rows(convert(_search(mapping.box, items), list[Any], f"list of boxes in `{mapping.box}`"))
    if boxes and not isinstance(boxes[0], list):
        boxes = _fours(boxes, mapping.box)
    check_counts(
        **{
            f"boxes in `{mapping.box}`": len(boxes),
            f"scores in `{mapping.score}`": len(scores),
            f"classes in `{mapping.label}`": len(labels),
        }
    )
    yield from zip(labels, scores, boxes, strict=True)


def _fours(numbers: list[Any], expression: str) -> list[list[Any]]:
    """Cut the numbers of a tensor into boxes."""
    if len(numbers) % 4:
        raise AnswerRefused("answer-unreadable", f"`{expression}` has {len(numbers):,} numbers, and a box has four")
    return [numbers[at : at + 4] for at in range(0, len(numbers), 4)]


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
    if mapping.format == "yxyx":
        a, b, c, d = b, a, d, c
    elif mapping.format == "xywh":
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
