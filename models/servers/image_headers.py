"""Reads the size of a JPEG or PNG image from its header, without decoding it.

Formats: ITU-T T.81, annex B (JPEG markers and segments); W3C PNG, 11.2.2 (IHDR).
"""

from __future__ import annotations

import struct

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
# SOF0 to SOF15 hold the frame's size; the other three markers in this range are DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers without a segment: TEM, RST0 to RST7.
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
_START_OF_SCAN = 0xDA


class NotAnImage(ValueError):
    """The bytes are not a usable JPEG or PNG image."""


def image_size(body: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header; raises NotAnImage."""
    if body.startswith(_PNG) and body[12:16] == b"IHDR" and len(body) >= 24:
        width, height = struct.unpack(">II", body[16:24])
    elif body.startswith(_JPEG):
        width, height = _jpeg_size(body)
    else:
        raise NotAnImage("the body is neither a JPEG nor a PNG image")
    if width < 1 or height < 1:
        raise NotAnImage(f"the image has no pixels: {width} x {height}")
    return width, height


def _jpeg_size(body: bytes) -> tuple[int, int]:
    at = 2
    # Decoders skip bytes between segments that belong to none.
    while (at := body.find(b"\xff", at)) >= 0 and at + 4 <= len(body):
        marker = body[at + 1]
        if marker in (0x00, 0xFF):  # a stuffed or a fill byte
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in _FRAMES:
            if at + 9 > len(body):
                break
            height, width = struct.unpack(">HH", body[at + 5 : at + 9])
            return width, height
        elif marker == _START_OF_SCAN:
            break
        else:
            # A length counts its own two bytes; decoders take a smaller one for them alone.
            at += 2 + max(2, int.from_bytes(body[at + 2 : at + 4]))
    raise NotAnImage("the JPEG image has no frame header")
