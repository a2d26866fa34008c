"""Read masks from answers one at a time, and bring them to the frame's size as COCO run-length encodings (RLE)."""

from __future__ import annotations

import base64
import io
import math
import re
import struct
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from autolabel.contracts.errors import AnswerRefused
from autolabel.labels.detections import Box
from autolabel.labels.manifest import whole_pixels
from autolabel.labels.rle import MAX_MASK_PIXELS
from autolabel.models.decoders.base import BOX_OF_MASK, FRAME, DecoderOptions, MaskPlace, RawDetection, Resized

Bitmap = NDArray[np.uint8]

# Detectors give about a hundred; each is work on a picture of the frame's size.
MAX_MASKS = 500
# The encodings of an answer's masks are kept until its objects are known.
MAX_ENCODED_BYTES = 16_000_000
# A row of 50,000 numbers of 20 characters. Each number takes as much memory again while the row is read.
MAX_ROW_BYTES = 1_000_000
MAX_CORNERS = 10_000
# How many times an outline may go around the frame: the encoder keeps every point of it.
MAX_ROUNDS = 25
# Pixels. If a box ends farther away, the part of its mask in the frame is smaller than the precision of floats.
MAX_DISTANCE = 1e9

_ROW = re.compile(rb"\[[^\[\]]*\]")
_row = msgspec.json.Decoder(list[bool | float])


class _Outline(msgspec.Struct):
    x: list[float]
    y: list[float]


class _Encoded(msgspec.Struct, frozen=True):
    """A mask at its own size. `placed`: its size is the frame's."""

    height: int
    width: int
    counts: bytes
    padded: bool = False
    placed: bool = False


