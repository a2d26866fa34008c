"""Scores cuboids, lifted from 2D boxes with a LiDAR's points, against KITTI's labels in three dimensions.

A folder has `image_2/`, `label_2/`, `calib/` and `velodyne/<frame>.bin` or `.pcd` (KITTI object development kit,
readme.txt). The calibration of a frame gives the points' place in the frame of the camera (R0_rect, Tr_velo_to_cam) and
the projection of the picture (P2).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from pypcd4.pypcd4 import PointCloud

from autolabel.cuboids import Cuboid, Lifted, Projection, Scene, corners
from autolabel.labels import Box, Detections, box_iou
from autolabel.triage import share_interval
from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.document import CuboidsDocument
from autolabel_cli.models.kitti import CLASSES, KittiObject, LabelledFrame, read_labelled_folder

CLOUDS, CALIBRATIONS = "velodyne", "calib"
# What counts: cars and vans of 25 pixels and more, to 50 m, of any occlusion. Farther cars have a few points.
_TYPES, _LEAST_HEIGHT, _FARTHEST = ("Car", "Van"), 25.0, 50.0
# A model's box of IoU 0.5 and more is of the labelled object.
_SAME = 0.5
# A cloud with more points is thinned evenly: a fit uses a few hundred, and memory stays bounded.
_MOST_POINTS = 2_000_000
_POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4")])

Points = npt.NDArray[np.float64]
Find = Callable[[LabelledFrame], Detections]
"""The vehicles of a frame that models find."""


class Result(NamedTuple):
    """IoUs of a car's cuboid with the labelled one, in space and on the ground; 0 without a cuboid."""

    solid: float
    ground: float


def evaluate_cuboids(folder: Path, find: Find | None, tell: Callable[[int, int], None]) -> CuboidsDocument:
    """Lift the boxes of the cars of a KITTI folder, and score the cuboids. `find`: takes models' boxes for the labels'.

    `tell(count, total)` gets the progress. CommandError names what is missing or broken.
    """
    results, left_out, seconds, frames = list[Result](), Counter[str](), 0.0, 0
    labelled = read_labelled_folder(folder)
    for count, frame in enumerate(labelled, start=1):
        tell(count, len(labelled))
        cloud = next((path for path in clouds_of(folder, frame.name) if path.is_file()), None)
        if cloud is None:
            left_out["frames without points"] += 1
            continue
        frames += 1
        scene = _scene(cloud, folder / CALIBRATIONS / f"{frame.name}.txt", frame)
        found = list(_boxes(frame, find(frame) if find else None, left_out))
        began = time.perf_counter()
        lifted = [(scene.lift(name, box, drawn=find is None), truth) for name, box, truth in found]
        seconds += time.perf_counter() - began
        for one, truth in lifted:
            if not isinstance(one, Lifted):
                left_out[f"cars without a cuboid: {one.reason}"] += 1
            results.append(compare(one.cuboid, truth) if isinstance(one, Lifted) else Result(0.0, 0.0))
    if not results:
        raise CommandError(
            f"{folder} has no car to score: it needs {CLOUDS}/<frame>.bin or .pcd, and Car or Van in label_2"
        )
    solid, ground = ([one[side] for one in results] for side in (0, 1))
    return CuboidsDocument(
        cars=len(results),
        iou50=_share(solid, 0.5),
        iou70=_share(solid, 0.7),
        bev70=_share(ground, 0.7),
        seconds_per_box=round(seconds / len(results), 4),
        frames=frames,
        intervals={
            "iou50": interval(solid, 0.5),
            "iou70": interval(solid, 0.7),
            "bev70": interval(ground, 0.7),
        },
        left_out=dict(left_out),
    )


def compare(one: Cuboid, other: Cuboid) -> Result:
    """Return the IoU of two cuboids, in space and on the ground."""
    bottoms = corners(np.array([one, other]))[:, :4][..., [0, 2]]
    here, there = map(shapely.Polygon, bottoms)
    common = float(shapely.intersection(here, there).area)
    areas = one.length * one.width, other.length * other.width
    high = max(0.0, min(one.y, other.y) - max(one.y - one.height, other.y - other.height))
    sizes = areas[0] * one.height + areas[1] * other.height
    return Result(common * high / (sizes - common * high), common / (sum(areas) - common))


