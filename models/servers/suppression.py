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
    kept: list[int] = []
    alive = np.ones(len(boxes), bool)
    for place, best in enumerate(order):
        if not alive[best]:
            continue
        kept.append(int(best))
        rest = order[place + 1 :]
        rest = rest[alive[rest] & (classes[rest] == classes[best])]
        alive[rest[ious(boxes[best], boxes[rest]) > iou]] = False
    return np.array(kept, np.intp)


def ious(box: Floats, others: Floats) -> Floats:
    """The IoU of a box [4] with each of others [n, 4]; 0 for boxes without an area."""
    sizes = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared: Floats = np.prod(np.maximum(sizes, 0), axis=1)
    union = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1) - shared
    shared /= np.where(union > 0, union, 1)
    return shared
