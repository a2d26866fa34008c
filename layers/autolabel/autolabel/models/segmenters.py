"""The contract of promptable segmenters: the request with a frame and its boxes, and the answer with a mask for each.

A request is a form (RFC 7578) with the parts `image`, the frame's bytes as they are, and `prompt`, a Prompt as JSON. An
answer is one JSON object, a SegmenterAnswer. docs/ml-engineers/segmenters.md says why, and what a container must do.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

import msgspec

from autolabel.contracts.errors import AnswerRefused
from autolabel.labels.detections import Box
from autolabel.labels.rle import MAX_MASK_PIXELS, MAX_RLE_BYTES, RleRefused, read_runs

VERSION = 1
# As many masks as are read of a detector's answer.
MAX_PROMPTS = 500
# A frame has hundreds of objects at most, of some kilobytes each.
MAX_ANSWER_BYTES = 16_000_000


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """The question about a frame. `boxes`: xyxy, float pixels of the frame as it is stored, origin top left."""

    version: int = VERSION
    boxes: tuple[Box, ...]


class SegmenterRequest(msgspec.Struct, frozen=True):
    """The payload of an invocation, and its content type with the boundary of the form's parts."""

    body: bytes
    content_type: str


class Rle(msgspec.Struct, frozen=True):
    """COCO's RLE of a mask: `size` is height and width of the frame, `counts` its compressed counts."""

    size: tuple[int, int]
    counts: str


class Mask(msgspec.Struct, frozen=True):
    """The mask of one box. `score`: 0 to 1, how good the model thinks it is. It is empty where the model found nothing.

    `draft`: it is a suggestion for a person, and never a label before one has accepted it.
    """

    rle: Rle
    score: float
    draft: bool


class SegmenterAnswer(msgspec.Struct, frozen=True):
    """An answer: `masks` in the order of the prompt's boxes, one for each."""

    version: int
    masks: list[Mask]


_answers = msgspec.json.Decoder(SegmenterAnswer)


def segmenter_request(image: bytes, media_type: str, boxes: Sequence[Box], width: int, height: int) -> SegmenterRequest:
    """Make the request for a frame of `width` x `height` pixels, of type `image/jpeg` or `image/png`.

    The same frame and boxes always make the same bytes. ValueError for more than MAX_PROMPTS boxes, for a box that is
    not inside the frame, and for a frame of more than MAX_MASK_PIXELS.
    """
    if width * height > MAX_MASK_PIXELS:
        raise ValueError(f"the frame has {width} x {height} pixels, more than {MAX_MASK_PIXELS:,}")
    if len(boxes) > MAX_PROMPTS:
        raise ValueError(f"{len(boxes):,} boxes are more than {MAX_PROMPTS}: ask for them in several requests")
    for x1, y1, x2, y2 in boxes:
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            raise ValueError(f"the box {(x1, y1, x2, y2)} is not inside the frame of {width} x {height}")
    parts = (
        ('name="image"; filename="image"', media_type, image),
        ('name="prompt"', "application/json", msgspec.json.encode(Prompt(boxes=tuple(boxes)))),
    )
    # A boundary must not be in a part: a part that holds a hash of itself cannot be made.
    boundary = hashlib.sha256(b"\n".join(body for *_, body in parts)).hexdigest()
    form = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {name}\r\nContent-Type: {kind}\r\n\r\n".encode()
        + body
        + b"\r\n"
        for name, kind, body in parts
    )
    return SegmenterRequest(form + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}")


def decode_masks(chunks: Iterable[bytes], prompts: int, width: int, height: int) -> tuple[Mask, ...]:
    """Decode a segmenter's answer to `prompts` boxes in a frame of `width` x `height` pixels.

    `chunks`: the answer's bytes; at most MAX_ANSWER_BYTES of them are held. Each mask that is returned has an RLE that
    covers the frame exactly, a score from 0 to 1, and its mark `draft` as the model gave it. Raises AnswerRefused.
    """
    try:
        answer = _answers.decode(_whole(chunks))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise AnswerRefused("answer-unreadable", f"the answer is not one of a segmenter: {e}") from e
    if answer.version != VERSION:
        raise AnswerRefused("answer-unreadable", f"the answer has version {answer.version}, not {VERSION}")
    if len(answer.masks) != prompts:
        raise AnswerRefused("answer-unreadable", f"the answer has {len(answer.masks):,} masks for {prompts:,} boxes")
    for place, mask in enumerate(answer.masks):
        _check(mask, f"masks[{place}]", width, height)
    return tuple(answer.masks)


def _whole(chunks: Iterable[bytes]) -> bytes:
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise AnswerRefused("answer-too-large", f"the answer has more than {MAX_ANSWER_BYTES:,} bytes")
    return bytes(body)


def _check(mask: Mask, place: str, width: int, height: int) -> None:
    if not math.isfinite(mask.score):
        raise AnswerRefused("answer-not-finite", f"{place}: the score is {mask.score}")
    if not 0.0 <= mask.score <= 1.0:
        raise AnswerRefused("answer-unreadable", f"{place}: the score {mask.score} is not between 0 and 1")
    if mask.rle.size != (height, width):
        said = f"the size {list(mask.rle.size)} is not [height, width] of the frame, [{height}, {width}]"
        raise AnswerRefused("answer-unreadable", f"{place}: {said}")
    if len(mask.rle.counts) > MAX_RLE_BYTES:
        said = f"the counts have more than {MAX_RLE_BYTES:,} characters"
        raise AnswerRefused("answer-too-large", f"{place}: {said}")
    try:
        read_runs(mask.rle.counts, width, height)
    except RleRefused as e:
        raise AnswerRefused("answer-unreadable", f"{place}: the RLE cannot be read: {e}") from e
