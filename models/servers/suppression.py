"""Non-maximum suppression: of boxes of one class that overlap, the best stays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.intp]


def suppress(boxes: Floats, scores: Floats, classes: Integers, iou: float) -> Integers:
    """Indexes of the boxes that stay, best score first; a box goes when a better one of its class overlaps it more.

    `boxes` is [n, 4] as left, top, right, bottom; `iou` is the overlap (intersection over union) that is tolerated.
    """
    order = np.argsort(-scores, kind="stable")
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    kept: list[int] = []
    alive = np.ones(len(boxes), bool)
    for place, best in enumerate(order):
        if not alive[best]:
            continue
        kept.append(int(best))
        rest = order[place + 1 :]
        rest = rest[alive[rest] & (classes[rest] == classes[best])]
        overlap = _intersections(boxes[best], boxes[rest])
        union = areas[best] + areas[rest] - overlap
        alive[rest[overlap > iou * union]] = False
    return np.array(kept, np.intp)


def _intersections(box: Floats, others: Floats) -> Floats:
    sizes = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    areas: Floats = np.prod(np.maximum(sizes, 0), axis=1)
    return areas
