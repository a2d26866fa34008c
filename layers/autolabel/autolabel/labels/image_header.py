"""Reads a frame's type and size from its first bytes, without its pixels.

Metadata never decide whether a file is a PNG or JPEG: only an orientation and an animation are looked for in them.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

from autolabel.contracts.errors import ImageRefused
from autolabel.labels.image_parts import (
    APP1,
    END_OF_IMAGE,
    FRAME_HEADERS,
    JPEG,
    PNG,
    START_OF_SCAN,
    WINDOWS,
    Chunk,
    Read,
    Segment,
    Source,
    jpeg_segments,
    png_chunks,
    png_data,
)

# Ground Truth takes images of at most 100 megapixels (input-data-limits).
MAX_PIXELS = 100_000_000
# The most bytes of metadata that are looked into; and of compressed ones unpacked, as Pillow does.
MAX_METADATA = WINDOWS[-1]
_MAX_UNPACKED = 1024 * 1024
_EXIF_ORIENTATION = 0x0112
# The orientations that mirror or turn a picture. 1 does not, and decoders take all other numbers for 1.
_TURNS = frozenset(range(2, 9))
# How Pillow finds an orientation in XMP data. Hugging Face's loaders apply it (exif_transpose).
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_TEXT_XMP, _TEXT_EXIF = b"XML:com.adobe.xmp", b"Raw profile type exif"
# Channels by IHDR's colour type; a palette has colours.
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


class ImageHeader(NamedTuple):
    """A frame's `format` (png or jpeg), `width` and `height` in stored pixels, and `depth` in channels."""

    format: str
    width: int
    height: int
    depth: int


def read_header(read: Read, name: str) -> ImageHeader:
    """Read a frame's header through `read(start, count)`, which returns fewer bytes only at the file's end.

    Raises ImageRefused, which names the frame, if it is not PNG or JPEG, ends before its pixels, exceeds MAX_PIXELS,
    has an orientation that turns or mirrors it, or is an animation (APNG). In the last two cases, a model's boxes and
    a person's would disagree. Also if its metadata exceed the bounds of the reads. What a PNG has behind its pixels is
    seen only if the reads for its header hold it.
    """
    source = Source(read, name)
    start = source.read(0, len(PNG))
    if start == PNG:
        return _read_png(source)
    if start.startswith(JPEG):
        return _read_jpeg(source)
    raise source.unusable("is neither PNG nor JPEG")


def _read_png(source: Source) -> ImageHeader:
    header = None
    pixels = still = False
    frames = 0
    metadata: dict[str, bytes] = {}
    for chunk in png_chunks(source):
        kind = chunk.kind
        pixels = pixels or kind == b"IDAT"
        if header is None:
            header = _png_header(source, chunk)
        elif pixels and not source.holds(chunk.at + chunk.size + 12):
            break
        elif kind == b"fcTL":
            still = still or not pixels
        elif kind == b"acTL" and not pixels:
            # Like libpng, this leaves out chunks with a wrong checksum that are not needed for the picture.
            frames = int.from_bytes((png_data(source, chunk) or b"")[:4]) if chunk.size == 8 else 0
        elif kind == b"eXIf":
            metadata["exif"] = _metadata(source, chunk)
        elif kind in _TEXTS:
            metadata.update(_png_text(source, chunk))
        elif kind == b"PLTE" and (chunk.size > 768 or png_data(source, chunk) is None):
            raise source.unusable("is a broken PNG: its palette is damaged")
        elif chunk.is_critical and kind not in (b"PLTE", b"IDAT", b"IEND"):
            raise source.unusable(f"is a PNG that no decoder reads: it has a chunk {kind!r} at byte {chunk.at - 8:,}")
    if header is None:
        raise source.unusable("is a PNG without a size: it ends before it")
    exif = metadata.get("exif")
    if exif is None and "raw" in metadata:
        exif = _raw_profile(metadata["raw"])
    _refuse_turned(source, exif, metadata.get("xmp", b""))
    # The first picture is one of the animation if its frame control precedes its pixels. If it is not, browsers show
    # the animation's picture, and models the first one.
    if frames > 1 or (frames == 1 and not still):
        raise ImageRefused("animated", f"{source.name} is an animation, and models see only one picture of it")
    return _with_pixels(source, header, pixels)


def _png_header(source: Source, chunk: Chunk) -> ImageHeader:
    data = png_data(source, chunk) if (chunk.kind, chunk.size) == (b"IHDR", 13) else None
    if data is None:
        raise source.unusable(f"is a PNG without a size: its first chunk, {chunk.kind!r}, is another or damaged")
    width, height, bits, color, *methods, interlacing = struct.unpack(">IIBBBBB", data)
    if bits not in _DEPTHS.get(color, ()) or any(methods) or interlacing > 1:
        raise source.unusable(f"is a PNG that no decoder reads: its header is {data.hex()}")
    return _checked(source, ImageHeader("png", width, height, _CHANNELS[color]))


