"""Small rotations, as vectors: the axis, as long as the angle."""

from __future__ import annotations

import numpy as np

from autolabel.cuboids import Array


def turn_matrix(degrees: Array) -> Array:
    """Return the rotation matrix (3 x 3) of a rotation vector (3) in degrees: Rodrigues' formula."""
    vector = np.radians(degrees)
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / angle if angle else vector
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    matrix: Array = np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew
    return matrix


def quaternion(matrix: Array) -> tuple[float, float, float, float]:
    """Return the quaternion x, y, z, w of a rotation matrix (3 x 3), with w of 0 or more."""
    # The eigenvector of the largest eigenvalue (Bar-Itzhack 2000): it has no special cases.
    xx, xy, xz, yx, yy, yz, zx, zy, zz = matrix.ravel()
    form = np.array(
        [
            [xx - yy - zz, xy + yx, xz + zx, zy - yz],
            [xy + yx, yy - xx - zz, yz + zy, xz - zx],
            [xz + zx, yz + zy, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    x, y, z, w = np.linalg.eigh(form)[1][:, -1]
    sign = -1.0 if w < 0 else 1.0
    return float(sign * x), float(sign * y), float(sign * z), float(sign * w)
