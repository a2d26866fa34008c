"""Measures what the calibration watch finds in folders, of nothing or of a rotation that is induced."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from autolabel.calibration import (
    LEAST_FRAMES,
    MOST_FRAMES,
    CameraCheck,
    EdgeMaps,
    Grey,
    RangeJumps,
    RotationView,
    check_by_lanes,
    check_by_lidar,
    evenly,
    find_range_jumps,
    lane_segments,
    turn_matrix,
)
from autolabel.cuboids import Array, MountedCamera, Projection
from autolabel_cli.calibration.pictures import find_segments, read_grey
from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.cuboids import CALIBRATIONS, clouds_of, read_calibration, read_cloud
from autolabel_cli.evaluation.document import CalibrationScores, InducedTurn
from autolabel_cli.models.kitti import IMAGES

Tell = Callable[[int, int], None]
_SUFFIXES = (".png", ".jpg", ".jpeg")
# Frames of a folder that are read, evenly over all: their edges are in memory at once.
_MOST_FRAMES = 200
# A camera that looks ahead in the vehicle's frame: x ahead, y to the left, z up.
_AHEAD = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


class _Frame(NamedTuple):
    """A frame with points. `jumps`: in the camera's frame."""

    maps: EdgeMaps
    jumps: RangeJumps
    camera: MountedCamera


def evaluate_by_lidar(folder: Path, *, induce: float, draws: int, seed: int, tell: Tell) -> CalibrationScores:
    """Check random frames of a KITTI folder by their points, turned by `induce` degrees about random axes.

    A draw has 20 frames in their order, or all if there are fewer. CommandError names what is missing or broken.
    """
    left_out, frames = Counter[str](), list[_Frame]()
    for image in _images(folder):
        cloud = next((path for path in clouds_of(folder, image.stem) if path.is_file()), None)
        grey = read_grey(image.read_bytes())
        if cloud is None or grey is None:
            left_out["frames without points" if cloud is None else "pictures that cannot be read"] += 1
            continue
        known = read_calibration(folder / CALIBRATIONS / f"{image.stem}.txt")
        to_camera, rectify = known["Tr_velo_to_cam"].reshape(3, 4), known["R0_rect"].reshape(3, 3)
        jumps = find_range_jumps(read_cloud(cloud))
        seen = (jumps.points @ to_camera[:, :3].T + to_camera[:, 3]) @ rectify.T
        camera = _camera(known["P2"].reshape(3, 4), grey.shape)
        frames.append(_Frame(EdgeMaps(grey), RangeJumps(seen, jumps.weights), camera))
    if not frames:
        raise CommandError(f"{folder} has no frame with points: it needs {IMAGES}/, velodyne/ and {CALIBRATIONS}/")
    chance = np.random.default_rng(seed)
    found = list[InducedTurn]()
    for count in range(1, draws + 1):
        tell(count, draws)
        chosen = np.sort(chance.choice(len(frames), min(len(frames), LEAST_FRAMES), replace=False))
        induced = _axis(chance, 3) * induce
        # Points that are turned away are found by the turn back.
        away = turn_matrix(-induced)
        views = [
            RotationView(maps, RangeJumps(jumps.points @ away.T, jumps.weights), camera)
            for maps, jumps, camera in (frames[at] for at in chosen)
        ]
        check = check_by_lidar("image_2", "velodyne", views[0].camera, None, views)
        left = None
        if check.turn:
            rest = turn_matrix(np.array(check.turn)) @ away
            left = math.degrees(math.acos(min(1.0, (float(np.trace(rest)) - 1) / 2)))
        found.append(_draw(check, induced, left))
    return _document("lidar", len(frames), induce, found, left_out)


