"""Joins the frames of a drive to samples: what its cameras and LiDARs saw at about the same time."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from autolabel.contracts.drive import DriveDocument, Sensors
from autolabel.cuboids import MountedCamera, Rig, quaternion_of
from autolabel_cli.datasets.staging import StagedFrame

Array = npt.NDArray[np.float64]
# The name of a scene whose frames have no pose of the vehicle ends so.
WITHOUT_POSES = "without-poses"


class DriveRig(NamedTuple):
    """The calibrated sensors of a drive whose extrinsics have one parent, the vehicle's frame.

    `cameras`: by name; `lidars`: by name, the matrix (4 x 4) from its frame to the vehicle's.
    """

    vehicle: str
    cameras: dict[str, MountedCamera]
    lidars: dict[str, Array]


class Sample(NamedTuple):
    """What sensors saw at about the same time. `time`: of its first frame, in ns since the epoch.

    `frames`: by camera. `clouds`: by LiDAR, the time of its point cloud in ns.
    """

    time: int
    frames: dict[str, StagedFrame]
    clouds: dict[str, int]

    def pose(self, sensor: str) -> Array | None:
        """Return the matrix (4 x 4) from the vehicle's frame to a standing one, at the time of a sensor's data."""
        for frame in (self.frames[sensor],) if sensor in self.frames else self.frames.values():
            if frame.scene and sensor in frame.scene.poses:
                return np.array([*frame.scene.poses[sensor], (0, 0, 0, 1)], np.float64)
        return None


class Scene(NamedTuple):
    """Frames of a drive that follow each other. `poses`: whether they are placed in a frame that stands still."""

    name: str
    drive: str
    poses: bool
    samples: Iterator[Sample]


class _Place(msgspec.Struct):
    """The parts of a staged frame that tell its scene."""

    video: str
    key: str
    scene: _Poses


class _Poses(msgspec.Struct):
    poses: dict[str, msgspec.Raw] = {}


class _Order:
    """The times of a scene's frames, in ns, and where they are in the file of staged frames."""

    def __init__(self) -> None:
        self.times, self.offsets = array("q"), array("q")


def read_rig(sensors: Sensors | None) -> DriveRig | None:
    """Read the calibrations of a drive; None without a calibrated camera. The first camera by name tells the frame."""
    if sensors is None:
        return None
    rig = Rig(DriveDocument("", sensors.cameras, lidars=sensors.lidars))
    mounted = (rig.camera(name) for name in sorted(sensors.cameras))
    first = next((one for one in mounted if isinstance(one, MountedCamera)), None)
    return first and DriveRig(first.vehicle, rig.cameras(first.vehicle), rig.lidars(first.vehicle))


def prepare_objects(frame: StagedFrame, vehicle: str) -> None:
    """Leave out cuboids in another frame than the vehicle's, and the track of a second box of one object in a frame."""
    seen = set[tuple[int, str]]()
    foreign = frame.scene is not None and vehicle and frame.scene.frame != vehicle
    for box in frame.boxes:
        box.cuboid = None if foreign else box.cuboid
        box.track = "" if (box.label, box.track) in seen else box.track
        seen.add((box.label, box.track))


def camera_of(frame: StagedFrame) -> str:
    """Return the camera of a staged frame."""
    return frame.video.split(".")[1]


def time_of(key: str) -> int:
    """Return the time of a frame's key, in ns since the epoch."""
    return int(key.rpartition("/")[2].partition(".")[0])


def read_scenes(staged: Path, tolerance: int) -> Iterator[Scene]:
    """Read the scenes of a split: drives or stretches of drives. A scene's samples are read before the next scene.

    `tolerance`: the most ns between two frames of a sample. Frames with poses of the vehicle and those without are two
    scenes, since they are in different frames of coordinates. Memory grows by 16 bytes a frame.
    """
    orders: dict[str, tuple[str, bool, _Order]] = {}
    decoder, offset = msgspec.json.Decoder(_Place), 0
    with staged.open("rb") as lines:
        for line in lines:
            place = decoder.decode(line)
            drive, camera, *stretch = place.video.split(".")
            known = camera in place.scene.poses
            name = ".".join([drive, *stretch, *([] if known else [WITHOUT_POSES])])
            _, _, order = orders.setdefault(name, (drive, known, _Order()))
            order.times.append(time_of(place.key))
            order.offsets.append(offset)
            offset += len(line)
    stand = {drive for drive, known, _ in orders.values() if known}
    with staged.open("rb") as lines:
        for name, (drive, known, order) in orders.items():
            # The suffix tells the scenes of one drive apart.
            shown = name if known or drive in stand else name.removesuffix(f".{WITHOUT_POSES}")
            yield Scene(shown, drive, known, _samples(_frames(order, lines), tolerance))


def quaternion(matrix: Array) -> tuple[float, float, float, float]:
    """Return the quaternion w, x, y, z of a matrix's rotation; w is not negative."""
    x, y, z, w = quaternion_of(matrix[:3, :3])
    return w, x, y, z


def place_of(camera: MountedCamera) -> Array:
    """Return the matrix (4 x 4) from a camera's frame to the vehicle's; its place is where its lines of sight meet."""
    back: Array = np.linalg.inv(camera.to_camera).astype(np.float64)
    back[:3, 3] = back[:3, :3] @ camera.eye + back[:3, 3]
    return back


def turned(yaw: float) -> Array:
    """Return the matrix (4 x 4) of a heading about z."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def _frames(order: _Order, lines: BinaryIO) -> Iterator[StagedFrame]:
    decoder = msgspec.json.Decoder(StagedFrame)
    for at in np.argsort(order.times, kind="stable"):
        lines.seek(order.offsets[at])
        yield decoder.decode(lines.readline())


def _samples(frames: Iterator[StagedFrame], tolerance: int) -> Iterator[Sample]:
    """Join frames, in the order of time: those of different cameras that are near the first."""
    sample = dict[str, StagedFrame]()
    start = 0
    for frame in frames:
        time, camera = time_of(frame.key), camera_of(frame)
        if sample and (camera in sample or time - start > tolerance):
            yield _sample(start, sample)
            sample = {}
        start = start if sample else time
        sample[camera] = frame
    if sample:
        yield _sample(start, sample)


def _sample(start: int, frames: dict[str, StagedFrame]) -> Sample:
    clouds = dict[str, int]()
    for frame in frames.values():
        for lidar, text in (frame.scene.clouds if frame.scene else {}).items():
            clouds[lidar] = min(clouds.get(lidar, int(text)), int(text), key=lambda time: abs(time - start))
    return Sample(start, frames, clouds)
