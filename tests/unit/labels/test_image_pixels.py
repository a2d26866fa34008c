"""Tests of a frame's pixels: whether all are there, and that metadata do not keep them from being decoded."""

from __future__ import annotations

import bisect
import io
import random
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from autolabel.contracts.errors import ImageRefused
from autolabel.labels.image_pixels import MAX_SCANS, as_rgb, check_pixels, open_pixels
from tests.fakes import images

NAME = "drives/d1/front/x"
NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8))
WHOLE = {
    "jpeg": images.saved(NOISE, "JPEG"),
    "grey jpeg": images.saved(NOISE.convert("L"), "JPEG"),
    "cmyk": images.saved(NOISE.convert("CMYK"), "JPEG"),
    "progressive": images.saved(NOISE, "JPEG", progressive=True),
    "restarts": images.saved(NOISE, "JPEG", restart_marker_blocks=1),
    "two pictures": images.saved(NOISE, "MPO", save_all=True, append_images=[NOISE]),
    "png": images.saved(NOISE, "PNG"),
    "alpha": images.saved(NOISE.convert("RGBA"), "PNG"),
    "palette": images.saved(NOISE.convert("P"), "PNG"),
    "16 bits": images.saved(NOISE.convert("I;16"), "PNG"),
    "pieces": images.saved(NOISE, "PNG", compress_level=0),
}
ONE_PICTURE = [name for name in WHOLE if name != "two pictures"]


def refusal(body: bytes) -> str:
    with pytest.raises(ImageRefused, match=NAME) as refused:
        check_pixels(body, NAME)
    return refused.value.reason


def seen_by_opencv(body: bytes) -> bool:
    return cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR) is not None


@pytest.mark.parametrize("kind", WHOLE)
@given(behind=st.binary(max_size=50) | st.just(bytes(5_000)))
def test_bytes_behind_a_whole_picture_count_for_nothing(kind: str, behind: bytes) -> None:
    assert seen_by_opencv(WHOLE[kind] + behind)
    assert check_pixels(WHOLE[kind] + behind, NAME) >= 80 * 60


@pytest.mark.parametrize("kind", ONE_PICTURE)
@given(share=st.floats(0.3, 1.0, exclude_max=True), zeros=st.booleans())
@settings(max_examples=30)
def test_a_picture_that_is_cut_off_or_ends_in_zeros_is_truncated(kind: str, share: float, zeros: bool) -> None:
    body = WHOLE[kind]
    kept = body[: int(len(body) * share)]
    assert not seen_by_opencv(kept)
    assert refusal(kept + bytes(len(body) - len(kept)) * zeros) == "image-truncated"


def test_zeros_that_a_decoder_takes_for_pixels_are_truncated() -> None:
    body = WHOLE["jpeg"]
    filled = body[: len(body) // 2] + bytes(100_000)
    assert seen_by_opencv(filled)
    assert refusal(filled) == "image-truncated"


def test_a_png_with_a_damaged_chunk_is_named_not_decodable() -> None:
    body = bytearray(WHOLE["png"])
    body[len(body) // 2] ^= 1
    assert not seen_by_opencv(bytes(body))
    assert refusal(bytes(body)) == "not-an-image"


def test_a_png_with_fewer_pixels_than_it_says_is_truncated() -> None:
    body = WHOLE["png"]
    at = body.index(b"IDAT") - 4
    half = images.png_chunk(b"IDAT", zlib.compress(bytes(241 * 30)))
    assert not seen_by_opencv(body[:at] + half + body[-12:])
    assert refusal(body[:at] + half + body[-12:]) == "image-truncated"


def test_a_png_whose_pixels_are_not_packed_is_not_decodable() -> None:
    body = WHOLE["png"]
    at = body.index(b"IDAT") - 4
    assert refusal(body[:at] + images.png_chunk(b"IDAT", b"no zlib") + body[-12:]) == "not-an-image"


FORMATS = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8), (4, 8), (4, 16)]
FORMATS += [(6, 8), (6, 16)]


