"""Cuboids: lift 2D boxes to boxes in three dimensions, with the points of a LiDAR."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.cuboids.geometry import Cuboid, Projection, corners
    from autolabel.cuboids.lifting import Fit, Lifted, NotLifted, Scene
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "geometry": ("Cuboid", "Projection", "corners"),
            "lifting": ("Fit", "Lifted", "NotLifted", "Scene"),
        },
    )

__all__ = ["Cuboid", "Fit", "Lifted", "NotLifted", "Projection", "Scene", "corners"]
