"""Reads a frame's type and size from its first bytes, without its pixels."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import NamedTuple

from PIL import Image, ImageFile, UnidentifiedImageError

from autolabel.contracts.errors import ImageRefused

# Enough for the header of most frames; a JPEG with a large preview in its EXIF data needs the second try.
FIRST_BYTES = 16 * 1024
MORE_BYTES = 512 * 1024
# Ground Truth takes images of at most 100 megapixels (input-data-limits).
MAX_PIXELS = 100_000_000
_EXIF_ORIENTATION = 0x0112
# A JPEG that carries further pictures (phones, stereo cameras) is MPO to Pillow; its first picture is the frame.
_FORMATS = {"PNG": "png", "JPEG": "jpeg", "MPO": "jpeg"}
_DEPTHS = {"1": 1, "L": 1, "I;16": 1, "I": 1, "P": 3, "LA": 2, "RGB": 3, "YCbCr": 3, "CMYK": 4, "RGBA": 4}


class ImageHeader(NamedTuple):
    """A frame's `format` (png or jpeg), `width` and `height` in stored pixels, and `depth` in channels."""

    format: str
    width: int
    height: int
    depth: int


def read_header(read: Callable[[int], bytes], name: str) -> ImageHeader:
    """Read a frame's header through `read(n)`, which returns its first n bytes, or all if it has fewer.

    Raises ImageRefused, which names the frame, if it is not PNG or JPEG, exceeds MAX_PIXELS, has an EXIF orientation
    that rotates or mirrors it, or is an animation (APNG). In the last two cases, a model's boxes and a person's would
    disagree.
    """
    header = None
    for count in (FIRST_BYTES, MORE_BYTES):
        body = read(count)
        header = _parse(body, name)
        if header is not None or len(body) < count:
            break
    if header is None:
        raise ImageRefused("not-an-image", f"{name} is neither PNG nor JPEG")
    return header


def _parse(body: bytes, name: str) -> ImageHeader | None:
    try:
        with Image.open(io.BytesIO(body), formats=["PNG", "JPEG"]) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageRefused(
                    "too-many-pixels", f"{name} has {width}x{height} pixels, the limit is {MAX_PIXELS:,}"
                )
            orientation = _orientation(image)
            if orientation not in (None, 1):
                raise ImageRefused("rotated", f"{name} is rotated by its EXIF orientation {orientation}")
            if image.get_format_mimetype() == "image/apng":
                raise ImageRefused("animated", f"{name} is an animation, and models see only one picture of it")
            return ImageHeader(_FORMATS[image.format or ""], width, height, _DEPTHS.get(image.mode, 3))
    except Image.DecompressionBombError as e:
        raise ImageRefused("too-many-pixels", f"{name}: {e}") from e
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return None


def _orientation(image: ImageFile.ImageFile) -> int | None:
    if image.format == "PNG" and "exif" not in image.info:
        # getexif() of a PNG would decode all pixels to look for a late eXIf chunk.
        return None
    value = image.getexif().get(_EXIF_ORIENTATION)
    return value if isinstance(value, int) else None
