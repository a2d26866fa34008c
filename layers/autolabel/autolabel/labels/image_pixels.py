"""Decodes the pixels of frames without regard to their metadata, and finds out whether all of them are there."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

from autolabel.contracts.errors import ImageRefused
from autolabel.labels.image_parts import (
    APP0,
    APP14,
    COMMENT,
    END_OF_IMAGE,
    PNG,
    START_OF_SCAN,
    Source,
    jpeg_segments,
    png_chunks,
    png_data,
)

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

# Cameras write at most a dozen scans. A scan takes only some bytes of a file but needs a pass over all pixels: decoding
# a megabyte of scans would take longer than the function may run.
MAX_SCANS = 100
_METADATA = frozenset({*range(APP0, APP0 + 16), COMMENT})
# The most bytes of a PNG that are unpacked at a time.
_PIECE = 1024 * 1024
# Values of a pixel by IHDR's colour type; and the passes of an interlaced PNG: left, top, and steps across and down.
_VALUES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
# Application data that tell libjpeg-turbo how colours are stored; shorter ones do not.
_COLORS = {APP0: (b"JFIF\0", 14), APP14: (b"Adobe", 12)}


def open_pixels(body: bytes, name: str) -> ImageFile:
    """Open a PNG or JPEG without its metadata, which Pillow would check; use the result in a `with` block.

    Raises ImageRefused for a broken file, and Pillow's errors for another file or for pixels that it cannot decode.
    """
    # Imported here because few functions decode frames.
    from PIL import Image

    kept = _png_pixels(body, name) if body.startswith(PNG) else _jpeg_pixels(body, name)
    return Image.open(io.BytesIO(kept), formats=["PNG", "JPEG"])


def as_rgb(image: Image) -> Image:
    """Convert a picture to RGB. 16 bits of grey are scaled to 8, as libpng does: Pillow would make most of it white."""
    if image.mode.startswith("I"):
        image = image.point(lambda grey: grey * (1 / 256)).convert("L")
    return image.convert("RGB")


def check_pixels(body: bytes, name: str) -> int:
    """Check that a frame, given whole, has all its pixels; return how many bytes or pixels were decoded.

    Raises ImageRefused: `image-truncated` if the file ends, or has only zeros, before the end of its picture, and
    `not-an-image` if no decoder reads it. Bytes behind the end count for nothing. JPEGs of more than MAX_SCANS scans
    are not decoded.
    """
    # A recorder that loses power leaves a file cut off, or at its whole length with zeros at its end.
    source = Source.of(body.rstrip(b"\0"), name)
    return _check_png(source) if body.startswith(PNG) else _check_jpeg(source, body)


def _truncated(source: Source) -> ImageRefused:
    return ImageRefused("image-truncated", f"{source.name} ends, or has only zeros, before the end of its picture")


def _check_png(source: Source) -> int:
    # Without Pillow, which takes missing rows for black ones, and needs hundreds of megabytes for a large frame.
    unpacking = zlib.decompressobj()
    there, needed = 0, 0
    for chunk in png_chunks(source):
        if not source.holds(chunk.at + chunk.size + 4):
            break
        if chunk.kind == b"IEND":
            if there < needed:
                break
            return there
        data = png_data(source, chunk) if chunk.is_critical else b""
        if data is None:
            raise source.unusable(f"is a damaged PNG: its chunk at byte {chunk.at - 8:,} has a wrong checksum")
        if chunk.kind == b"IHDR":
            needed = _unpacked_size(data)
        elif chunk.kind == b"IDAT":
            try:
                while data and there < needed:
                    there += len(unpacking.decompress(data, _PIECE))
                    data = unpacking.unconsumed_tail
            except zlib.error as e:
                raise source.unusable(f"is a damaged PNG: its pixels are not packed as they must be ({e})") from e
    raise _truncated(source)


def _unpacked_size(header: bytes) -> int:
    """Return the size of a PNG's unpacked pixels: rows of whole bytes, each behind a byte for its filter."""
    width, height, bits, color, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    bits *= _VALUES[color]
    size = 0
    for left, top, across, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -((left - width) // across), -((top - height) // down)
        if columns > 0:
            size += max(0, rows) * (1 + (columns * bits + 7) // 8)
    return size


def _check_jpeg(source: Source, body: bytes) -> int:
    scans = 0
    for segment in jpeg_segments(source):
        if segment.kind == END_OF_IMAGE:
            break
        scans += segment.kind == START_OF_SCAN
    else:
        raise _truncated(source)
    if scans > MAX_SCANS:
        return 0
    try:
        with open_pixels(body, source.name) as image:
            pixels = image.width * image.height
            # Has Pillow decode it at an eighth of its size, in little time and memory.
            image.draft("L", (1, 1))
            image.load()
    except (OSError, SyntaxError, ValueError, IndexError, TypeError, struct.error) as e:
        raise source.unusable(f"has pixels that no decoder reads: {e}") from e
    return pixels * scans


def _png_pixels(body: bytes, name: str) -> bytes:
    source = Source.of(body, name)
    # Without transparency too: a frame is opaque.
    kept = [(c.at - 8, c.at + c.size + 4) for c in png_chunks(source) if c.is_critical]
    return PNG + b"".join(body[start:end] for start, end in kept)


def _jpeg_pixels(body: bytes, name: str) -> bytes:
    source = Source.of(body, name)
    kept = [body[:2]]
    for segment in jpeg_segments(source):
        if segment.kind == START_OF_SCAN:
            kept.append(body[segment.at - 4 :])
            break
        mark, least = _COLORS.get(segment.kind, (b"", 0))
        known = bool(mark) and segment.size >= least and source.read(segment.at, len(mark)) == mark
        if known or segment.kind not in _METADATA:
            kept.append(body[segment.at - 4 : segment.at + segment.size])
    return b"".join(kept)
