"""Detects objects with SSDLite MobileNet v2.

The graph ends before suppression. Its score columns are COCO's category ids in order, 1 to 90; 10 of them are unused.
"""

from __future__ import annotations

import cv2
import numpy as np

from models.servers.coco import NAMES
from models.servers.detections import Detections
from models.servers.images import Image
from models.servers.ssd.runtime import CLASSES, SIDE, Runtime

SCORE_FLOOR = 0.03
# Category ids that COCO's detection task does not use (cocodataset.org).
_UNUSED = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
_COLUMNS = np.array([number - 1 for number in range(1, CLASSES + 1) if number not in _UNUSED])
assert len(_COLUMNS) == len(NAMES)


class Detector:
    """A loaded network; several threads may use it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def detect(self, image: Image) -> Detections:
        """Detections with a score of at least SCORE_FLOOR, suppressed within each class; raises RuntimeFailed."""
        # The graph would scale it the same way, but slower.
        square = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        scores, boxes = self._runtime.infer(np.asarray(square[:, :, ::-1], np.uint8))
        scores = scores[:, _COLUMNS]
        classes = scores.argmax(axis=1)
        best = scores[np.arange(len(scores)), classes]
        likely = np.flatnonzero(best >= SCORE_FLOOR)
        shares = np.clip(boxes[likely][:, [1, 0, 3, 2]], 0, 1)
        return Detections(shares, best[likely], classes[likely]).suppressed()
