"""Non-maximum suppression: keeps the best of overlapping boxes of one class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.intp]


def suppress(boxes: Floats, scores: Floats, classes: Integers, iou: float) -> Integers:
    """Indexes of the kept boxes, best score first; a box is dropped when its IoU with a better one exceeds `iou`.

    `boxes` is [n, 4] as left, top, right, bottom. Boxes of different classes do not affect each other.
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
