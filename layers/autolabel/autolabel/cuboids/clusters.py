"""Groups points that stand together on the ground."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autolabel.cuboids.geometry import Array

# Points in neighbouring cells of a grid belong together. Its cells grow with the distance, as the gaps between beams
# do: the larger of these, in metres and as a share of the distance.
_CELL, _CELL_SHARE = 0.35, 0.012
LEAST = 5


def clusters(places: Array, most: int) -> list[npt.NDArray[np.intp]]:
    """Return the indexes of points (n, 2) on the ground by cluster, the largest first: at most `most` clusters.

    Clusters of fewer than LEAST points are left out. Two points are of one cluster if a chain of occupied cells joins
    them, also over corners.
    """
    cell = max(_CELL, _CELL_SHARE * float(np.median(np.hypot(*places.T))))
    cells, of_point = np.unique(np.floor(places / cell).astype(np.int64), axis=0, return_inverse=True)
    found = {(int(a), int(b)): index for index, (a, b) in enumerate(cells)}
    labels = np.full(len(cells), -1)
    for first in range(len(cells)):
        if labels[first] >= 0:
            continue
        label = labels.max() + 1
        labels[first] = label
        open_cells = [first]
        while open_cells:
            a, b = cells[open_cells.pop()]
            for at in ((int(a) + i, int(b) + j) for i in (-1, 0, 1) for j in (-1, 0, 1)):
                if (near := found.get(at)) is not None and labels[near] < 0:
                    labels[near] = label
                    open_cells.append(near)
    of_point = labels[of_point.ravel()]
    counts = np.bincount(of_point)
    largest = np.argsort(-counts, kind="stable")[:most]
    return [np.flatnonzero(of_point == label) for label in largest if counts[label] >= LEAST]
