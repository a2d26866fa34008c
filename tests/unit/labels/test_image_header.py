"""Tests of a frame's header: type and size from its first bytes."""

from __future__ import annotations

import random
import struct
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autolabel.contracts.errors import FrameChanged, ImageRefused
from autolabel.labels.image_header import FIRST_BYTES, MAX_PIXELS, MORE_BYTES, ImageHeader, read_header
from tests.fakes import images

NAME = "drives/d1/front/x"


def header(body: bytes) -> ImageHeader:
    return read_header(lambda count: body[:count], NAME)


def refusal(body: bytes) -> str:
    with pytest.raises(ImageRefused, match=NAME) as refused:
        header(body)
    return refused.value.reason


@pytest.mark.parametrize("body", [b"", b"\x00", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd8\xff\xd9"])
def test_a_body_that_is_not_an_image_is_refused(body: bytes) -> None:
    assert refusal(body) == "not-an-image"


@pytest.mark.parametrize("name", ["GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000"])
def test_another_kind_of_image_is_refused(name: str) -> None:
    assert refusal(images.encoded(name)) == "not-an-image"


@pytest.mark.parametrize("body", [b"<svg xmlns='http://www.w3.org/2000/svg' width='4' height='4'/>", b"%PDF-1.7\n"])
def test_a_drawing_is_refused(body: bytes) -> None:
    assert refusal(body) == "not-an-image"


def test_the_size_is_that_of_the_stored_pixels() -> None:
    assert header(images.png(640, 272)) == ImageHeader("png", 640, 272, 3)
    assert header(images.jpeg(640, 272)) == ImageHeader("jpeg", 640, 272, 3)


@pytest.mark.parametrize(
    ("mode", "depth"), [("L", 1), ("RGB", 3), ("RGBA", 4), ("P", 3), ("1", 1), ("I;16", 1), ("LA", 2)]
)
def test_the_depth_is_the_count_of_channels(mode: str, depth: int) -> None:
    assert header(images.saved(Image.new(mode, (4, 4)), "PNG")).depth == depth


@pytest.mark.parametrize(("mode", "depth"), [("L", 1), ("CMYK", 4)])
def test_a_jpeg_of_another_depth_is_an_image(mode: str, depth: int) -> None:
    assert header(images.saved(Image.new(mode, (4, 4)), "JPEG")).depth == depth


def test_progressive_and_interlaced_images_are_images() -> None:
    assert header(images.saved(Image.new("RGB", (40, 30)), "JPEG", progressive=True)).width == 40


@pytest.mark.parametrize("orientation", [None, 1])
@pytest.mark.parametrize("kind", [images.jpeg, images.png])
def test_an_upright_image_is_an_image(orientation: int | None, kind: object) -> None:
    assert header(kind(8, 6, orientation=orientation)).width == 8  # type: ignore[operator]


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", [images.jpeg, images.png])
def test_an_image_that_exif_rotates_is_refused(orientation: int, kind: object) -> None:
    assert refusal(kind(8, 6, orientation=orientation)) == "rotated"  # type: ignore[operator]


def test_a_jpeg_with_a_second_picture_is_a_jpeg() -> None:
    assert header(images.multi_picture_jpeg(64, 48)) == ImageHeader("jpeg", 64, 48, 3)


def test_a_large_jpeg_with_a_second_picture_is_a_jpeg() -> None:
    noise = Image.effect_noise((640, 480), 90).convert("RGB")
    body = images.saved(noise, "MPO", save_all=True, append_images=[noise])
    assert len(body) > FIRST_BYTES
    assert header(body) == ImageHeader("jpeg", 640, 480, 3)


def test_a_jpeg_with_its_size_behind_other_data_takes_a_second_read() -> None:
    body = images.jpeg(64, 48, comment=b"preview " * 25_000)
    counts = []
    found = read_header(lambda count: (counts.append(count), body[:count])[1], NAME)
    assert found == ImageHeader("jpeg", 64, 48, 3)
    assert counts == [FIRST_BYTES, MORE_BYTES]


def test_a_jpeg_with_its_size_too_far_behind_is_refused() -> None:
    assert refusal(images.jpeg(64, 48, comment=b"x" * 600_000)) == "not-an-image"


def test_the_header_of_a_large_frame_takes_one_small_read() -> None:
    body = images.saved(Image.effect_noise((400, 300), 90).convert("RGB"), "PNG")
    assert len(body) > FIRST_BYTES
    counts = []
    assert read_header(lambda count: (counts.append(count), body[:count])[1], NAME).width == 400
    assert counts == [FIRST_BYTES]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", [images.png_header, images.jpeg_header])
def test_the_limit_is_100_megapixels(kind: object) -> None:
    assert header(kind(10_000, 10_000)).width == 10_000  # type: ignore[operator]
    assert MAX_PIXELS == 10_000 * 10_000
    for width, height in ((10_001, 10_000), (20_000, 20_000), (60_000, 60_000)):
        assert refusal(kind(width, height)) == "too-many-pixels"  # type: ignore[operator]


def test_the_largest_sizes_in_a_header_are_refused() -> None:
    assert refusal(images.png_header(2**31 - 1, 2**31 - 1)) == "too-many-pixels"


@pytest.mark.parametrize(("width", "height"), [(0, 10), (10, 0), (0, 0)])
@pytest.mark.parametrize("kind", [images.png_header, images.jpeg_header])
def test_a_picture_without_pixels_is_refused(kind: object, width: int, height: int) -> None:
    assert refusal(kind(width, height)) == "not-an-image"  # type: ignore[operator]


def test_a_frame_that_changed_meanwhile_is_reported() -> None:
    def read(count: int) -> bytes:
        raise FrameChanged(f"{NAME} is gone")

    with pytest.raises(FrameChanged):
        read_header(read, NAME)


EXIF = st.binary(max_size=60).map(lambda tail: b"Exif\0\0" + tail) | st.builds(
    lambda order, offset, count, entries: (
        b"Exif\0\0" + (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", offset, count) + entries
    ),
    st.sampled_from("<>"),
    st.integers(0, 40),
    st.integers(0, 5),
    st.binary(max_size=40),
)


@given(EXIF)
def test_an_image_with_any_exif_data_is_read_or_refused(exif: bytes) -> None:
    body = images.jpeg(8, 6)
    body = body[:2] + images.segments(0xE1, exif) + body[2:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert header(body).width == 8
        except ImageRefused as e:
            assert e.reason in ("rotated", "not-an-image")  # noqa: PT017 - a refusal is a valid result


SEEDS = [
    images.png(),
    images.jpeg(orientation=6),
    images.jpeg(comment=b"c" * 50),
    images.multi_picture_jpeg(),
    images.png_header(10, 10),
    images.jpeg_header(10, 10),
]


@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 700), st.binary(min_size=1, max_size=4)), max_size=6))
def test_every_damaged_image_is_read_or_refused(body: bytes, damage: list[tuple[int, bytes]]) -> None:
    damaged = bytearray(body)
    for place, patch in damage:
        at = place % len(damaged)
        damaged[at : at + len(patch)] = patch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = header(bytes(damaged))
        except ImageRefused:
            return
    assert 0 < found.width * found.height <= MAX_PIXELS


@pytest.mark.parametrize("seed", range(30))
def test_random_bytes_behind_a_signature_are_read_or_refused(seed: int) -> None:
    noise = random.Random(seed).randbytes(2_000)
    for signature in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xc0\x00\x11\x08"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                header(signature + noise)
            except ImageRefused as e:
                assert e.reason in ("not-an-image", "too-many-pixels", "rotated")  # noqa: PT017 - a refusal is a valid result
