"""Maps of a picture's edges, on which the outlines that a LiDAR sees should fall."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
# Larger pictures are shrunk: the search is to some hundredths of a degree, and memory is for two maps a frame.
_MOST_WIDTH = 1_280
# The wide map has a pixel for this number of them in each direction.
WIDE_SHRINK = 4
# An edge attracts points beside it, by less for each pixel away: (share a pixel, pixels). The wide map leads the search
# from afar (0.95 and 40 pixels, as the source has it), the narrow one decides; it was chosen on KITTI's 31 frames.
_WIDE, _NARROW = (0.95**WIDE_SHRINK, 40 // WIDE_SHRINK), (0.85, 12)
# The edge itself counts for this share, what is spread of it for the rest.
_OWN = 1 / 3
# The square root of a difference of 255 levels is then 255.
_LEVELS = 255**0.5


class EdgeMaps:
    """The `wide` and `narrow` maps of a picture, with a border of one pixel of 0.

    `shrink`: pixels of the picture for one of the narrow map; the wide one has WIDE_SHRINK times as many.
    """

    def __init__(self, grey: Grey) -> None:
        """Make the maps of a picture (height, width) of grey levels."""
        self.shrink = max(1, -(-grey.shape[1] // _MOST_WIDTH))
        edges = _edges(_shrunk(grey.astype(np.float32), self.shrink))
        height, width = (side // WIDE_SHRINK * WIDE_SHRINK for side in edges.shape)
        blocks = edges[:height, :width].reshape(height // WIDE_SHRINK, WIDE_SHRINK, width // WIDE_SHRINK, WIDE_SHRINK)
        self.wide, self.narrow = (
            np.pad(_spread(one, *how).astype(np.uint8), 1)
            for one, how in ((blocks.max(axis=(1, 3)), _WIDE), (edges, _NARROW))
        )


def _shrunk(grey: npt.NDArray[np.float32], by: int) -> npt.NDArray[np.float32]:
    height, width = (side // by * by for side in grey.shape)
    blocks = grey[:height, :width].reshape(height // by, by, width // by, by)
    shrunk: npt.NDArray[np.float32] = blocks.mean(axis=(1, 3))
    return shrunk


def _edges(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the root of the largest difference to the eight neighbours, 0 to 255: with it, faint edges count too."""
    around = np.pad(grey, 1, mode="edge")
    height, width = grey.shape
    largest = np.zeros_like(grey)
    for down in range(3):
        for right in range(3):
            np.maximum(largest, np.abs(grey - around[down : down + height, right : right + width]), out=largest)
    return np.sqrt(largest, out=largest) * np.float32(_LEVELS)


def _spread(edges: npt.NDArray[np.float32], share: float, pixels: int) -> npt.NDArray[np.float32]:
    spread = edges
    for _ in range(pixels):
        padded = np.pad(spread, 1)
        rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
        most = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
        spread = np.maximum(spread, np.float32(share) * most)
    return np.float32(_OWN) * edges + np.float32(1 - _OWN) * spread
