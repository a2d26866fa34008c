"""Turns decoded pictures into the bytes of image files: JPEG and PNG are copied, raw pixels become PNG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.frames import MAX_FRAME_BYTES
from autolabel.labels.image_header import MAX_PIXELS
from autolabel.labels.image_parts import JPEG, PNG
from autolabel.logs.kinds import tell_kind
from autolabel.logs.schemas import DEPTH, PackedPicture, RawPicture
from autolabel.logs.selection import THUMBNAIL

if TYPE_CHECKING:
    from PIL.Image import Image as OpenedImage

Pixels = npt.NDArray[np.uint8]

# Level 1 takes a third of the time of Pillow's default, for some percent more bytes.
_PNG_LEVEL = 1
_JPEG_QUALITY = 95
_DEPTHS = ("16UC1", "32FC1")
_DEPTH_MARK = "compressedDepth"
# Bytes of a pixel, and the order of its channels; alpha is left out, since frames are opaque.
_COLORS = {"rgb8": (3, (0, 1, 2)), "bgr8": (3, (2, 1, 0)), "rgba8": (4, (0, 1, 2)), "bgra8": (4, (2, 1, 0))}
# The row and column of the red pixel of each square, by the encoding's name (sensor_msgs/image_encodings.h): it lists
# the first row's two colours, then the second row's.
_BAYER_RED = {"bayer_rggb8": (0, 0), "bayer_grbg8": (0, 1), "bayer_gbrg8": (1, 0), "bayer_bggr8": (1, 1)}
# Where the first luma and the two chromas are in the four bytes of two pixels.
_YUV = {"yuv422": (1, 0, 2), "uyvy": (1, 0, 2), "yuv422_yuy2": (0, 1, 3), "yuyv": (0, 1, 3)}


class ImageFile(NamedTuple):
    """The bytes of an image file. `note`: what was changed or found, empty for nothing."""

    extension: str
    body: bytes
    note: str = ""


def image_file(picture: RawPicture | PackedPicture) -> ImageFile:
    """Make the image file of a picture. LogRefused, with the reason DEPTH for distances, if it is not a frame."""
    return _checked(_copied(picture) if isinstance(picture, PackedPicture) else _encoded(picture))


def photo_file(pixels: npt.NDArray[Any], turns: int) -> ImageFile:
    """Make the JPEG of a video's picture. `pixels`: RGB (height, width, 3), turned left by `turns` quarters."""
    from PIL import Image

    target = io.BytesIO()
    Image.fromarray(np.rot90(pixels, turns)).save(target, format="JPEG", quality=_JPEG_QUALITY, subsampling="4:4:4")
    return _checked(ImageFile("jpg", target.getvalue(), f"turned by {90 * turns} degrees" if turns else ""))


def thumbnail(picture: RawPicture | PackedPicture) -> bytes | None:
    """Make a small grey picture: a byte for each pixel, row by row. None for an image file that cannot be read.

    LogRefused for raw pixels that are not a frame.
    """
    from PIL import Image

    try:
        if isinstance(picture, RawPicture):
            return _shrunk(Image.fromarray(_pixels(picture)[0]))
        # Nothing else becomes a frame, and Pillow would run other programs for some kinds.
        with Image.open(io.BytesIO(picture.data), formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            # A JPEG is decoded at an eighth of its size, and without its colours.
            image.draft("L", THUMBNAIL)
            return _shrunk(image)
    except LogRefused:
        raise
    except Exception:
        # Pillow raises errors of many kinds for damaged files.
        return None


def _shrunk(image: OpenedImage) -> bytes:
    from PIL import Image

    if image.mode.startswith("I"):
        # Of 16 bits the upper ones count; Pillow cuts values above 255.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("L").resize(THUMBNAIL, Image.Resampling.BOX).tobytes()


def _checked(made: ImageFile) -> ImageFile:
    if len(made.body) > MAX_FRAME_BYTES:
        raise LogRefused("frame-too-large", f"it has {len(made.body):,} bytes, the limit is {MAX_FRAME_BYTES:,}")
    return made


def _copied(picture: PackedPicture) -> ImageFile:
    if _DEPTH_MARK in picture.format or picture.format.startswith(_DEPTHS):
        raise LogRefused(DEPTH, f"its format is {picture.format[:40]!r}")
    body = bytes(picture.data)
    if body.startswith(PNG):
        return ImageFile("png", body)
    if body.startswith(JPEG):
        return ImageFile("jpg", body)
    kind = tell_kind(body).name
    raise LogRefused(
        "not-an-image", f"its {len(body):,} bytes begin as {kind or 'neither PNG nor JPEG'}; {picture.format[:40]!r}"
    )


def _encoded(picture: RawPicture) -> ImageFile:
    # Takes a tenth of a second to import, and copies do not need it.
    from PIL import Image

    pixels, notes = _pixels(picture)
    if picture.step * picture.height < len(picture.data):
        notes = (*notes, "trailing bytes left out")
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, format="PNG", compress_level=_PNG_LEVEL)
    return ImageFile("png", target.getvalue(), ", ".join(notes))


