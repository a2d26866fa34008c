"""Calibration watch: whether cameras are where drive.json says, by a LiDAR's points and by lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.calibration.lidar_rotation import RotationView, measure_rotation
    from autolabel.calibration.picture_edges import EdgeMaps, Grey
    from autolabel.calibration.range_jumps import RangeJumps, find_range_jumps
    from autolabel.calibration.turns import turn_matrix
    from autolabel.calibration.vanishing_point import lane_segments, measure_lanes
    from autolabel.calibration.watch import (
        LEAST_FRAMES,
        MOST_FRAMES,
        CalibrationDocument,
        CameraCheck,
        check_by_lanes,
        check_by_lidar,
        evenly,
    )
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "lidar_rotation": ("RotationView", "measure_rotation"),
            "picture_edges": ("EdgeMaps", "Grey"),
            "range_jumps": ("RangeJumps", "find_range_jumps"),
            "turns": ("turn_matrix",),
            "vanishing_point": ("lane_segments", "measure_lanes"),
            "watch": (
                "LEAST_FRAMES",
                "MOST_FRAMES",
                "CalibrationDocument",
                "CameraCheck",
                "check_by_lanes",
                "check_by_lidar",
                "evenly",
            ),
        },
    )

__all__ = [
    "LEAST_FRAMES",
    "MOST_FRAMES",
    "CalibrationDocument",
    "CameraCheck",
    "EdgeMaps",
    "Grey",
    "RangeJumps",
    "RotationView",
    "check_by_lanes",
    "check_by_lidar",
    "evenly",
    "find_range_jumps",
    "lane_segments",
    "measure_lanes",
    "measure_rotation",
    "turn_matrix",
]