class AnswerMasks:
    """The masks of one answer for a frame of `width` x `height` pixels. They are placed on the frame on request."""

    def __init__(self, width: int, height: int, options: DecoderOptions) -> None:
        if width * height > MAX_MASK_PIXELS:
            raise AnswerRefused("answer-too-large", f"a frame with masks has at most {MAX_MASK_PIXELS:,} pixels")
        self._width, self._height = width, height
        self._options = options
        self._masks: list[_Encoded | None] = []
        self._count = self._bytes = 0

    def take(self, place: MaskPlace, mask: bytes) -> None:
        """Take the JSON of the answer's next mask: nested lists, a picture as base64, an outline, or null."""
        self._count += mask != b"null"
        if self._count > MAX_MASKS:
            raise AnswerRefused("answer-too-large", f"the answer has more than {MAX_MASKS} masks")
        encoded = self._read(mask, place.padded)
        self._bytes += len(encoded.counts) if encoded else 0
        if self._bytes > MAX_ENCODED_BYTES:
            raise AnswerRefused("answer-too-large", f"the masks take more than {MAX_ENCODED_BYTES:,} bytes encoded")
        self._masks.append(encoded)

    def of_object(self, raw: RawDetection, inside: Box | None) -> tuple[str, Box | None]:
        """Return an object's mask at the frame's size and its box. The mask is the counts of its RLE, or empty.

        `inside`: the part of its box that is in the frame. Raises AnswerRefused if the answer has masks, but none at
        the object's position.
        """
        if not self._masks or raw.mask < 0:
            return "", inside
        if raw.mask >= len(self._masks):
            raise AnswerRefused("answer-unreadable", f"the answer has more objects than masks ({len(self._masks)})")
        mask = self._masks[raw.mask]
        placed = self._placed(mask, raw.box, inside) if mask else b""
        if not placed or not coco.area(_rle(placed, self._width, self._height)):
            return "", inside
        if raw.box == BOX_OF_MASK:
            inside = bounds(placed, self._width, self._height)
        return placed.decode(), inside

    def _read(self, mask: bytes, padded: bool) -> _Encoded | None:
        try:
            if mask.startswith(b"["):
                bitmap = _bitmap_of_lists(mask, self._options.mask_threshold)
            elif mask.startswith(b'"'):
                bitmap = _bitmap_of_picture(mask, self._options.mask_threshold)
            elif mask.startswith(b"{"):
                return self._outlined(msgspec.json.decode(mask, type=_Outline))
            elif mask == b"null":
                return None
            else:
                raise AnswerRefused("answer-unreadable", "a mask is neither list nor picture nor outline")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            raise AnswerRefused("answer-unreadable", f"a mask is unreadable: {e}") from e
        height, width = bitmap.shape
        return _Encoded(height, width, encode(bitmap), padded)

    def _outlined(self, outline: _Outline) -> _Encoded | None:
        if len(outline.x) != len(outline.y) or len(outline.x) > MAX_CORNERS:
            raise AnswerRefused("answer-unreadable", f"an outline needs as many x as y, and at most {MAX_CORNERS:,}")
        if len(outline.x) < 3:
            return None
        corners = [
            self._options.on_frame((x, y, x, y), self._width, self._height)[:2]
            for x, y in zip(outline.x, outline.y, strict=True)
        ]
        # The encoder walks along each side, so no side may lead far outside the frame.
        inside = np.clip(np.nan_to_num(corners), 0, (self._width, self._height))
        if np.abs(inside - np.roll(inside, 1, axis=0)).sum() > 2 * MAX_ROUNDS * (self._width + self._height):
            raise AnswerRefused("answer-too-large", f"an outline is longer than {MAX_ROUNDS} times around the frame")
        (encoded,) = coco.frPyObjects([inside.ravel().tolist()], self._height, self._width)
        return _Encoded(self._height, self._width, encoded["counts"], placed=True)

    def _placed(self, mask: _Encoded, box: Box, inside: Box | None) -> bytes:
        if mask.placed:
            return mask.counts
        if self._options.mask_area == "box":
            return self._in_box(mask, box, inside) if inside else b""
        size = (self._width, self._height)
        if mask.padded:
            area = Resized(width=mask.width, height=mask.height, padded=True).area(*size)
        else:
            area = (self._options.resized or FRAME).area(*size)
        across, down = mask.width / area.width, mask.height / area.height
        part = (area.box[0] * across, area.box[1] * down, area.box[2] * across, area.box[3] * down)
        if (mask.width, mask.height) == size and part == (0, 0, *size):
            return mask.counts
        return self._pasted(mask, part, (0, 0, *size))

    def _in_box(self, mask: _Encoded, box: Box, inside: Box) -> bytes:
        if max(map(abs, box)) > MAX_DISTANCE:
            return b""
        x1, y1, x2, y2 = box
        left, top, width, height = whole_pixels(inside, self._width, self._height)
        right, bottom = left + width, top + height
        across, down = mask.width / (x2 - x1), mask.height / (y2 - y1)
        part = ((left - x1) * across, (top - y1) * down, (right - x1) * across, (bottom - y1) * down)
        return self._pasted(mask, part, (left, top, right, bottom))

    def _pasted(self, mask: _Encoded, part: Box, to: tuple[int, int, int, int]) -> bytes:
        """Scale the `part` of a mask (xyxy, its pixels) to the frame's pixels `to`; the rest of the frame is empty."""
        across, down = (to[2] - to[0]) / (part[2] - part[0]), (to[3] - to[1]) / (part[3] - part[1])
        # Scale only the covered part and the margin that scaling spreads it to: most masks are small.
        covered = bounds(mask.counts, mask.width, mask.height)
        aside, above = 1 + max(1.0, across), 1 + max(1.0, down)
        left = max(to[0], math.floor(to[0] + (covered[0] - part[0]) * across - aside))
        top = max(to[1], math.floor(to[1] + (covered[1] - part[1]) * down - above))
        right = min(to[2], math.ceil(to[0] + (covered[2] - part[0]) * across + aside))
        bottom = min(to[3], math.ceil(to[1] + (covered[3] - part[1]) * down + above))
        if left >= right or top >= bottom:
            return b""
        x1, y1 = max(0.0, part[0] + (left - to[0]) / across), max(0.0, part[1] + (top - to[1]) / down)
        x2 = min(float(mask.width), part[0] + (right - to[0]) / across)
        y2 = min(float(mask.height), part[1] + (bottom - to[1]) / down)
        if x1 >= x2 or y1 >= y2:
            return b""
        own = Image.fromarray(decode(mask.counts, mask.width, mask.height) * np.uint8(255))
        scaled = own.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=(x1, y1, x2, y2))
        bitmap = np.zeros((self._height, self._width), np.uint8)
        bitmap[top:bottom, left:right] = np.asarray(scaled) > 127
        return encode(bitmap)


