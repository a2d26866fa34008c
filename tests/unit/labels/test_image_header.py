"""Tests of a frame's header: type and size, an orientation and an animation, from as few reads as possible."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin

from autolabel.contracts.errors import FrameChanged, ImageRefused
from autolabel.contracts.frames import MAX_FRAME_BYTES
from autolabel.labels.image_header import MAX_METADATA, MAX_PIXELS, ImageHeader, read_header
from autolabel.labels.image_parts import MAX_PARTS, MAX_READS, WINDOWS
from tests.fakes import images

NAME = "drives/d1/front/x"


class Reads:
    """Reads a body, and notes each read as (start, count)."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.made: list[tuple[int, int]] = []

    def __call__(self, start: int, count: int) -> bytes:
        self.made.append((start, count))
        return self.body[start : start + count]


def header(body: bytes) -> ImageHeader:
    return read_header(Reads(body), NAME)


def reads(body: bytes) -> list[tuple[int, int]]:
    """The reads that a frame's header takes."""
    made = Reads(body)
    assert read_header(made, NAME).width
    return made.made


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
    assert len(body) > WINDOWS[0]
    assert header(body) == ImageHeader("jpeg", 640, 480, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_header_of_a_usual_frame_takes_one_small_read(kind: str) -> None:
    body = images.saved(Image.effect_noise((640, 480), 90).convert("RGB"), kind, exif=exif(1), icc_profile=b"i" * 3_000)
    assert len(body) > WINDOWS[0]
    assert reads(body) == [(0, WINDOWS[0])]


def test_the_bytes_of_long_metadata_are_skipped() -> None:
    body = images.png(64, 48)
    profile = images.png_chunk(b"iCCP", random.Random(1).randbytes(30_000_000))
    assert reads(body[:33] + profile + body[33:]) == [(0, WINDOWS[0]), (33 + len(profile), WINDOWS[1])]


@pytest.mark.parametrize(("size", "expected"), [(65_533, 2), (900_000, 3), (8_000_000, 4), (39_000_000, 12)])
def test_a_jpeg_with_its_size_behind_other_data_takes_a_few_reads(size: int, expected: int) -> None:
    body = images.jpeg(64, 48, comment=b"x" * size)
    assert header(body) == ImageHeader("jpeg", 64, 48, 3)
    assert len(reads(body)) == expected


@given(st.lists(st.tuples(st.integers(0, 65_533), st.integers(1, 300)), max_size=8))
def test_any_metadata_of_a_frame_take_a_bounded_number_of_reads(runs: list[tuple[int, int]]) -> None:
    small = images.jpeg()
    metadata = b"".join((b"\xff\xe2" + struct.pack(">H", size + 2) + bytes(size)) * count for size, count in runs)
    body = small[:2] + metadata[: MAX_FRAME_BYTES - len(small)] + small[2:]
    made = Reads(body)
    try:
        assert read_header(made, NAME).width == 64
    except ImageRefused as e:
        # The metadata were cut in a segment, so the rest is part of it.
        assert e.reason == "not-an-image"  # noqa: PT017 - a refusal is a valid result
    assert len(made.made) <= MAX_READS
    assert sum(count for _, count in made.made) <= MAX_READS * WINDOWS[-1]


def test_metadata_beyond_the_bounds_are_named() -> None:
    endless = images.segments(0xFE, bytes(65_533)) * 1_000
    with pytest.raises(ImageRefused, match=f"{NAME}.*{MAX_READS} reads") as refused:
        header(b"\xff\xd8" + endless)
    assert refused.value.reason == "metadata-too-large"
    assert refusal(b"\xff\xd8" + b"\xff\xfe\0\2" * (MAX_PARTS + 1)) == "metadata-too-large"
    body = images.png()
    text = images.png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + bytes(MAX_METADATA))
    assert refusal(body[:33] + text + body[33:]) == "metadata-too-large"


def test_a_frame_that_ends_before_its_pixels_is_truncated() -> None:
    png, jpeg = images.png(), images.jpeg()
    assert refusal(png[:33]) == refusal(png[:36]) == "image-truncated"
    assert refusal(jpeg[: jpeg.index(b"\xff\xda")]) == "image-truncated"
    assert refusal(jpeg[: jpeg.index(b"\xff\xda")] + bytes(50_000)) == "image-truncated"


# Metadata. Referees: Pillow's exif_transpose, which Hugging Face's loaders call, and OpenCV with libpng and
# libjpeg-turbo.


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[images.EXIF_ORIENTATION] = orientation
    return tags.tobytes()


def xmp(orientation: int) -> bytes:
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()


def raw_profile(orientation: int) -> str:
    body = exif(orientation)
    return f"\nexif\n{len(body):8}\n{body.hex()}\n"


