"""Reads point clouds, which may hold anything."""

from __future__ import annotations

import numpy as np

from autolabel.cuboids.geometry import Array
from autolabel.cuboids.lifting import NotLifted

# Float32 x, y, z and intensity.
_POINT_BYTES = 16
# A cloud with more points is thinned evenly: a fit uses some hundreds, and time and memory stay bounded.
_MOST_POINTS = 500_000
# Some sensors write zeros for a beam that did not come back.
_NO_RETURN = 0.05
# The median distance of a LiDAR's points, in metres. Millimetres and centimetres give more, kilometres less.
_MEDIAN = (0.5, 400.0)


def read_points(body: bytes) -> Array | NotLifted:
    """Read the points (n, 3) of a cloud in its LiDAR's frame, in metres: those that are finite and not at its origin.

    The bytes are float32 x, y, z, intensity, little endian.
    """
    returns = read_returns(body)
    return returns if isinstance(returns, NotLifted) else returns[:, :3]


def read_returns(body: bytes) -> Array | NotLifted:
    """Read the points (n, 4) of a cloud as `read_points`, with their intensities as the LiDAR gives them."""
    if len(body) % _POINT_BYTES:
        return NotLifted("no readable point cloud")
    records = np.frombuffer(body, "<f4").reshape(-1, 4)
    points: Array = records[:: max(1, -(-len(records) // _MOST_POINTS))].astype(np.float64)
    points = points[np.isfinite(points[:, :3]).all(axis=1)]
    distances = np.linalg.norm(points[:, :3], axis=1)
    points = points[distances > _NO_RETURN]
    if not len(points):
        return NotLifted("no readable point cloud")
    if not _MEDIAN[0] < np.median(distances[distances > _NO_RETURN]) < _MEDIAN[1]:
        return NotLifted("point cloud not in metres")
    return points