def encode(bitmap: Bitmap) -> bytes:
    """Encode a bitmap; return the counts of its RLE."""
    counts: bytes = coco.encode(np.asfortranarray(bitmap))["counts"]
    return counts


def decode(counts: bytes | str, width: int, height: int) -> Bitmap:
    """Decode the counts of an RLE into a bitmap."""
    bitmap: Bitmap = coco.decode(_rle(counts, width, height))
    return bitmap


def bounds(counts: bytes | str, width: int, height: int) -> Box:
    """Return the box (xyxy) around a mask."""
    left, top, across, down = (float(side) for side in coco.toBbox(_rle(counts, width, height)))
    return (left, top, left + across, top + down)


def _rle(counts: bytes | str, width: int, height: int) -> dict[str, Any]:
    return {"size": [height, width], "counts": counts}


def _bitmap_of_lists(mask: bytes, threshold: float) -> Bitmap:
    rows = [row for part in mask.split(b"]") if (row := part.translate(None, b"[, \t\r\n"))]
    digits = b"".join(rows)
    if digits.count(b"0") + digits.count(b"1") == len(digits) == mask.count(b",") + 1:
        # Only single zeros and ones, as in most masks: no number has to be parsed.
        if len({len(row) for row in rows}) != 1:
            raise AnswerRefused("answer-unreadable", "the rows of a mask have different lengths")
        return _checked((np.frombuffer(digits, np.uint8) == ord("1")).astype(np.uint8).reshape(len(rows), -1))
    parsed = [_pixels(row[0], threshold) for row in _ROW.finditer(mask)]
    if len({row.size for row in parsed}) != 1:
        raise AnswerRefused("answer-unreadable", "the rows of a mask have different lengths")
    return _checked(np.stack(parsed).astype(np.uint8))


def _pixels(row: bytes, threshold: float) -> NDArray[np.bool_]:
    if len(row) > MAX_ROW_BYTES:
        raise AnswerRefused("answer-too-large", f"a row of a mask takes more than {MAX_ROW_BYTES:,} bytes")
    pixels: NDArray[np.bool_] = np.asarray(_row.decode(row), float) >= threshold
    return pixels


def _bitmap_of_picture(mask: bytes, threshold: float) -> Bitmap:
    body = msgspec.json.decode(mask, type=str)
    try:
        with Image.open(io.BytesIO(base64.b64decode(body)), formats=["PNG", "JPEG"]) as picture:
            if picture.width * picture.height > MAX_MASK_PIXELS:
                raise AnswerRefused("answer-too-large", f"a mask has more than {MAX_MASK_PIXELS:,} pixels")
            grey = np.asarray(picture.convert("L"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, IndexError, TypeError, struct.error) as e:
        # Pillow raises the last three for broken chunks after a picture's data, where it does not expect them.
        raise AnswerRefused("answer-unreadable", f"a mask is not a readable picture: {e}") from e
    return _checked((grey >= 255 * threshold).astype(np.uint8))


def _checked(bitmap: Bitmap) -> Bitmap:
    if not 0 < bitmap.size <= MAX_MASK_PIXELS:
        raise AnswerRefused("answer-unreadable", f"a mask has {bitmap.size:,} pixels, not 1 to {MAX_MASK_PIXELS:,}")
    return bitmap