def _pixels(picture: RawPicture) -> tuple[npt.NDArray[np.uint8] | npt.NDArray[np.uint16], tuple[str, ...]]:
    """Decode to grey, grey of 16 bits or RGB: (height, width) or (height, width, 3); and notes."""
    encoding = picture.encoding
    if encoding.startswith(_DEPTHS):
        raise LogRefused(DEPTH, f"its encoding is {encoding[:40]!r}")
    if encoding in _COLORS:
        count, order = _COLORS[encoding]
        colors = _rows(picture, count).reshape(picture.height, picture.width, count)[:, :, order]
        return np.ascontiguousarray(colors), ("alpha left out",) if count == 4 else ()
    if encoding == "mono8":
        return _rows(picture, 1), ()
    if encoding == "mono16":
        return _rows(picture, 2).view(">u2" if picture.big_endian else "<u2").astype(np.uint16), ()
    if encoding in _BAYER_RED:
        return _debayered(_rows(picture, 1), *_BAYER_RED[encoding]), ("debayered",)
    if encoding in _YUV:
        return _from_yuv(_rows(picture, 2), *_YUV[encoding]), ("converted from YUV",)
    raise LogRefused("encoding-unknown", f"its encoding is {encoding[:40]!r}, which is not read")


def _rows(picture: RawPicture, count: int) -> Pixels:
    """Cut the rows out of the data, without their padding: (height, width × count)."""
    width, height, step = picture.width, picture.height, picture.step
    if not 0 < width * height <= MAX_PIXELS or width < 0:
        raise LogRefused("size-wrong", f"it has {width:,}x{height:,} pixels; 1 to {MAX_PIXELS:,} are read")
    row = width * count
    if step < row:
        raise LogRefused("step-too-short", f"its step of {step:,} bytes is too short for rows of {row:,}")
    needed = step * (height - 1) + row
    if len(picture.data) < needed:
        raise LogRefused("data-too-short", f"it has {len(picture.data):,} bytes and needs {needed:,}")
    data = np.frombuffer(picture.data, np.uint8)
    rows: Pixels = np.lib.stride_tricks.as_strided(data, (height, row), (step, 1), writeable=False)
    return np.ascontiguousarray(rows)


def _debayered(mosaic: Pixels, red_row: int, red_column: int) -> Pixels:
    """Interpolate the missing colours of a Bayer mosaic from their nearest neighbours, bilinearly."""
    height, width = mosaic.shape
    if height < 2 or width < 2:
        raise LogRefused("size-wrong", f"a Bayer picture of {width}x{height} pixels has no colours")
    # Reflection keeps each colour's place in the squares.
    around = np.pad(mosaic, 1, mode="reflect").astype(np.uint16)
    above, below = around[:-2, 1:-1], around[2:, 1:-1]
    left, right = around[1:-1, :-2], around[1:-1, 2:]
    cross = (above + below + left + right + 2) >> 2
    diagonal = (around[:-2, :-2] + around[:-2, 2:] + around[2:, :-2] + around[2:, 2:] + 2) >> 2
    sides, ends = (left + right + 1) >> 1, (above + below + 1) >> 1
    made = np.empty((height, width, 3), np.uint8)
    blue_row, blue_column = 1 - red_row, 1 - red_column
    for own, other, row, column in ((0, 2, red_row, red_column), (2, 0, blue_row, blue_column)):
        here = np.s_[row::2, column::2]
        made[(*here, own)], made[(*here, 1)], made[(*here, other)] = mosaic[here], cross[here], diagonal[here]
        # Green pixels in the rows of this colour: it is beside them, and the other one above and below.
        green = np.s_[row::2, 1 - column :: 2]
        made[(*green, own)], made[(*green, 1)], made[(*green, other)] = sides[green], mosaic[green], ends[green]
    return made


def _from_yuv(rows: Pixels, luma: int, blue: int, red: int) -> Pixels:
    """Convert pairs of pixels with shared chroma to RGB, by ITU-R BT.601 with video levels, as OpenCV and ROS do."""
    height, length = rows.shape
    if length % 4:
        raise LogRefused("size-wrong", f"a picture of pairs of pixels is {length // 2} wide")
    pairs = rows.reshape(height, length // 4, 4)
    y = np.stack((pairs[:, :, luma], pairs[:, :, luma + 2]), axis=2).reshape(height, length // 2).astype(np.float32)
    u, v = (np.repeat(pairs[:, :, at], 2, axis=1).astype(np.float32) - 128 for at in (blue, red))
    scaled = 1.164 * np.maximum(y - 16, 0)
    colors = np.stack((scaled + 1.596 * v, scaled - 0.813 * v - 0.391 * u, scaled + 2.018 * u), axis=2)
    made: Pixels = np.clip(np.rint(colors), 0, 255).astype(np.uint8)
    return made
