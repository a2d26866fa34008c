"""Defines what all decoders take and return."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from autolabel.contracts.errors import AnswerRefused
from autolabel.labels.detections import Box
from autolabel.models.decoders.mapping import Mapping

# Detectors return some hundred objects for a frame. All of them are stored with the frame's shard.
MAX_OBJECTS = 3_000
# Stands for the box of its mask, for an object without a box of its own.
BOX_OF_MASK: Box = (0.0, 0.0, 0.0, 0.0)
MAX_SIDE = 100_000
# Models that compute with half precision answer scores that are a little above 1.
MAX_SCORE = 1.0 + 1e-3
# Characters of a place in an answer, for messages: keys are the answer's own.
MAX_PLACE = 200

Parsed = TypeVar("Parsed")


class RawDetection(NamedTuple):
    """An object with the model's class name; `box`: xyxy in float pixels of the original frame, perhaps outside it.

    `score`: 0 to MAX_SCORE. `mask`: its position among the answer's masks; -1 without one.
    """

    label: str
    score: float
    box: Box
    mask: int = -1


class Area(NamedTuple):
    """The place of the frame in another picture of `width` x `height`; `box`: xyxy in that picture's pixels."""

    width: float
    height: float
    box: Box


class Resized(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the model resized the frame.

    Either its shorter side became `short`, and its longer one at most `long`; or the frame became `width` x `height`.
    `padded`: it kept its proportions and was centred.

    Without any value the picture is the frame. 1 x 1 fits answers that are shares of the frame's size.
    """

    short: int = 0
    long: int = 0
    width: int = 0
    height: int = 0
    padded: bool = False

    def wrong(self) -> str:
        """Say what is wrong with the values; empty if nothing is."""
        sides = (self.short, self.long, self.width, self.height)
        if not all(0 <= side <= MAX_SIDE for side in sides):
            return f"sides must be 0 to {MAX_SIDE:,} pixels"
        if bool(self.width) != bool(self.height) or (self.width and self.short):
            return "give `short` with or without `long`, or `width` and `height`"
        if (self.long and self.long < self.short) or (self.long and not self.short):
            return "`long` is the limit of the longer side beside `short`"
        return "`padded` goes with `width` and `height`" if self.padded and not self.width else ""

    def area(self, width: int, height: int) -> Area:
        """Return the place of a frame of `width` x `height` in the model's picture of it."""
        if self.width:
            return _padded(self, width, height) if self.padded else _whole(self.width, self.height)
        factor = self.short / min(width, height) if self.short else 1.0
        if self.long:
            factor = min(factor, self.long / max(width, height))
        return _whole(max(1, round(width * factor)), max(1, round(height * factor)))


def _whole(width: float, height: float) -> Area:
    return Area(width, height, (0.0, 0.0, width, height))


def _padded(to: Resized, width: int, height: int) -> Area:
    factor = min(to.width / width, to.height / height)
    left, top = (to.width - width * factor) / 2, (to.height - height * factor) / 2
    return Area(to.width, to.height, (left, top, to.width - left, to.height - top))


FRAME = Resized()
# The options that each decoder reads.
_READS = {
    "jumpstart-mask-rcnn": ("resized", "masks", "mask_threshold", "mask_area"),
    "hf-object-detection": ("resized", "masks", "mask_threshold"),
    "hf-image-segmentation": ("masks", "mask_threshold"),
    "torchvision": ("labels", "resized", "masks", "mask_threshold"),
    "yolo": ("labels", "resized", "masks", "mask_threshold"),
    "jmespath": ("labels", "resized", "mapping"),
}


class DecoderOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a decoder must know about one model beside its answers.

    docs/ml-engineers/models.md says which decoder reads which options.

    `labels`: class names by index, for answers with bare indexes; without `labels` an index is the name (`"3"`).
    `resized`: the picture whose pixels the boxes are in. `masks`: whether masks are read; `mask_threshold`: from which
    value on a pixel of a soft mask counts; `mask_area`: whether a mask covers the picture or its object's box.
    `mapping`: for the decoder `jmespath`.
    """

    labels: tuple[str, ...] = ()
    resized: Resized | None = None
    masks: bool = False
    mask_threshold: float = 0.5
    mask_area: Literal["picture", "box"] = "picture"
    mapping: Mapping | None = None

    def wrong(self, decoder: str) -> str:
        """Say what the decoder with that name cannot use; empty if it can use all."""
        unread = [
            field.name
            for field in msgspec.structs.fields(self)
            if getattr(self, field.name) != field.default and field.name not in _READS.get(decoder, ())
        ]
        if unread:
            return f"the decoder {decoder!r} does not read `{unread[0]}`: leave it out"
        if decoder == "jumpstart-mask-rcnn" and self.resized is None:
            return '`resized` is missing: give {"short": 600, "long": 1000} if the model scales so, else {}'
        if decoder == "hf-image-segmentation" and not self.masks:
            return "`masks` must be true: this decoder takes the boxes from the masks"
        if decoder == "jmespath" and self.mapping is None:
            return "`mapping` is missing: give the expressions for items, label, score and box"
        if not 0.0 < self.mask_threshold < 1.0:
            return f"`mask_threshold` {self.mask_threshold} is not between 0 and 1"
        if self.resized and (wrong := self.resized.wrong()):
            return f"`resized`: {wrong}"
        if self.mapping and (wrong := self.mapping.wrong()):
            return f"`mapping`: {wrong}"
        return ""

    def on_frame(self, box: Sequence[float], width: int, height: int) -> Box:
        """Convert a box (xyxy) from pixels of the model's picture to pixels of the frame."""
        x1, y1, x2, y2 = box
        if self.resized is None:
            return (x1, y1, x2, y2)
        left, top, right, bottom = self.resized.area(width, height).box
        across, down = width / (right - left), height / (bottom - top)
        return ((x1 - left) * across, (y1 - top) * down, (x2 - left) * across, (y2 - top) * down)

    def class_name(self, given: float | str) -> str | None:
        """Return the name of a class, given as an index (whole number, float, digits) or a name; None for padding."""
        if isinstance(given, str):
            if not (self.labels and given.isascii() and given.isdigit()):
                return given
        elif given < 0:
            return None
        return name_of(given, self.labels) if self.labels else str(_index(given))


class MaskPlace(NamedTuple):
    """Where an answer has masks: `key` has the list of all if `listed`; else each object of a list has one under `key`.

    `padded`: masks cover the network's picture, which has the frame in its proportions in the middle.
    """

    key: str
    listed: bool = False
    padded: bool = False


class Decoder(NamedTuple):
    """Reads one family of answers.

    `keys`: the keys of the answer's object, or of each object in its list, that `decode` needs; all others may be left
    unread. Without `keys` the whole answer is read, so it must be small. `masks`: the places where masks can be.
    `decode(body, width, height, options)`: `body` is the answer's JSON with at least those keys, `width` and `height`
    are the frame's pixels. Raises AnswerRefused.
    """

    keys: frozenset[str]
    decode: Callable[[bytes, int, int, DecoderOptions], list[RawDetection]]
    masks: tuple[MaskPlace, ...] = ()


def parse(body: bytes | msgspec.Raw, schema: msgspec.json.Decoder[Parsed], what: str) -> Parsed:
    """Parse an answer's JSON by its schema; raises AnswerRefused, which names what was expected or is not finite."""
    try:
        return schema.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        if found := _not_finite(bytes(body)):
            raise AnswerRefused("answer-not-finite", f"not a valid {what}: {found}") from e
        raise AnswerRefused("answer-unreadable", f"not a valid {what}: {e}") from e


def _not_finite(body: bytes) -> str:
    """Name the first number that is not finite, with its place; empty if all are, or the body cannot be read.

    JSON has no NaN and no Infinity, but servers in Python write them, and its parser reads them.
    """
    try:
        ahead: list[tuple[str, Any]] = [("", json.loads(body))]
    except (ValueError, RecursionError):
        return ""
    while ahead:
        place, value = ahead.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return f"the value at `{place or '@'}` is {value}"
        # In the order of the answer: the last one is taken next.
        if isinstance(value, dict):
            ahead += [(f"{place}.{key}".lstrip(".")[:MAX_PLACE], one) for key, one in reversed(value.items())]
        elif isinstance(value, list):
            ahead += [(f"{place}[{at}]"[:MAX_PLACE], one) for at, one in reversed(list(enumerate(value)))]
    return ""


def convert(value: Any, kind: Any, what: str) -> Any:
    """Convert a part of an answer by its schema; raises AnswerRefused, which names what was expected."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as e:
        raise AnswerRefused("answer-unreadable", f"not a valid {what}: {e}") from e


def check_counts(**counts: int) -> None:
    """Raise AnswerRefused if the counts of an answer's parts differ or are too large."""
    if len(set(counts.values())) > 1:
        listed = " and ".join(f"{count} {what}" for what, count in counts.items())
        raise AnswerRefused("answer-unreadable", f"the counts differ: {listed}")
    if (count := max(counts.values())) > MAX_OBJECTS:
        raise AnswerRefused("answer-too-large", f"{count:,} boxes, the limit is {MAX_OBJECTS:,}")


def check_score(score: float) -> float:
    """Return a score of 0 to MAX_SCORE; raises AnswerRefused for another."""
    if not math.isfinite(score):
        raise AnswerRefused("answer-not-finite", f"a score is {score}")
    if not 0.0 <= score <= MAX_SCORE:
        raise AnswerRefused("answer-unreadable", f"score {score} is not between 0 and 1")
    return score


def name_of(index: float | str, labels: Sequence[str]) -> str:
    """Return the label of an index, which may be a float; raises AnswerRefused for an unknown index."""
    at = _index(index)
    if not 0 <= at < len(labels):
        raise AnswerRefused("answer-unreadable", f"class {index} is not an index into {len(labels)} labels")
    return labels[at]


def _index(given: float | str) -> int:
    try:
        number = float(given)
    except OverflowError:
        number = math.inf
    if not number.is_integer():
        raise AnswerRefused("answer-unreadable", f"class {number} is not an index")
    return int(number)


def scalars(values: list[Any]) -> list[Any]:
    """Flatten values that may be nested like MXNet's: [[[1.0], [2.0]]] or [[1.0], [2.0]] becomes [1.0, 2.0]."""
    values = _unbatched(values, 1)
    return [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values]


def rows(values: list[Any]) -> list[Any]:
    """Take rows out of a batch of one picture: [[[0, 1], [2, 3]]] becomes [[0, 1], [2, 3]]."""
    return [] if values == [[]] else _unbatched(values, 2)


def _unbatched(values: list[Any], depth: int) -> list[Any]:
    while len(values) == 1 and isinstance(values[0], list) and (depth == 1 or _holds_list(values[0])):
        values = values[0]
    return values


def _holds_list(values: list[Any]) -> bool:
    return bool(values) and isinstance(values[0], list)
