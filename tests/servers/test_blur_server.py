"""The finder of number plates and heads as a server, with its real weights."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from models.servers.blur.faces import decode
from models.servers.blur.model import LABELS, BlurModel, grown, heads
from models.servers.blur.plates import PlateFinder, is_plate
from models.servers.images import Image
from models.servers.weights import Weights, WeightsMissing
from tests.servers.serving import BAD_REQUESTS, assert_refused, assert_same_when_concurrent, invoke, serving
from tools.demo.assets import default_clip


def loaded() -> BlurModel:
    """The loaded model; skips the test where its weights are not installed."""
    model = BlurModel()
    try:
        model.load()
    except WeightsMissing as e:
        pytest.skip(str(e))
    return model


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    loaded()
    with serving(BlurModel()) as port:
        yield port


@pytest.fixture(scope="module")
def street() -> bytes:
    """A frame of a clip with people on bicycles."""
    clip = cv2.VideoCapture(str(default_clip()))
    frames = [clip.read()[1] for _ in range(121)]
    return cv2.imencode(".png", frames[120])[1].tobytes()


def car_with_plate(text: str = "KA JS 6312") -> Image:
    """The back of a car as a drawing: body, window, and a plate at [120, 150, 260, 185]."""
    car = np.full((240, 380, 3), 90, np.uint8)
    cv2.rectangle(car, (60, 20), (320, 90), (40, 35, 30), -1)
    cv2.rectangle(car, (120, 150), (260, 185), (235, 235, 235), -1)
    cv2.putText(car, text, (126, 176), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (20, 20, 20), 2)
    return car


def test_text_on_a_vehicle_is_found_where_a_plate_can_be() -> None:
    loaded()
    car = car_with_plate()
    boxes, scores = PlateFinder().find(car, np.array([[0, 0, 380, 240]], np.float32))
    assert len(boxes) == 1
    assert scores[0] >= 0.3
    left, top, right, bottom = boxes[0]
    # All of the text.
    assert (left <= 126, top <= 158, right >= 244, bottom >= 178) == (True,) * 4
    assert right - left < 200
    assert bottom - top < 80


def test_text_beside_vehicles_and_on_tiny_ones_is_left() -> None:
    loaded()
    scene = np.full((240, 800, 3), 90, np.uint8)
    scene[:, 400:780] = car_with_plate()
    boxes, _ = PlateFinder().find(scene, np.array([[0, 0, 380, 240], [600, 150, 630, 180]], np.float32))
    assert len(boxes) == 0


@pytest.mark.parametrize(
    ("box", "fits"),
    [
        ([100, 120, 200, 150], True),
        ([100, 120, 130, 150], False),
        ([100, 120, 105, 122], False),
        ([10, 120, 290, 150], False),
        ([100, 100, 220, 185], False),
        ([100, 10, 200, 40], False),
    ],
    ids=["plate", "square", "tiny", "too wide", "too high", "in the window"],
)
def test_a_plate_is_wide_and_small_and_below_the_windows(box: list[float], fits: bool) -> None:
    assert is_plate(box, 300, 200) is fits


def test_a_cell_of_the_answer_becomes_a_face_around_its_middle() -> None:
    heat, scales, offsets = np.zeros((8, 10), np.float32), np.zeros((2, 8, 10)), np.zeros((2, 8, 10))
    heat[3, 5], heat[6, 2] = 0.9, 0.1
    scales[:, 3, 5] = np.log([8 / 4, 4 / 4])
    offsets[:, 3, 5] = 0.25, -0.25
    boxes, scores = decode(heat, scales, offsets)
    # The middle is 15 down and 21 across, the face 8 high and 4 wide.
    assert boxes.tolist() == [[19, 11, 23, 19]]
    assert scores.tolist() == [pytest.approx(0.9)]


def test_heads_are_the_tops_of_persons_and_faces_get_a_margin() -> None:
    boxes = np.array([[10, 100, 50, 200]], np.float32)
    assert heads(boxes).tolist() == [[10, 100, 50, 122]]
    assert grown(boxes).tolist() == [[2, 80, 58, 220]]


def test_weights_of_another_package_are_refused_with_what_to_do() -> None:
    with pytest.raises(WeightsMissing, match="make setup-blur"):
        Weights("no_such_package", "x.onnx", 1, "0", "setup-blur").find()
    with pytest.raises(WeightsMissing, match="another checksum"):
        Weights("numpy", "__init__.py", 1, "0").find()


@pytest.mark.parametrize(("body", "headers", "status"), BAD_REQUESTS)
def test_bad_requests_are_refused_as_json(port: int, body: bytes, headers: dict[str, str], status: int) -> None:
    assert_refused(port, body, headers, status)


def test_people_of_a_street_get_heads_inside_the_frame(port: int, street: bytes) -> None:
    status, answer = invoke(port, street, Accept="application/json;verbose")
    assert status == 200
    assert answer["labels"] == list(LABELS)
    assert "head" in {LABELS[int(number)] for number in answer["classes"]}
    for left, top, right, bottom in answer["normalized_boxes"]:
        assert 0 <= left <= right <= 1
        assert 0 <= top <= bottom <= 1


def test_concurrent_requests_get_the_same_answers(port: int, street: bytes) -> None:
    assert_same_when_concurrent(port, street, 4)