def evaluate_by_lanes(
    folder: Path, focal: float | None, *, induce: float, draws: int, seed: int, tell: Tell
) -> CalibrationScores:
    """Check frames in a row by their lanes, in pictures that are turned by `induce` degrees in yaw and pitch.

    `focal`: of pictures without a calibration, in pixels. What is found is compared with what all frames say, so a
    camera that is turned already is not told. CommandError names what is missing or broken.
    """
    left_out, pictures = Counter[str](), list[Grey]()
    images = _images(folder)
    for image in images:
        grey = read_grey(image.read_bytes())
        if grey is None or (pictures and grey.shape != pictures[0].shape):
            left_out["pictures that cannot be read, or of another size"] += 1
        else:
            pictures.append(grey)
    if not pictures:
        raise CommandError(f"{folder} has no picture that can be read")
    height, width = pictures[0].shape
    if focal:
        matrix = np.array([[focal, 0, width / 2, 0], [0, focal, height / 2, 0], [0, 0, 1, 0]])
    else:
        matrix = read_calibration(folder / CALIBRATIONS / f"{images[0].stem}.txt")["P2"].reshape(3, 4)
    straight = _camera(matrix, (height, width))

    def check(camera: MountedCamera, turn: Array, first: int, count: int) -> CameraCheck:
        # The picture of a camera that is turned: what was at a ray is now where the turned ray is seen.
        warp = matrix[:, :3] @ turn_matrix(turn) @ np.linalg.inv(matrix[:, :3])
        turned = (cv2.warpPerspective(one, warp, (width, height)) for one in pictures[first : first + count])
        lanes = [lane_segments(find_segments(np.asarray(one, np.uint8)), camera) for one in turned]
        return check_by_lanes("image_2", camera, None, lanes)

    reference = check(straight, np.zeros(3), 0, len(pictures))
    if reference.turn is None:
        raise CommandError(f"{folder}: {reference.why}")
    mounted = np.eye(4)
    mounted[:3, :3] = turn_matrix(np.array(reference.turn))
    camera = straight._replace(to_camera=mounted @ straight.to_camera)
    chance, found = np.random.default_rng(seed), list[InducedTurn]()
    for number in range(1, draws + 1):
        tell(number, draws)
        induced = np.append(_axis(chance, 2), 0.0) * induce
        first = int(chance.integers(0, max(1, len(pictures) - MOST_FRAMES + 1)))
        one = check(camera, induced, first, MOST_FRAMES)
        left = float(np.linalg.norm(np.array(one.turn) - induced)) if one.turn else None
        found.append(_draw(one, induced, left))
    return _document("lanes", len(pictures), induce, found, left_out)


def _images(folder: Path) -> list[Path]:
    inside = folder / IMAGES if (folder / IMAGES).is_dir() else folder
    return evenly(sorted(path for path in inside.iterdir() if path.suffix.lower() in _SUFFIXES), _MOST_FRAMES)


def _camera(matrix: Array, shape: tuple[int, ...]) -> MountedCamera:
    height, width = shape
    return MountedCamera("vehicle", _AHEAD, Projection(matrix, width, height), (0.0, 0.0), None, width, height)


def _axis(chance: np.random.Generator, sides: int) -> Array:
    drawn = chance.normal(size=sides)
    axis: Array = drawn / np.linalg.norm(drawn)
    return axis


def _draw(check: CameraCheck, induced: Array, left: float | None) -> InducedTurn:
    x, y, z = (round(float(one), 3) + 0.0 for one in induced)
    rest = None if left is None else round(left, 3)
    return InducedTurn(check.frames, (x, y, z), check.turn, rest, check.uncertainty, check.verdict)


def _document(
    method: str, frames: int, induce: float, found: list[InducedTurn], left_out: Counter[str]
) -> CalibrationScores:
    verdicts = Counter(draw.verdict for draw in found)
    silent = verdicts["too little evidence"]
    lefts = [draw.left for draw in found if draw.left is not None and draw.verdict != "too little evidence"]
    worst = max(lefts, default=None)
    return CalibrationScores(method, frames, induce, verdicts["turned"], silent, worst, tuple(found), dict(left_out))
