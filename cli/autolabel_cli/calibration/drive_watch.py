"""Compares the sensors of a drive with its drive.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import takewhile

import numpy as np

from autolabel.calibration import (
    CalibrationDocument,
    CameraCheck,
    EdgeMaps,
    RangeJumps,
    RotationView,
    check_by_lanes,
    check_by_lidar,
    evenly,
    find_range_jumps,
    lane_segments,
)
from autolabel.cuboids import Array, MountedCamera, NotLifted, Rig, read_points
from autolabel_cli.calibration.drive_files import DriveFiles
from autolabel_cli.calibration.pictures import find_segments, read_grey


def watch_calibration(files: DriveFiles, *, tolerance: int, tell: Callable[[int, int], None]) -> CalibrationDocument:
    """Check each camera by lanes, and by each LiDAR of its vehicle's frame.

    `tolerance`: the most ns between a picture and a point cloud. `tell(count, total)` gets the progress in cameras.
    What cannot be used is evidence that is missing, not an error.
    """
    rig, checks = Rig(files.document), list[CameraCheck]()
    cameras = sorted(files.document.cameras)
    for count, name in enumerate(cameras, start=1):
        tell(count, len(cameras))
        camera = rig.camera(name)
        if isinstance(camera, NotLifted):
            checks.append(CameraCheck(name, "lanes", "too little evidence", 0, camera.reason))
            checks += (
                CameraCheck(name, "lidar", "too little evidence", 0, camera.reason, lidar=lidar)
                for lidar in sorted(files.document.lidars)
            )
            continue
        checks += _check(name, camera, rig, files, tolerance)
    return CalibrationDocument(files.drive, tuple(checks))


def _check(name: str, camera: MountedCamera, rig: Rig, files: DriveFiles, tolerance: int) -> Iterator[CameraCheck]:
    lidars, place = rig.lidars(camera.vehicle), rig.place(name)
    views: dict[str, list[RotationView]] = {lidar: [] for lidar in lidars}
    lanes = list[Array]()
    for frame in evenly(files.list(name)):
        body = files.read(frame.key)
        grey = read_grey(body) if body else None
        if grey is None or grey.shape != (camera.height, camera.width):
            continue
        lanes.append(lane_segments(find_segments(grey), camera))
        maps = EdgeMaps(grey) if lidars else None
        for lidar, to_vehicle in lidars.items():
            jumps = _jumps(files, lidar, frame.time, tolerance, camera.to_camera @ to_vehicle)
            if maps and jumps:
                views[lidar].append(RotationView(maps, jumps, camera))
    yield check_by_lanes(name, camera, place, lanes)
    for lidar in sorted(files.document.lidars):
        if lidar in lidars:
            yield check_by_lidar(name, lidar, camera, place, views[lidar])
        else:
            why = f"the LiDAR has no extrinsics in {camera.vehicle!r}, or is not among the first eight by name"
            yield CameraCheck(name, "lidar", "too little evidence", 0, why, lidar=lidar)


def _jumps(files: DriveFiles, lidar: str, time: int, tolerance: int, to_camera: Array) -> RangeJumps | None:
    """Return the range jumps of the cloud that is nearest to a time, in the camera's frame; None without one."""
    near = takewhile(lambda one: one.time <= time + tolerance, files.list(lidar, max(0, time - tolerance)))
    cloud = min(near, key=lambda one: abs(one.time - time), default=None)
    body = files.read(cloud.key) if cloud else None
    points = read_points(body) if body else NotLifted("no readable point cloud")
    if isinstance(points, NotLifted):
        return None
    found = find_range_jumps(points)
    turned: Array = found.points @ to_camera[:3, :3].T + to_camera[:3, 3]
    return RangeJumps(turned.astype(np.float64), found.weights)
