"""The pure stages of the detector: letterbox, grid, suppression, decoding of images."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.servers.detector import Detector
from models.servers.grid import STRIDES, decode_grid
from models.servers.image_headers import NotAnImage, image_size
from models.servers.images import MAX_PIXELS, decode
from models.servers.letterbox import letterbox
from models.servers.suppression import suppress
from tests.fakes.images import png_header

SIDE = 416
CELLS = 3549


def _floats(*rows: tuple[float, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(rows, np.float32)


def test_no_boxes_in_means_no_boxes_out() -> None:
    kept = suppress(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.intp), 0.45)
    assert kept.tolist() == []


def test_the_better_of_two_boxes_of_a_class_in_one_place_is_kept() -> None:
    boxes = _floats((0, 0, 10, 10), (1, 0, 11, 10))
    assert suppress(boxes, _floats((0.5, 0.9))[0], np.array([2, 2]), 0.45).tolist() == [1]


def test_boxes_of_two_classes_in_one_place_are_both_kept_best_first() -> None:
    boxes = _floats((0, 0, 10, 10), (0, 0, 10, 10))
    assert suppress(boxes, _floats((0.5, 0.9))[0], np.array([2, 7]), 0.45).tolist() == [1, 0]


def test_an_iou_up_to_the_limit_is_tolerated() -> None:
    boxes = _floats((0, 0, 10, 10), (0, 5, 10, 15))  # one third
    scores = _floats((0.9, 0.5))[0]
    assert suppress(boxes, scores, np.zeros(2, np.intp), 0.34).tolist() == [0, 1]
    assert suppress(boxes, scores, np.zeros(2, np.intp), 0.33).tolist() == [0]


def test_a_suppressed_box_does_not_suppress_others() -> None:
    boxes = _floats((0, 0, 10, 10), (4, 0, 14, 10), (8, 0, 18, 10))
    scores = _floats((0.9, 0.8, 0.7))[0]
    assert suppress(boxes, scores, np.zeros(3, np.intp), 0.4).tolist() == [0, 2]


def test_boxes_without_area_are_kept() -> None:
    boxes = _floats((5, 5, 5, 5), (5, 5, 5, 5))
    assert suppress(boxes, _floats((0.9, 0.8))[0], np.zeros(2, np.intp), 0.45).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("cell", "stride", "column", "row"),
    [(0, 8, 0, 0), (53, 8, 1, 1), (52 * 52, 16, 0, 0), (52 * 52 + 26 * 26 + 14, 32, 1, 1)],
)
def test_cells_of_each_stride_decode_to_their_place(cell: int, stride: int, column: int, row: int) -> None:
    raw = np.zeros((CELLS, 85), np.float32)
    raw[cell, :4] = (0.5, 0.5, np.log(2), np.log(4))
    raw[cell, 4], raw[cell, 5 + 2] = 0.5, 0.8
    boxes, scores = decode_grid(raw, SIDE)
    x, y = (column + 0.5) * stride, (row + 0.5) * stride
    np.testing.assert_allclose(boxes[cell], [x - stride, y - 2 * stride, x + stride, y + 2 * stride], rtol=1e-5)
    assert scores[cell].argmax() == 2
    assert scores[cell, 2] == pytest.approx(0.4)


def test_a_grid_of_another_size_is_refused() -> None:
    assert sum((SIDE // stride) ** 2 for stride in STRIDES) == CELLS
    with pytest.raises(ValueError, match="3548 rows"):
        decode_grid(np.zeros((3548, 85), np.float32), SIDE)


@pytest.mark.parametrize(
    ("height", "width", "filled", "scale"),
    [
        (416, 416, (416, 416), 1.0),
        (208, 416, (208, 416), 1.0),
        (1000, 500, (416, 208), 0.416),
        (1, 4000, (1, 416), 0.104),
    ],
)
def test_an_image_sits_at_the_top_left_of_the_square(
    height: int, width: int, filled: tuple[int, int], scale: float
) -> None:
    square, found = letterbox(np.full((height, width, 3), 200, np.uint8), SIDE)
    assert square.shape == (1, 3, SIDE, SIDE)
    assert square.dtype == np.float32
    assert found == pytest.approx(scale)
    covered = np.full((SIDE, SIDE), 114.0)
    covered[: filled[0], : filled[1]] = 200
    np.testing.assert_array_equal(square[0, 0], covered)


@pytest.mark.parametrize(
    "body", [b"", b"not an image", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a" + b"\0" * 50, b"BM" + b"\0" * 60]
)
def test_bytes_that_are_not_an_image_are_refused(body: bytes) -> None:
    with pytest.raises(NotAnImage):
        decode(body)


@pytest.mark.parametrize("before", [b"\xff\xe1\0\0", b"\xff\xfe\0\1", b"junk", b"\xff\0\xff\xff", b"\xff\xe0\0\6JFIF"])
def test_metadata_do_not_hide_the_size_of_a_jpeg(before: bytes) -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((20, 30, 3), np.uint8))[1].tobytes()
    # The signature is the first three bytes.
    comment = b"\xff\xfe\0\2"
    assert decode(jpeg[:2] + comment + before + jpeg[2:]).shape == (20, 30, 3)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    width = 20_000
    assert width * width > MAX_PIXELS
    with pytest.raises(NotAnImage, match=str(MAX_PIXELS)):
        decode(png_header(width, width))


def test_a_jpeg_bomb_is_refused_before_it_is_decoded() -> None:
    jpeg = bytearray(cv2.imencode(".jpg", np.zeros((20, 30, 3), np.uint8))[1].tobytes())
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(NotAnImage, match="65535 x 65535"):
        decode(bytes(jpeg))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("progressive", [0, 1])
def test_the_size_is_read_from_the_header(suffix: str, progressive: int) -> None:
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive] if suffix == ".jpg" else []
    encoded = cv2.imencode(suffix, np.zeros((20, 30, 3), np.uint8), options)[1].tobytes()
    assert image_size(encoded) == (30, 20)
    for cut in (12, 20, 23):
        with pytest.raises(NotAnImage):
            image_size(encoded[:cut])


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("shape", [(20, 30, 3), (20, 30), (20, 30, 4)])
def test_every_kind_of_image_becomes_three_channels(suffix: str, shape: tuple[int, ...]) -> None:
    if suffix == ".jpg" and shape[-1] == 4:
        shape = (20, 30)
    encoded = cv2.imencode(suffix, np.full(shape, 100, np.uint8))[1].tobytes()
    assert decode(encoded).shape == (20, 30, 3)


def test_an_exif_rotation_is_ignored() -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((20, 30, 3), np.uint8))[1].tobytes()
    # A minimal Exif segment: one entry, orientation (0x0112) 6, a quarter turn.
    tiff = b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + b"\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    rotated = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    obeyed = cv2.imdecode(np.frombuffer(rotated, np.uint8), cv2.IMREAD_COLOR)
    assert obeyed is not None
    assert obeyed.shape == (30, 20, 3)
    assert decode(rotated).shape == (20, 30, 3)


def test_the_network_of_an_artefact_goes_before_that_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    assert Detector()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.onnx").write_bytes(b"another network")
    with pytest.raises(Exception, match=r"model\.onnx"):
        Detector()