@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from(FORMATS), st.booleans())
def test_the_size_of_unpacked_pixels_is_that_of_libpng(
    width: int, height: int, kind: tuple[int, int], interlaced: bool
) -> None:
    """libpng says when rows are missing, so one byte less must be too few."""
    color, bits = kind
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlaced)
    head = b"\x89PNG\r\n\x1a\n" + images.png_chunk(b"IHDR", header)
    head += images.png_chunk(b"PLTE", bytes(3 * 2**bits)) if color == 3 else b""

    def picture(size: int) -> bytes:
        return head + images.png_chunk(b"IDAT", zlib.compress(bytes(size))) + images.png_chunk(b"IEND", b"")

    # The largest size is that of 16 bits in 4 channels, with each row on its own.
    sizes = range(1, 8 * width * height + 2 * height * 8 + 8)
    least = bisect.bisect_left(sizes, True, key=lambda size: seen_by_opencv(picture(size)))
    assert check_pixels(picture(sizes[least]), NAME) == sizes[least]
    assert refusal(picture(sizes[least] - 1)) == "image-truncated"


def test_a_jpeg_with_a_broken_table_is_not_decodable() -> None:
    body = bytearray(WHOLE["jpeg"])
    at = body.index(b"\xff\xc4") + 5
    body[at : at + 16] = b"\xff" * 16
    assert not seen_by_opencv(bytes(body))
    assert refusal(bytes(body)) == "not-an-image"


def test_a_jpeg_of_too_many_scans_is_not_decoded() -> None:
    body = WHOLE["progressive"]
    last = body[body.rfind(b"\xff\xc4") : body.rfind(b"\xff\xd9")]
    assert check_pixels(body[:-2] + last * MAX_SCANS + body[-2:], NAME) == 0


def test_metadata_that_pillow_refuses_leave_the_pixels_as_they_are() -> None:
    png, jpeg = images.saved(NOISE, "PNG", icc_profile=bytes(2_000_000)), WHOLE["jpeg"]
    text = bytearray(images.png_chunk(b"tEXt", b"a\0b"))
    text[-1] ^= 1
    for body in (
        png,
        png[:33] + bytes(text) + png[33:],
        jpeg[:2] + b"\xff\xe0\0\6JFIF" + jpeg[2:],
        jpeg[:2] + images.segments(0xEE, b"Adobe") + jpeg[2:],
    ):
        with pytest.raises((OSError, ValueError), match=r"cannot identify|too large"):
            Image.open(io.BytesIO(body))
        assert seen_by_opencv(body)
        with open_pixels(body, NAME) as image, Image.open(io.BytesIO(WHOLE[(image.format or "").lower()])) as same:
            assert image.convert("RGB").tobytes() == same.convert("RGB").tobytes()
        assert check_pixels(body, NAME)


@pytest.mark.parametrize("kind", WHOLE)
def test_pixels_without_metadata_are_the_same(kind: str) -> None:
    with open_pixels(WHOLE[kind], NAME) as image, Image.open(io.BytesIO(WHOLE[kind])) as same:
        assert image.convert("RGBA").tobytes() == same.convert("RGBA").tobytes()


@given(st.lists(st.integers(0, 65_535), min_size=12, max_size=12), st.none() | st.integers(0, 65_535))
def test_16_bits_of_grey_are_scaled_to_8(values: list[int], transparent: int | None) -> None:
    pixels = np.array(values, np.uint16).reshape(3, 4)
    body = images.saved(Image.fromarray(pixels), "PNG")
    if transparent is not None:
        body = body[:33] + images.png_chunk(b"tRNS", struct.pack(">H", transparent)) + body[33:]
    with open_pixels(body, NAME) as image:
        rgb = np.asarray(as_rgb(image))
    assert (rgb == (pixels >> 8)[:, :, None]).all()


def test_noise_is_no_picture() -> None:
    for seed in range(20):
        body = random.Random(seed).randbytes(300)
        assert refusal(b"\xff\xd8\xff" + body) in ("image-truncated", "not-an-image")
        assert refusal(b"\x89PNG\r\n\x1a\n" + body) in ("image-truncated", "not-an-image")
