"""Measures how a camera is turned against a LiDAR: outlines in the cloud should fall on edges of the picture.

After Levinson and Thrun, "Automatic online calibration of cameras and lasers" (RSS 2013): the score of a rotation is
the sum of the edges at the places of the range jumps, over some frames, and the best rotation is searched for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from autolabel.calibration.picture_edges import WIDE_SHRINK, EdgeMaps
from autolabel.calibration.range_jumps import RangeJumps
from autolabel.calibration.stored_pixels import stored_pixels
from autolabel.calibration.turns import turn_matrix
from autolabel.cuboids import Array, MountedCamera

# The rotation is searched within this, in degrees about each axis.
FARTHEST = 2.4
# The first grid, the steps of the climb from its best places, of the best one's further climb, and of a group's from
# there, in degrees.
_GRID, _STARTS, _FIRST, _LAST, _GROUP = 0.8, 3, (0.4, 0.2), (0.1, 0.05, 0.025), (0.2, 0.1, 0.05)
_AXES = (-1.0, 0.0, 1.0)
_NEIGHBOURS = np.array([one for one in product(_AXES, repeat=3) if any(one)])
# More jumps of a frame cost time and change little; the first grid needs fewer still.
_MOST_JUMPS, _GRID_SHARE = 2_000, 4
# Fewer jumps in the picture say nothing.
_LEAST_JUMPS = 100
# Independent groups of frames, whose scatter tells the uncertainty.
_GROUPS = 4


class RotationView:
    """A frame: the edges of its picture, and the range jumps of its cloud."""

    def __init__(self, maps: EdgeMaps, jumps: RangeJumps, camera: MountedCamera) -> None:
        """`maps`: of the stored picture. `jumps`: in the camera's frame when it was taken."""
        pixels = stored_pixels(camera, jumps.points)
        seen = ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(axis=1)
        step = max(1, -(-int(seen.sum()) // _MOST_JUMPS))
        self._points, self._weights = jumps.points[seen][::step], jumps.weights[seen][::step]
        self._maps, self.camera = maps, camera

    @property
    def is_telling(self) -> bool:
        """Whether enough jumps are in the picture."""
        return len(self._points) >= _LEAST_JUMPS

    def score(self, turn: Array, *, coarse: bool) -> float:
        """Return the weighted sum of edges where the jumps fall, once they are turned by a matrix (3 x 3)."""
        step = _GRID_SHARE if coarse else 1
        edges = self._maps.wide if coarse else self._maps.narrow
        pixels = stored_pixels(self.camera, self._points[::step] @ turn.T)
        # The maps have a border of 0: a jump that leaves the picture finds no edge.
        height, width = edges.shape
        shrink = self._maps.shrink * (WIDE_SHRINK if coarse else 1)
        places = np.nan_to_num(pixels / shrink + 1.0, nan=0.0)
        x = np.clip(places[:, 0], 0, width - 1).astype(np.intp)
        y = np.clip(places[:, 1], 0, height - 1).astype(np.intp)
        return float(self._weights[::step] @ edges[y, x])


class Rotation(NamedTuple):
    """How a camera is turned against where it should be.

    `degrees` (3): the rotation vector about the camera's x, y and z, by which points in its frame must be turned to
    fall on their edges. `uncertainty`: one standard deviation of its angle, by the scatter of groups of frames.
    `contrast`: how much better the best score is than the median one of the grid, as a share.
    """

    degrees: Array
    uncertainty: float
    contrast: float


def measure_rotation(views: Sequence[RotationView]) -> Rotation:
    """Search the rotation of best score. `views`: of one camera, in the order of time; one for each group at least."""
    grid = [np.array(at) for at in product(np.arange(-3, 4) * _GRID, repeat=3)]
    scores = np.array([_score(views, at, coarse=True) for at in grid])
    starts = (grid[at] for at in np.argsort(-scores, kind="stable")[:_STARTS])
    first = max((_climb(views, at, _FIRST) for at in starts), key=lambda found: found[1])[0]
    best = _climb(views, first, _LAST)[0]
    cuts = [at * len(views) // _GROUPS for at in range(_GROUPS + 1)]
    groups = [views[a:b] for a, b in pairwise(cuts)]
    scatter = np.array([_climb(group, best, _GROUP)[0] for group in groups if group])
    uncertainty = float(np.linalg.norm(scatter.std(axis=0, ddof=1)) / len(scatter) ** 0.5)
    median = float(np.median(scores))
    contrast = float(scores.max()) / median - 1 if median > 0 else 0.0
    return Rotation(best, uncertainty, contrast)


def _climb(views: Sequence[RotationView], start: Array, steps: Sequence[float]) -> tuple[Array, float]:
    at, best = start, _score(views, start)
    for step in steps:
        while True:
            around = [near for near in at + step * _NEIGHBOURS if np.abs(near).max() <= FARTHEST + 1e-9]
            scores = [_score(views, near) for near in around]
            if max(scores) <= best:
                break
            best = max(scores)
            at = around[scores.index(best)]
    return at, best


def _score(views: Sequence[RotationView], degrees: npt.NDArray[np.float64], *, coarse: bool = False) -> float:
    turn = turn_matrix(degrees)
    return sum(view.score(turn, coarse=coarse) for view in views)
