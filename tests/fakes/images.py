"""Good frames, and bad ones of each kind."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

EXIF_ORIENTATION = 0x0112
GREY = (90, 110, 130)


def png(
    width: int = 64, height: int = 48, color: tuple[int, int, int] = GREY, *, orientation: int | None = None
) -> bytes:
    return saved(Image.new("RGB", (width, height), color), "PNG", **_exif(orientation))


def jpeg(width: int = 64, height: int = 48, *, orientation: int | None = None, comment: bytes = b"") -> bytes:
    body = saved(Image.new("RGB", (width, height), GREY), "JPEG", **_exif(orientation))
    return body[:2] + segments(0xFE, comment) + body[2:]


def saved(image: Image.Image, name: str, **options: object) -> bytes:
    """Encode a picture in one of Pillow's formats."""
    out = io.BytesIO()
    image.save(out, name, **options)
    return out.getvalue()


def encoded(name: str, width: int = 64, height: int = 48) -> bytes:
    """A grey picture in one of Pillow's formats."""
    return saved(Image.new("RGB", (width, height)), name)


def multi_picture_jpeg(width: int = 64, height: int = 48) -> bytes:
    """A JPEG with a second picture after it, as stereo and many dash cameras write it."""
    image = Image.new("RGB", (width, height))
    return saved(image, "MPO", save_all=True, append_images=[image])


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG of any size, without its pixels."""
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        # Fixed bytes, since compressors differ and a sample may hold their ETag.
        + png_chunk(b"IDAT", b"\x78\x9c\x63\x00\x00\x00\x01\x00\x01")
    )


def jpeg_header(width: int, height: int) -> bytes:
    """The start of a JPEG of any size, without its pixels."""
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes([1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1])
    return b"\xff\xd8" + segments(0xC0, frame) + segments(0xDA, bytes([3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]))


def segments(marker: int, body: bytes) -> bytes:
    """JPEG segments that hold the bytes, at most 65,533 in each; none for no bytes."""
    pieces = (body[at : at + 65_533] for at in range(0, len(body), 65_533))
    return b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(piece) + 2) + piece for piece in pieces)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG, with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _exif(orientation: int | None) -> dict[str, bytes]:
    if orientation is None:
        return {}
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    return {"exif": exif.tobytes()}
