"""Cuboids: lift 2D boxes to boxes in three dimensions, with the points of a LiDAR."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.cuboids.clouds import read_points, read_returns
    from autolabel.cuboids.ego_motion import EgoMotion, read_poses
    from autolabel.cuboids.geometry import Array, Cuboid, Projection, corners
    from autolabel.cuboids.lifted_boxes import lift_boxes, without_cuboids
    from autolabel.cuboids.lifting import Fit, Lifted, NotLifted, Reason, Scene
    from autolabel.cuboids.projections import project, wireframe
    from autolabel.cuboids.rig import MountedCamera, Rig, matrix_of, quaternion_of
    from autolabel.cuboids.sizes import SIZES
    from autolabel.cuboids.smoothing import TrackCuboid, smooth_track
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "clouds": ("read_points", "read_returns"),
            "ego_motion": ("EgoMotion", "read_poses"),
            "geometry": ("Array", "Cuboid", "Projection", "corners"),
            "lifted_boxes": ("lift_boxes", "without_cuboids"),
            "lifting": ("Fit", "Lifted", "NotLifted", "Reason", "Scene"),
            "projections": ("project", "wireframe"),
            "rig": ("MountedCamera", "Rig", "matrix_of", "quaternion_of"),
            "sizes": ("SIZES",),
            "smoothing": ("TrackCuboid", "smooth_track"),
        },
    )

__all__ = [
    "SIZES",
    "Array",
    "Cuboid",
    "EgoMotion",
    "Fit",
    "Lifted",
    "MountedCamera",
    "NotLifted",
    "Projection",
    "Reason",
    "Rig",
    "Scene",
    "TrackCuboid",
    "corners",
    "lift_boxes",
    "matrix_of",
    "project",
    "quaternion_of",
    "read_points",
    "read_poses",
    "read_returns",
    "smooth_track",
    "wireframe",
    "without_cuboids",
]
