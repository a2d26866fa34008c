"""Frames from outside: a header is read or refused; a picture for the report is drawn or left out."""

from __future__ import annotations

import base64
import io
import re
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from PIL import Image, PngImagePlugin

from autolabel.contracts.errors import ImageRefused
from autolabel.labels.image_header import MAX_PIXELS, ImageHeader, read_header
from autolabel.labels.image_pixels import check_pixels
from tests.fakes.images import (
    encoded,
    jpeg,
    jpeg_header,
    multi_picture_jpeg,
    png,
    png_chunk,
    png_header,
    saved,
    segments,
)
from tests.fuzz.mutations import fuzz, mutated
from tests.fuzz.pictures import pictures_of
from tests.fuzz.refusals import assert_refusal

# Pillow warns before it refuses or skips something.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")


def exif() -> bytes:
    """A JPEG with all the metadata of a camera."""
    noted = Image.Exif()
    noted[0x0112], noted[0x010E], noted[0x011A] = 1, "x" * 50, 72.0
    noted[0x8769] = {0x9003: "2026:01:01 00:00:00", 0x927C: b"m" * 20}
    return saved(Image.new("RGB", (16, 16)), "JPEG", exif=noted.tobytes())


def annotated() -> bytes:
    """A PNG with texts, some of them compressed."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("a", "b" * 50, zip=True)
    texts.add_itxt("c", "d", zip=True)
    return saved(Image.new("RGB", (16, 16)), "PNG", pnginfo=texts, dpi=(72, 72), transparency=(1, 2, 3))


def animation() -> bytes:
    pictures = [Image.new("RGB", (16, 16), color) for color in ("red", "green")]
    return saved(pictures[0], "PNG", save_all=True, append_images=pictures[1:])


GOOD = {
    "8 bits": png(16, 16),
    "16 bits": saved(Image.new("I;16", (16, 16)), "PNG"),
    "palette": saved(Image.new("P", (16, 16)), "PNG", transparency=0),
    "alpha": saved(Image.new("RGBA", (16, 16)), "PNG"),
    "texts": annotated(),
    "jpeg": jpeg(16, 16, comment=b"hello"),
    "exif": exif(),
    "cmyk": saved(Image.new("CMYK", (16, 16)), "JPEG"),
    "progressive": saved(Image.new("RGB", (16, 16)), "JPEG", progressive=True),
    "two pictures": multi_picture_jpeg(16, 16),
}


def header(body: bytes) -> ImageHeader:
    return read_header(lambda start, count: body[start : start + count], "frame")


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_every_kind_of_frame_is_read(body: bytes) -> None:
    assert header(body)[1:3] == (16, 16)


HTML = b"<!doctype html><script>alert(1)</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><script>alert(1)</script></svg>'
BAD = {
    "nothing": (b"", "not-an-image"),
    "svg": (SVG, "not-an-image"),
    "svg behind a declaration": (b'<?xml version="1.0"?>' + SVG, "not-an-image"),
    "html before a PNG": (HTML + png(), "not-an-image"),
    "gif": (encoded("GIF"), "not-an-image"),
    "gif and html": (b"GIF89a/*" + HTML, "not-an-image"),
    "zip": (b"PK\x03\x04" + bytes(60), "not-an-image"),
    "pdf before a JPEG": (b"%PDF-1.4\n" + jpeg(), "not-an-image"),
    "tiff": (encoded("TIFF"), "not-an-image"),
    "webp": (encoded("WEBP"), "not-an-image"),
    "no width": (png_header(0, 10), "not-an-image"),
    "no size": (jpeg_header(0, 0), "not-an-image"),
    "2^31 by 2^31": (png_header(2**31 - 1, 2**31 - 1), "too-many-pixels"),
    "largest JPEG": (jpeg_header(65_535, 65_535), "too-many-pixels"),
    "a pixel too many": (png_header(MAX_PIXELS + 1, 1), "too-many-pixels"),
    "animated": (animation(), "animated"),
    "rotated": (jpeg(orientation=6), "rotated"),
    "rotated PNG": (png(orientation=3), "rotated"),
    "endless marker": (b"\xff\xd8" + b"\xff" * 1_000_000, "not-an-image"),
    "endless segments": (b"\xff\xd8" + segments(0xFE, b"x") * 200_000, "not-an-image"),
    "no pixels": (png()[:33], "image-truncated"),
}


@pytest.mark.parametrize(("body", "reason"), BAD.values(), ids=BAD)
def test_an_unusable_frame_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(ImageRefused) as refused:
        header(body)
    assert refused.value.reason == reason


@pytest.mark.parametrize("behind", [HTML, SVG, b"PK\x05\x06" + bytes(18)], ids=["html", "svg", "zip"])
def test_bytes_after_a_frame_are_not_shown(behind: bytes) -> None:
    for body in (png(), jpeg()):
        assert header(body + behind) == header(body)
        assert_picture(pictures_of(body + behind), drawn=True)


@fuzz
@given(mutated([*GOOD.values(), animation()], changes=8))
def test_any_bytes_are_a_frame_or_refused(body: bytes) -> None:
    try:
        found = header(body)
    except ImageRefused as e:
        assert_refusal(e, "not-an-image", "too-many-pixels", "image-truncated", "rotated", "animated")
        return
    assert found.format in ("png", "jpeg")
    assert found.width > 0
    assert found.height > 0
    assert found.width * found.height <= MAX_PIXELS
    assert 1 <= found.depth <= 4


@fuzz
@given(mutated([*GOOD.values(), animation()], changes=8))
def test_any_bytes_have_all_their_pixels_or_are_refused(body: bytes) -> None:
    try:
        assert check_pixels(body, "frame") >= 0
    except ImageRefused as e:
        assert_refusal(e, "not-an-image", "image-truncated")


@fuzz
@given(mutated([*GOOD.values(), animation()], changes=8))
def test_any_bytes_are_encoded_again_or_left_out(body: bytes) -> None:
    assert_picture(pictures_of(body))


def test_a_frame_with_thousands_of_scans_is_not_drawn() -> None:
    body = GOOD["progressive"]
    last = body[body.rfind(b"\xff\xda") : body.rfind(b"\xff\xd9")]
    many = body[:-2] + last * 5_000 + body[-2:]
    assert header(many) == header(body)
    assert_picture(pictures_of(many), drawn=False)


def test_a_frame_that_was_overwritten_is_not_drawn() -> None:
    assert_picture(pictures_of(png(), etag="of another"), drawn=False)


def png_of(width: int, height: int) -> bytes:
    """A complete PNG of one colour, whose pixels take few bytes."""
    packed = zlib.compressobj(9)
    rows = b"".join(packed.compress(bytes(width + 1)) for _ in range(height)) + packed.flush()
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def test_a_picture_with_more_pixels_than_a_frame_is_not_drawn() -> None:
    body = png_of(1_001, 100_000)
    assert len(body) < 200_000
    assert_picture(pictures_of(body), drawn=False)


def test_a_frame_of_16_bits_is_drawn_with_its_shades() -> None:
    shades = np.linspace(0, 65_535, 64 * 48).astype(np.uint16).reshape(48, 64)
    (picture,) = pictures_of(saved(Image.fromarray(shades), "PNG"))
    with Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))) as image:
        drawn = np.asarray(image.convert("L"), float)
    assert np.abs(drawn - (shades >> 8)).mean() < 3


def test_metadata_that_pillow_refuses_do_not_keep_a_frame_from_being_drawn() -> None:
    assert_picture(pictures_of(saved(Image.new("RGB", (16, 16)), "PNG", icc_profile=bytes(2_000_000))), drawn=True)


def assert_picture(pictures: list[str], drawn: bool | None = None) -> None:
    """Check that there is at most one picture, and that it is a JPEG of our own, not uploaded bytes."""
    assert drawn is None or bool(pictures) is drawn
    for href in pictures:
        assert re.fullmatch(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", href)
        with Image.open(io.BytesIO(base64.b64decode(href.partition(",")[2]))) as image:
            assert image.format == "JPEG"
            image.load()
