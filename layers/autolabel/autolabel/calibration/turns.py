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