def text(keyword: str, value: str, kind: bytes) -> bytes:
    """A text chunk, compressed or not."""
    head = keyword.encode() + b"\0"
    packed = zlib.compress(value.encode())
    bodies = {
        b"tEXt": head + value.encode(),
        b"zTXt": head + b"\0" + packed,
        b"iTXt": head + b"\0\0\0\0" + value.encode(),
        b"iTXz": head + b"\1\0\0\0" + packed,
    }
    return images.png_chunk(kind.replace(b"z", b"t") if kind == b"iTXz" else kind, bodies[kind])


def with_chunk(chunk: bytes) -> bytes:
    body = uneven("PNG")
    return body[:33] + chunk + body[33:]


def with_segment(data: bytes) -> bytes:
    body = uneven("JPEG")
    return body[:2] + images.segments(0xE1, data) + body[2:]


def uneven(kind: str) -> bytes:
    """A picture that looks different after each turn."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:4, :4], pixels[:4, -4:] = 255, 128
    return images.saved(Image.fromarray(pixels), kind)


KINDS_OF_TEXT = (b"tEXt", b"zTXt", b"iTXt", b"iTXz")
PLACES = {
    "EXIF in a JPEG": lambda n: with_segment(exif(n)),
    "XMP in a JPEG": lambda n: with_segment(b"http://ns.adobe.com/xap/1.0/\0" + xmp(n)),
    "eXIf": lambda n: with_chunk(images.png_chunk(b"eXIf", exif(n)[6:])),
    "eXIf behind the pixels": lambda n: uneven("PNG")[:-12] + images.png_chunk(b"eXIf", exif(n)[6:]) + PNG_END,
    **{
        f"XMP in {kind.decode()}": lambda n, kind=kind: with_chunk(text("XML:com.adobe.xmp", xmp(n).decode(), kind))
        for kind in KINDS_OF_TEXT
    },
    **{
        f"raw profile in {kind.decode()}": lambda n, kind=kind: with_chunk(
            text("Raw profile type exif", raw_profile(n), kind)
        )
        for kind in KINDS_OF_TEXT
    },
}
PNG_END = images.png_chunk(b"IEND", b"")


def turned_by_pillow(body: bytes) -> bool:
    with Image.open(io.BytesIO(body)) as image:
        return ImageOps.exif_transpose(image).tobytes() != image.tobytes()


@pytest.mark.parametrize("place", PLACES)
@given(number=st.integers(0, 9) | st.integers(0, 65_535))
def test_an_orientation_rejects_a_frame_only_if_loaders_turn_it(place: str, number: int) -> None:
    body = PLACES[place](number)
    if turned_by_pillow(body):
        assert refusal(body) == "rotated"
    else:
        assert header(body)[1:3] == (24, 16)


@pytest.mark.parametrize("place", PLACES)
def test_orientations_from_2_to_8_turn_a_frame(place: str) -> None:
    numbers = [n for n in range(300) if turned_by_pillow(PLACES[place](n))]
    # XMP has one digit: 20 is 2 for Pillow.
    assert [n for n in numbers if n < 10] == [*range(2, 9)]
    assert "XMP" in place or numbers == [*range(2, 9)]


def test_an_orientation_in_a_chunk_with_a_wrong_checksum_turns_nothing() -> None:
    chunk = images.png_chunk(b"eXIf", exif(6)[6:])
    assert header(with_chunk(chunk[:-1] + bytes([chunk[-1] ^ 1]))).width == 24


def test_an_orientation_in_a_long_text_is_seen() -> None:
    value = " " * 2_000_000 + xmp(6).decode()
    body = with_chunk(text("XML:com.adobe.xmp", value, b"iTXt"))
    assert refusal(body) == "rotated"
    assert turned_by_pillow(body)


# Not bKGD, which OpenCV reads by itself.
ANCILLARY = (b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"tRNS", b"hIST", b"pHYs", b"sPLT", b"tIME", b"sTER")
CHUNKS = st.builds(
    lambda kind, data, flaw: (chunk := images.png_chunk(kind, data))[:-1] + bytes([chunk[-1] ^ flaw]),
    st.sampled_from((*ANCILLARY, b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"prVt")),
    st.binary(max_size=40),
    st.sampled_from([0, 0, 1]),
)
MARKS = (b"JFIF", b"JFIF\0", b"Exif\0\0", b"ICC_PROFILE\0", b"Adobe", b"Photoshop 3.0\0", b"MPF\0", b"FPXR\0")
SEGMENTS = st.builds(
    lambda marker, length, data: (
        bytes([0xFF, marker])
        + struct.pack(">H", length if data is None else len(data) + 2)
        # A length below 2 is followed by nothing.
        + (data or b"")
    ),
    st.sampled_from([*range(0xE0, 0xF0), 0xFE]),
    st.sampled_from([0, 1, 2]),
    st.none()
    | st.binary(max_size=40)
    | st.sampled_from(
        [b"JFIF", b"JFIF\0", b"Exif\0\0", b"ICC_PROFILE\0", b"Adobe", b"Photoshop 3.0\0", b"MPF\0", b"FPXR\0"]
    )
    | st.builds(lambda mark, rest: mark + rest, st.sampled_from([b"JFIF\0", b"Adobe"]), st.binary(max_size=12)),
)


def seen_by_opencv(body: bytes) -> bool:
    return cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) is not None


@given(st.lists(CHUNKS, max_size=5))
def test_ancillary_chunks_never_decide_what_a_png_is(chunks: list[bytes]) -> None:
    body = with_chunk(b"".join(chunks))
    assert seen_by_opencv(body)
    assert header(body) == ImageHeader("png", 24, 16, 3)


@given(st.lists(SEGMENTS, max_size=5))
def test_metadata_segments_never_decide_what_a_jpeg_is(segments: list[bytes]) -> None:
    body = uneven("JPEG")
    body = body[:2] + b"".join(segments) + body[2:]
    assert seen_by_opencv(body)
    assert header(body) == ImageHeader("jpeg", 24, 16, 3)


@given(st.binary(max_size=20).map(lambda junk: junk.replace(b"\xff", b"\0")), st.integers(1, 5))
def test_junk_and_fill_bytes_between_segments_are_skipped(junk: bytes, fill: int) -> None:
    body = uneven("JPEG")
    segment = images.segments(0xFE, b"comment")
    body = body[:2] + segment + junk + b"\xff" * fill + body[3:]
    assert seen_by_opencv(body)
    assert header(body).width == 24


def test_a_profile_and_texts_of_megabytes_do_not_hide_a_png() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "c" * 3_000_000)
    texts.add_text("Comment", "c" * 3_000_000, zip=True)
    body = images.saved(Image.new("RGB", (24, 16)), "PNG", icc_profile=bytes(2_000_000), pnginfo=texts)
    assert header(body) == ImageHeader("png", 24, 16, 3)


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE"])
def test_a_wrong_checksum_of_a_needed_chunk_refuses_a_png(kind: bytes) -> None:
    body = bytearray(images.saved(Image.new("P", (24, 16)), "PNG"))
    at = body.index(kind)
    body[at + 4 + int.from_bytes(body[at - 4 : at])] ^= 1
    assert not seen_by_opencv(bytes(body))
    assert refusal(bytes(body)) == "not-an-image"


@pytest.mark.parametrize("kind", [b"CgBI", b"IHDR", b"JUNK"])
def test_an_unknown_needed_chunk_refuses_a_png(kind: bytes) -> None:
    body = with_chunk(images.png_chunk(kind, b"x"))
    assert not seen_by_opencv(body)
    assert refusal(body) == "not-an-image"


@pytest.mark.parametrize("damage", [(4, 12), (9, 2), (9, 5)], ids=["12 bits", "2 channels", "5 channels"])
def test_a_jpeg_that_no_decoder_reads_is_refused(damage: tuple[int, int]) -> None:
    body = bytearray(uneven("JPEG"))
    body[body.index(b"\xff\xc0") + damage[0]] = damage[1]
    assert not seen_by_opencv(bytes(body))
    assert refusal(bytes(body)) == "not-an-image"


def animation(frames: int, *, first_is_one: bool = True, flaw: int = 0) -> bytes:
    """An APNG that says how many pictures it has; its first one may be for others than browsers only."""
    control = images.png_chunk(b"acTL", struct.pack(">II", frames, 0))
    control = control[:-1] + bytes([control[-1] ^ flaw])
    frame = images.png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 24, 16, 0, 0, 1, 10, 0, 0))
    return with_chunk(control + frame * first_is_one)


@given(st.integers(0, 2**31 - 1), st.booleans())
def test_only_a_png_of_several_pictures_is_an_animation(frames: int, first_is_one: bool) -> None:
    body = animation(frames, first_is_one=first_is_one)
    if frames > 1 or (frames == 1 and not first_is_one):
        assert refusal(body) == "animated"
    else:
        assert header(body) == ImageHeader("png", 24, 16, 3)


def test_an_animation_with_a_wrong_checksum_is_a_picture() -> None:
    assert header(animation(2, flaw=1)).width == 24


def test_an_animation_that_pillow_writes_is_refused() -> None:
    pictures = [Image.new("RGB", (16, 16), color) for color in ("red", "green")]
    assert refusal(images.saved(pictures[0], "PNG", save_all=True, append_images=pictures[1:])) == "animated"


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
    def read(start: int, count: int) -> bytes:
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