def interval(ious: Sequence[float], least: float) -> tuple[float, float]:
    """Return the interval of 95 % for the share of IoUs of `least` and more."""
    low, high = share_interval(sum(iou >= least for iou in ious) / len(ious), len(ious))
    return round(low, 3), round(high, 3)


def _share(ious: Sequence[float], least: float) -> float:
    return round(sum(iou >= least for iou in ious) / len(ious), 3)


def _boxes(frame: LabelledFrame, found: Detections | None, left_out: Counter[str]) -> Iterator[tuple[str, Box, Cuboid]]:
    """Yield class and box of each car that counts, with its labelled cuboid."""
    for thing in frame.objects:
        if thing.type not in _TYPES or thing.box is None or thing.box[3] - thing.box[1] < _LEAST_HEIGHT:
            continue
        truth = solid_of(thing, f"{thing.type} of frame {frame.name}")
        if truth.z > _FARTHEST:
            continue
        if found is None:
            yield CLASSES[thing.type], thing.box, truth
            continue
        box = thing.box
        best = max(found, key=lambda one: box_iou(one.box, box), default=None)
        if best is None or box_iou(best.box, box) < _SAME:
            left_out["cars that no model found"] += 1
        else:
            yield best.name, best.box, truth


def solid_of(thing: KittiObject, origin: str) -> Cuboid:
    """Return the labelled cuboid of an object. CommandError, which names `origin`, if it has none."""
    try:
        height, width, length, x, y, z, yaw = map(float, thing.solid)
    except ValueError as e:
        raise CommandError(f"{origin}: {e} in its three dimensions") from e
    if not (math.isfinite(x + y + z + yaw) and 0 < min(height, width, length) < math.inf):
        raise CommandError(f"{origin} has no size or place in three dimensions: {' '.join(thing.solid)}")
    return Cuboid(x, y, z, length, width, height, yaw)


def clouds_of(folder: Path, name: str) -> list[Path]:
    """Return where the cloud of a frame may be."""
    return [folder / CLOUDS / f"{name}{suffix}" for suffix in (".bin", ".pcd")]


def _scene(cloud: Path, calibration: Path, frame: LabelledFrame) -> Scene:
    points = read_cloud(cloud)
    known = read_calibration(calibration)
    to_camera, rectify = known["Tr_velo_to_cam"].reshape(3, 4), known["R0_rect"].reshape(3, 3)
    camera = Projection(known["P2"].reshape(3, 4), frame.width, frame.height)
    return Scene((points @ to_camera[:, :3].T + to_camera[:, 3]) @ rectify.T, camera)


def read_cloud(cloud: Path) -> Points:
    """Read x, y and z of the finite points."""
    try:
        if cloud.suffix == ".pcd":
            points = PointCloud.from_path(cloud).numpy(("x", "y", "z"))
        else:
            records = np.memmap(cloud, _POINT, "r")
            kept = records[:: -(-len(records) // _MOST_POINTS)]
            points = np.stack([kept[name] for name in "xyz"], axis=1)
    except (OSError, ValueError, RuntimeError, KeyError) as e:
        raise CommandError(f"{cloud} is not a point cloud (float32 x, y, z, intensity, or PCD): {e}") from e
    thinned: Points = points[:: max(1, -(-len(points) // _MOST_POINTS))].astype(np.float64)
    return thinned[np.isfinite(thinned).all(axis=1)]


# KITTI's calibrations that count, with their number of values.
_KNOWN = {"P2": 12, "R0_rect": 9, "Tr_velo_to_cam": 12}


def read_calibration(path: Path, optional: str = "") -> dict[str, Points]:
    """Read what counts of a frame's calibration, and the matrix `optional` if it is there. CommandError if broken."""
    try:
        rows = dict(line.split(":", 1) for line in path.read_text("utf-8").splitlines() if ":" in line)
        also = {optional: 12} if optional in rows else {}
        known = {name: np.array(rows[name].split(), np.float64) for name in _KNOWN | also}
    except OSError as e:
        raise CommandError(f"{path} cannot be read: {e.strerror}: it is the calibration of a frame with points") from e
    except KeyError as e:
        raise CommandError(f"{path} has no {e.args[0]}: it needs {', '.join(_KNOWN)}") from e
    except ValueError as e:
        raise CommandError(f"{path} is not a calibration: {e}") from e
    for name, count in (_KNOWN | also).items():
        if len(known[name]) != count or not np.isfinite(known[name]).all():
            raise CommandError(f"{path}: {name} needs {count} finite numbers")
    return known
