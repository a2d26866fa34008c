"""Pictures of each encoding become the pixels that the camera saw; other pictures are named."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.fakes.logs import HEIGHT, REAR, START, WIDTH, Encoding, Sent, bag_log, jpeg, mcap_log, pixels, raw
from tests.unit.logs.reading import Reading, read_log

RGB = pixels(1)
RGBA = np.dstack((RGB, np.full((HEIGHT, WIDTH), 9, np.uint8)))
GREY = RGB[:, :, 0]
DEEP = RGB[:, :, 0].astype(np.uint16) * 256 + RGB[:, :, 1]
# The channel of each place of a square, by the encoding's name: it lists the first row, then the second.
SQUARES = {
    "bayer_rggb8": (0, 1, 1, 2),
    "bayer_bggr8": (2, 1, 1, 0),
    "bayer_gbrg8": (1, 2, 0, 1),
    "bayer_grbg8": (1, 0, 2, 1),
}
# OpenCV names the second row's second and third pixel.
OPENCV = {"bayer_rggb8": "BG", "bayer_bggr8": "RG", "bayer_gbrg8": "GR", "bayer_grbg8": "GB"}


def one(fields: dict[str, Any], encoding: Encoding = "cdr") -> Reading:
    return read_log(mcap_log([Sent(REAR, START, START, raw=fields)], encoding))


def shown(reading: Reading) -> np.ndarray:
    (frame,) = reading.frames
    assert frame.extension == "png"
    return np.asarray(Image.open(io.BytesIO(frame.body)))


@pytest.mark.parametrize(
    ("encoding", "stored", "expected"),
    [
        ("rgb8", RGB, RGB),
        ("bgr8", RGB[:, :, ::-1], RGB),
        ("rgba8", RGBA, RGB),
        ("bgra8", RGBA[:, :, [2, 1, 0, 3]], RGB),
        ("mono8", GREY, GREY),
        ("mono16", DEEP, DEEP),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("wire", ["cdr", "ros1", "protobuf"])
def test_pixels_are_those_of_the_camera(
    encoding: str, stored: np.ndarray, expected: np.ndarray, padding: int, wire: Encoding
) -> None:
    rows = np.ascontiguousarray(stored).view(np.uint8).reshape(HEIGHT, -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    reading = one(raw(padded.tobytes() + bytes(3), encoding, rows.shape[1] + padding), wire)
    assert np.array_equal(shown(reading), expected)
    assert "trailing bytes" in reading.frames[0].note


def test_grey_of_16_bits_obeys_the_byte_order() -> None:
    assert np.array_equal(shown(one(raw(DEEP.astype(">u2").tobytes(), "mono16", is_bigendian=1))), DEEP)


def test_the_last_row_needs_no_padding() -> None:
    padded = np.pad(RGB.reshape(HEIGHT, -1), ((0, 0), (0, 4)))
    assert np.array_equal(shown(one(raw(padded.tobytes()[:-4], "rgb8", padded.shape[1]))), RGB)


@pytest.mark.parametrize("encoding", SQUARES)
def test_a_mosaic_shows_its_own_colours_and_is_interpolated_as_opencv_does(encoding: str) -> None:
    red = np.zeros((HEIGHT, WIDTH), np.uint8)
    at = SQUARES[encoding].index(0)
    red[at // 2 :: 2, at % 2 :: 2] = 200
    assert (shown(one(raw(red.tobytes(), encoding))) == (200, 0, 0)).all()
    reading = one(raw(GREY.tobytes(), encoding))
    expected = cv2.cvtColor(GREY, getattr(cv2, f"COLOR_Bayer{OPENCV[encoding]}2RGB"))
    # OpenCV copies its border from the pixels inside.
    assert np.array_equal(shown(reading)[1:-1, 1:-1], expected[1:-1, 1:-1])
    assert reading.frames[0].note == "debayered"


@pytest.mark.parametrize(
    ("encoding", "code"), [("yuv422", "UYVY"), ("yuv422_yuy2", "YUYV"), ("yuyv", "YUYV"), ("uyvy", "UYVY")]
)
def test_pairs_of_pixels_get_the_colours_that_opencv_gives(encoding: str, code: str) -> None:
    stored = np.random.default_rng(3).integers(16, 236, (HEIGHT, WIDTH, 2), np.uint8)
    expected = cv2.cvtColor(stored, getattr(cv2, f"COLOR_YUV2RGB_{code}"))
    difference = shown(one(raw(stored.tobytes(), encoding))).astype(int) - expected
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (raw(RGB.tobytes(), "rgb8", 3 * WIDTH - 1), "step-too-short"),
        (raw(RGB.tobytes()[:-1], "rgb8", 3 * WIDTH), "data-too-short"),
        (raw(RGB.tobytes(), "rgb8", width=0), "size-wrong"),
        (raw(b"", "rgb8", 0, height=0), "size-wrong"),
        (raw(RGB.tobytes(), "rgb8", 2**32 - 1, width=2**31, height=2**31), "size-wrong"),
        (raw(RGB.tobytes(), "mono8", 3 * WIDTH, width=1, height=1), ""),
        (raw(GREY.tobytes(), "bayer_rggb8", width=1), "size-wrong"),
        (raw(DEEP.tobytes(), "yuv422", width=WIDTH - 1), "size-wrong"),
        (raw(RGB.tobytes(), "8UC3"), "encoding-unknown"),
        (raw(DEEP.tobytes(), "bayer_rggb16"), "encoding-unknown"),
        (raw(RGB.tobytes(), "x" * 9_000), "encoding-unknown"),
    ],
)
def test_a_picture_that_cannot_be_right_is_refused_by_name(fields: dict[str, Any], reason: str) -> None:
    reading = one(fields)
    assert reading.refused == ({reason: 1} if reason else {})
    assert len(reading.frames) == (not reason)


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_distances_are_skipped_and_counted(encoding: str) -> None:
    reading = one(raw(DEEP.tobytes() * 2, encoding))
    assert (reading.skipped, reading.refused) == ({"depth": 1}, {})


@pytest.mark.parametrize(
    ("form", "body", "extension", "reason"),
    [
        ("png", jpeg(1), "jpg", ""),
        ("rgb8; jpeg compressed bgr8", jpeg(1), "jpg", ""),
        ("jpeg", b"\x89PNG\r\n\x1a\n rest", "png", ""),
        ("jpeg", b"RIFF\0\0\0\0WEBP", "", "not-an-image"),
        ("h264", b"\0\0\0\x01\x67", "", "not-an-image"),
        ("jpeg", b"", "", "not-an-image"),
        ("16UC1; compressedDepth", bytes(12) + b"\x89PNG\r\n\x1a\n", "", "depth"),
        ("16UC1; png compressed ", b"\x89PNG\r\n\x1a\n", "", "depth"),
    ],
)
def test_an_image_file_is_copied_and_told_by_its_first_bytes(
    form: str, body: bytes, extension: str, reason: str
) -> None:
    sent = [Sent("/front/compressed", START, START, packed=(form, body))]
    for log in (mcap_log(sent), mcap_log(sent, "protobuf"), bag_log(sent)):
        reading = read_log(log)
        assert [(frame.extension, frame.body) for frame in reading.frames] == ([] if reason else [(extension, body)])
        assert {**reading.refused, **reading.skipped} == ({reason: 1} if reason else {})