def _png_text(source: Source, chunk: Chunk) -> dict[str, bytes]:
    """Read a text of a PNG that can hold an orientation, as Pillow does: {"xmp" or "raw": its bytes}, else {}."""
    keyword = source.read(chunk.at, min(chunk.size, 80)).partition(b"\0")[0]
    kept = {_TEXT_XMP: "xmp", _TEXT_EXIF: "raw"}.get(keyword)
    if kept is None:
        return {}
    text = _metadata(source, chunk)[len(keyword) + 1 :]
    packed = chunk.kind == b"zTXt"
    if packed:
        text = text[1:]
    elif chunk.kind == b"iTXt":
        packed, text = text[:1] != b"\0", b"\0".join(text[2:].split(b"\0", 2)[2:])
    if packed:
        unpacking = zlib.decompressobj()
        try:
            text = unpacking.decompress(text, _MAX_UNPACKED)
        except zlib.error:
            return {}
        if unpacking.unconsumed_tail:
            # Pillow opens no such file, so nothing turns it.
            return {}
    return {kept: text}


def _metadata(source: Source, chunk: Chunk) -> bytes:
    """Read metadata that can hold an orientation; empty if they are damaged."""
    if chunk.size > MAX_METADATA:
        raise ImageRefused(
            "metadata-too-large",
            f"{source.name} may be turned by an orientation in {chunk.size:,} bytes of metadata, the limit is "
            f"{MAX_METADATA:,}; leave out metadata",
        )
    return png_data(source, chunk) or b""


def _raw_profile(text: bytes) -> bytes:
    """Read EXIF data that ImageMagick wrote as text: three lines, and hexadecimal digits."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("latin-1"))
    except ValueError:
        return b""


def _read_jpeg(source: Source) -> ImageHeader:
    header = None
    pixels = False
    exif, xmp = b"", b""
    for segment in jpeg_segments(source):
        if segment.kind == END_OF_IMAGE:
            break
        if segment.kind == START_OF_SCAN:
            pixels = True
            break
        if segment.kind in FRAME_HEADERS:
            if header is not None:
                raise source.unusable(f"is a broken JPEG: it has a second size at byte {segment.at - 4:,}")
            header = _jpeg_header(source, segment)
        elif segment.kind == APP1:
            # A segment holds 64 KB. Pillow joins those with EXIF data, and takes the last one with XMP data.
            head = source.read(segment.at, min(segment.size, len(_XMP)))
            if head.startswith(_EXIF) and len(exif) < MAX_METADATA:
                data = source.read(segment.at, segment.size)
                exif += data[len(_EXIF) :] if exif else data
            elif head == _XMP:
                xmp = source.read(segment.at, segment.size)
    if header is None:
        raise source.unusable("is a JPEG without a size: it ends before it")
    _refuse_turned(source, exif, xmp)
    return _with_pixels(source, header, pixels)


def _jpeg_header(source: Source, segment: Segment) -> ImageHeader:
    data = source.read(segment.at, segment.size)
    if len(data) < 6 or len(data) != 6 + 3 * data[5]:
        raise source.unusable("is a JPEG without a size: its frame header is damaged")
    bits, height, width, channels = struct.unpack(">BHHB", data[:6])
    if bits != 8 or channels not in (1, 3, 4):
        raise source.unusable(f"is a JPEG that no decoder reads: it has {channels} channels of {bits} bits")
    return _checked(source, ImageHeader("jpeg", width, height, channels))


def _checked(source: Source, header: ImageHeader) -> ImageHeader:
    width, height = header.width, header.height
    if not 0 < width < 2**31 or not 0 < height < 2**31:
        raise source.unusable(f"has {width}x{height} pixels, so it is no picture")
    if width * height > MAX_PIXELS:
        raise ImageRefused("too-many-pixels", f"{source.name} has {width}x{height} pixels, the limit is {MAX_PIXELS:,}")
    return header


def _with_pixels(source: Source, header: ImageHeader, pixels: bool) -> ImageHeader:
    if not pixels:
        raise ImageRefused("image-truncated", f"{source.name} ends before its pixels")
    return header


def _refuse_turned(source: Source, exif: bytes | None, xmp: bytes) -> None:
    """Raise ImageRefused if a decoder turns the picture. XMP counts as for Pillow: if EXIF has no orientation."""
    orientation = _exif_orientation(exif) if exif else None
    if orientation is not None:
        found, place = orientation, "EXIF"
    else:
        match = _XMP_ORIENTATION.search(xmp)
        found, place = int(match[1]) if match else 1, "XMP"
    if found in _TURNS:
        raise ImageRefused("rotated", f"{source.name} is rotated by its {place} orientation {found}")


def _exif_orientation(exif: bytes) -> object:
    """Read the orientation in EXIF data; None if they have none or are damaged."""
    # Most frames have no EXIF data, and need no Pillow.
    from PIL import Image

    tags = Image.Exif()
    try:
        tags.load(exif)
        return tags.get(_EXIF_ORIENTATION)
    except Exception:
        # Pillow raises errors of many kinds for damaged data, and its loaders open no such file.
        return None
