"""Finds number plates: text in the box of a vehicle.

Road signs and adverts are outside of these boxes. The network is the text detector PP-OCRv4 (DBNet: Liao et al.,
AAAI 2020), whose answer is a map of how likely each pixel is text.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from models.servers.detector import one_thread_session
from models.servers.images import Image
from models.servers.weights import Weights

Floats = npt.NDArray[np.float32]

# In the PyPI package rapidocr-onnxruntime 1.4.4; the weights are Apache-2.0 (PaddlePaddle).
WEIGHTS = Weights(
    "rapidocr_onnxruntime",
    "models/ch_PP-OCRv4_det_infer.onnx",
    4_745_517,
    "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    "setup-blur",
)
# Vehicles of less width in pixels have no plate that can be read.
_MIN_WIDTH = 40
# The pixels of a vehicle's longer side to which it is enlarged, and the most times.
_SIDE, _MAX_ZOOM = 640, 6.0
# The network halves its input five times.
_STEP = 32
# From which value a pixel is text, and from which mean value a piece of text counts. Lower than the network's usual
# 0.3 and 0.6: a part covered in vain costs less than a plate that stays readable.
_PIXEL, _PIECE = 0.2, 0.3
# The network marks the middle of a text; these shares of its height are added on all sides, the second one to a plate.
_GROWTH, _AROUND = 0.6, 0.25
# A plate is wider than high, and small against its vehicle, whose upper part is windows and lettering. Shares of the
# vehicle's width and height.
_MIN_ASPECT, _MAX_WIDTH, _MAX_HEIGHT, _TOP = 1.3, 0.55, 0.3, 0.3
# A plate of less width in pixels cannot be read.
_LEAST = 6.0


class PlateFinder:
    """The loaded text detector. Several threads may use it; each call takes one thread."""

    def __init__(self) -> None:
        """Load the network; raises WeightsMissing."""
        self._session = one_thread_session(WEIGHTS.find())
        self._input = self._session.get_inputs()[0].name

    def find(self, image: Image, vehicles: Floats) -> tuple[Floats, Floats]:
        """Return boxes [n, 4] of plates in pixels of the image, and scores [n].

        `vehicles` is [n, 4]; boxes are left, top, right, bottom.
        """
        boxes, scores = list[list[float]](), list[float]()
        height, width = image.shape[:2]
        for vehicle in vehicles:
            left, top = np.maximum(np.floor(vehicle[:2]), 0).astype(int)
            right, bottom = np.minimum(np.ceil(vehicle[2:]), (width, height)).astype(int)
            if right - left < _MIN_WIDTH or bottom <= top:
                continue
            for box, score in self._texts(image[top:bottom, left:right]):
                boxes.append([box[0] + left, box[1] + top, box[2] + left, box[3] + top])
                scores.append(score)
        return np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32)

    def _texts(self, crop: Image) -> list[tuple[list[float], float]]:
        height, width = crop.shape[:2]
        zoom = min(_SIDE / max(height, width), _MAX_ZOOM)
        sides = [max(_STEP, round(side * zoom / _STEP) * _STEP) for side in (width, height)]
        scaled = cv2.resize(crop, sides, interpolation=cv2.INTER_CUBIC)
        batch = ((scaled.astype(np.float32) / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None]
        likely = self._session.run(None, {self._input: np.ascontiguousarray(batch)})[0][0, 0]
        count, pieces, stats, _ = cv2.connectedComponentsWithStats((likely > _PIXEL).astype(np.uint8))
        found = []
        scores = np.bincount(pieces.ravel(), likely.ravel(), count) / np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
        across, down = width / sides[0], height / sides[1]
        for number in range(1, count):
            x, y, wide, high = (float(value) for value in stats[number, :4])
            score = float(scores[number])
            growth = _GROWTH * min(wide, high)
            box = [x - growth, y - growth, x + wide + growth, y + high + growth]
            box = [box[0] * across, box[1] * down, box[2] * across, box[3] * down]
            if score >= _PIECE and is_plate(box, width, height):
                margin = _AROUND * (box[3] - box[1])
                found.append(([box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin], score))
        return found


def is_plate(box: list[float], width: int, height: int) -> bool:
    """Check whether a text at a box, in pixels of its vehicle of `width` x `height`, may be a number plate."""
    wide, high = box[2] - box[0], box[3] - box[1]
    return (
        wide >= max(_LEAST, _MIN_ASPECT * high)
        and wide <= _MAX_WIDTH * width
        and high <= _MAX_HEIGHT * height
        and (box[1] + box[3]) / 2 >= _TOP * height
    )
