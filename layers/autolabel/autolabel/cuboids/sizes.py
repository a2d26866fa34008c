"""How large objects of a class are, in metres."""

from __future__ import annotations

from typing import NamedTuple


class Size(NamedTuple):
    """Mean and standard deviation of length, width and height, in metres."""

    length: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]


# Cars: KITTI's, as used in the source of the method (mean and deviation of its labelled cars). The others are common
# sizes of such vehicles and persons with a wide deviation; a rider is measured with the two-wheeler.
SIZES = {
    "car": Size((3.9, 0.42), (1.63, 0.10), (1.53, 0.13)),
    "van": Size((5.0, 0.6), (1.9, 0.15), (2.2, 0.3)),
    "truck": Size((9.0, 2.5), (2.5, 0.2), (3.2, 0.5)),
    "trailer": Size((8.0, 3.0), (2.5, 0.3), (3.0, 0.8)),
    "bus": Size((11.5, 1.5), (2.55, 0.15), (3.1, 0.3)),
    "motorcycle": Size((2.1, 0.2), (0.8, 0.15), (1.4, 0.2)),
    "bicycle": Size((1.75, 0.15), (0.6, 0.1), (1.1, 0.1)),
    "person": Size((0.8, 0.25), (0.65, 0.15), (1.75, 0.12)),
    "rider": Size((1.75, 0.2), (0.6, 0.15), (1.7, 0.15)),
}
