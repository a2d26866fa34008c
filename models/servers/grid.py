"""Converts YOLOX's raw output to boxes, as `demo_postprocess` of YOLOX's ONNX demo (Megvii)."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

STRIDES = (8, 16, 32)


def decode_grid(raw: Floats, side: int) -> tuple[Floats, Floats]:
    """Return boxes [n, 4] as left, top, right, bottom in pixels of the square input, and scores [n, classes].

    `raw` is [n, 5 + classes] for a square input of `side` pixels, one row for each cell of the strides' grids in
    order: centre offsets and log sizes in units of the cell, objectness, class probabilities. A score is objectness
    times probability. Raises ValueError for another number of rows.
    """
    corners, strides = _cells(side)
    if len(raw) != len(corners):
        raise ValueError(f"{len(raw)} rows for a grid of {len(corners)} cells")
    centres = (raw[:, :2] + corners) * strides
    # A damaged model gives absurd boxes; it must not overflow.
    halves = np.exp(np.minimum(raw[:, 2:4], 20.0)) * strides / 2
    scores = raw[:, 4:5] * raw[:, 5:]
    return np.concatenate([centres - halves, centres + halves], axis=1), scores


@functools.cache
def _cells(side: int) -> tuple[Floats, Floats]:
    """The top left corners [n, 2] of all cells in units of the cell, and their strides [n, 1]."""
    corners, strides = [], []
    for stride in STRIDES:
        count = side // stride
        ys, xs = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
        corners.append(np.stack([xs, ys], axis=-1).reshape(-1, 2))
        strides.append(np.full((count * count, 1), stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(strides).astype(np.float32)
