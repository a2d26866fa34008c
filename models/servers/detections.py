"""The detections of any detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.servers.suppression import suppress

# Above this IoU, the weaker of two boxes of one class is dropped (the value of YOLOX's ONNX demo).
IOU = 0.45


@dataclass(frozen=True)
class Detections:
    """Boxes [n, 4] as left, top, right, bottom in 0..1 of the image, scores [n], indexes into coco.NAMES [n]."""

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.intp]

    def __getitem__(self, chosen: npt.NDArray[np.intp | np.bool_]) -> Detections:
        return Detections(self.boxes[chosen], self.scores[chosen], self.classes[chosen])

    def suppressed(self) -> Detections:
        """The detections after non-maximum suppression within each class, best first."""
        return self[suppress(self.boxes, self.scores, self.classes, IOU)]
