"""Writes staged frames as the tables of nuScenes, by the schema of its development kit 1.2."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from PIL import Image

from autolabel.labels import BoxCuboid
from autolabel_cli.datasets.formats import channel, image_path
from autolabel_cli.datasets.samples import (
    Array,
    DriveRig,
    Sample,
    Scene,
    place_of,
    quaternion,
    read_scenes,
    time_of,
    turned,
)
from autolabel_cli.datasets.staging import StagedBox, StagedFrame
from autolabel_cli.errors import CommandError

# Key of a card: an object that another camera's cuboid stands for.
TWICE = "the same object in another camera"
_TABLES = (
    *("category", "attribute", "visibility", "instance", "sensor", "calibrated_sensor", "ego_pose", "log", "scene"),
    *("sample", "sample_data", "sample_annotation", "map"),
)
# The development kit's four levels: the least visible share of each, in percent, and its name.
_LEVELS = ((0, "v0-40"), (40, "v40-60"), (60, "v60-80"), (80, "v80-100"))
# The kit loads a mask for each map. Drives have no map, so it is one dark pixel.
_MASK = "maps/none.png"
# Decimals of quaternions and metres.
_TURN, _METRES = 9, 4

# `Any`: the columns of a table have different types.
_Record = dict[str, Any]


class _Placed(NamedTuple):
    """A cuboid of a sample, in the scene's frame of coordinates. `key`: tells its object."""

    key: tuple[str, ...]
    camera: str
    box: StagedBox
    cuboid: BoxCuboid
    middle: Array
    turn: Array


class _Table:
    """A table, written record by record. Records of one chain point to each other by `prev` and `next`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._chains: dict[str, _Record] = {}
        self._count = 0

    def __enter__(self) -> _Table:
        self._file = self._path.open("wb")
        self._file.write(b"[")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.write(b"\n]\n")
        self._file.close()

    def add(self, record: _Record) -> str:
        self._file.write((b",\n" if self._count else b"\n") + msgspec.json.encode(record))
        self._count += 1
        return str(record["token"])

    def follow(self, chain: str, record: _Record) -> str:
        """Add a record to the end of a chain, and return its token. It is written when it is known what follows."""
        record |= {"prev": "", "next": ""}
        if before := self._chains.get(chain):
            record["prev"], before["next"] = before["token"], record["token"]
            self.add(before)
        self._chains[chain] = record
        return str(record["token"])

    def end_chains(self) -> None:
        for record in self._chains.values():
            self.add(record)
        self._chains.clear()


def write_nuscenes(
    folder: Path,
    classes: Sequence[str],
    staged: Mapping[str, Path],
    rigs: Mapping[str, DriveRig],
    tolerance: int,
    drop: Callable[[str, str, str], None],
    written: Callable[[int], None],
) -> None:
    """Write staged frames into a folder: the tables `v1.0-<split>` of each split, and an empty map.

    `rigs`: by drive. `tolerance`: of a sample, in ns. `drop(split, class, why)` is told of each box left out, and
    `written(count)` of the frames meanwhile. Tokens are hashes of names, so a repeated export has the same. Objects
    that two cameras see at once are one: cuboids of a class whose middle is in the other's; the one with more points
    stays. CommandError where two sensors of a drive have one name in nuScenes.
    """
    mask = folder / _MASK
    mask.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (1, 1)).save(mask)
    for drive, rig in rigs.items():
        _check_names(drive, rig)
    frames = 0
    for split, path in staged.items():
        root = folder / f"v1.0-{split}"
        root.mkdir()
        with ExitStack() as files:
            tables = {name: files.enter_context(_Table(root / f"{name}.json")) for name in _TABLES}
            writer = _Split(tables, split, classes, rigs, drop)
            for scene in read_scenes(path, tolerance):
                for count in writer.write(scene):
                    frames += count
                    written(frames)
            writer.end()


def point_cloud_path(drive: str, lidar: str, time: int) -> Path:
    """Return the path of a point cloud in an export."""
    return Path("samples", channel("lidar", lidar), f"{drive}.{lidar}.{time:019d}.pcd.bin")


def five_columns(body: bytes) -> bytes:
    """Return a cloud's float32 x, y, z, intensity with nuScenes' fifth column, the ring, which is not known: 0."""
    records = np.frombuffer(body[: len(body) // 16 * 16], "<f4").reshape(-1, 4)
    return np.column_stack([records, np.zeros(len(records), "<f4")]).tobytes()


class _Split:
    """Writes the tables of a split."""

    def __init__(
        self,
        tables: Mapping[str, _Table],
        split: str,
        classes: Sequence[str],
        rigs: Mapping[str, DriveRig],
        drop: Callable[[str, str, str], None],
    ) -> None:
        self._tables, self._split, self._classes, self._rigs, self._drop = tables, split, classes, rigs, drop
        self._logs = dict[str, str]()
        self._sensors = dict[str, str]()
        self._calibrated = dict[tuple[str, str], str]()
        for index, name in enumerate(classes):
            tables["category"].add({"token": _token("category", name), "name": name, "description": "", "index": index})
        for number, (_, level) in enumerate(_LEVELS, start=1):
            described = f"the most visible share in a picture is between {level[1:].replace('-', ' and ')} %"
            tables["visibility"].add({"token": str(number), "level": level, "description": described})

    def end(self) -> None:
        """Write the map, which belongs to all logs."""
        self._tables["map"].add(
            {
                "token": _token("map"),
                "log_tokens": list(self._logs.values()),
                "category": "semantic_prior",
                "filename": _MASK,
            }
        )

    def write(self, scene: Scene) -> Iterator[int]:
        """Write a scene, and yield the number of frames of each sample."""
        token = _token("scene", self._split, scene.name)
        # Annotations of an object: their first and last token, and their number.
        objects = dict[tuple[str, ...], list[Any]]()
        first = last = ""
        count = start = 0
        for sample in scene.samples:
            last = self._tables["sample"].follow(
                token,
                {
                    "token": _token("sample", self._split, scene.name, sample.time),
                    "timestamp": sample.time // 1_000,
                    "scene_token": token,
                },
            )
            first, start = first or last, start or sample.time
            count += 1
            self._write_data(scene, sample, last)
            for placed in self._placed(scene, sample):
                self._write_annotation(scene, placed, last, objects)
            yield len(sample.frames)
        for key, (begin, end, number) in objects.items():
            self._tables["instance"].add(
                {
                    "token": _token("instance", *key),
                    "category_token": _token("category", key[-1]),
                    "nbr_annotations": number,
                    "first_annotation_token": begin,
                    "last_annotation_token": end,
                }
            )
        for name in ("sample", "sample_data", "sample_annotation"):
            self._tables[name].end_chains()
        self._tables["scene"].add(
            {
                "token": token,
                "log_token": self._log(scene.drive, start),
                "nbr_samples": count,
                "first_sample_token": first,
                "last_sample_token": last,
                "name": scene.name,
                "description": "" if scene.poses else "without ego poses: places are in the vehicle's frame",
            }
        )

    def _log(self, drive: str, start: int) -> str:
        if drive not in self._logs:
            self._logs[drive] = self._tables["log"].add(
                {
                    "token": _token("log", drive),
                    "logfile": drive,
                    "vehicle": "",
                    "date_captured": datetime.fromtimestamp(start // 1_000_000_000, UTC).date().isoformat(),
                    "location": "",
                }
            )
        return self._logs[drive]

    def _write_data(self, scene: Scene, sample: Sample, token: str) -> None:
        rig = self._rigs[scene.drive]
        for camera, frame in sample.frames.items():
            path = image_path("nuscenes", self._split, frame, 0)
            record = {
                "filename": str(path),
                "fileformat": frame.extension[1:],
                "width": frame.width,
                "height": frame.height,
            }
            self._write_sensor(scene, sample, token, camera, "camera", time_of(frame.key), record)
        for lidar, time in sample.clouds.items():
            if lidar in rig.lidars and (sample.pose(lidar) is not None or not scene.poses):
                path = point_cloud_path(scene.drive, lidar, time)
                record = {"filename": str(path), "fileformat": "pcd", "width": 0, "height": 0}
                self._write_sensor(scene, sample, token, lidar, "lidar", time, record)

    def _write_sensor(
        self, scene: Scene, sample: Sample, token: str, sensor: str, modality: str, time: int, record: _Record
    ) -> None:
        own = _token("sample_data", self._split, scene.name, sensor, sample.time)
        pose = sample.pose(sensor) if scene.poses else None
        self._tables["ego_pose"].add({"token": own, "timestamp": time // 1_000, **_placement(pose)})
        self._tables["sample_data"].follow(
            sensor,
            {
                "token": own,
                "sample_token": token,
                "ego_pose_token": own,
                "calibrated_sensor_token": self._calibration(scene.drive, sensor, modality),
                "timestamp": time // 1_000,
                "is_key_frame": True,
                **record,
            },
        )

    def _calibration(self, drive: str, sensor: str, modality: str) -> str:
        if (drive, sensor) in self._calibrated:
            return self._calibrated[drive, sensor]
        name = channel(modality, sensor)
        if name not in self._sensors:
            record = {"token": _token("sensor", name), "channel": name, "modality": modality}
            self._sensors[name] = self._tables["sensor"].add(record)
        rig = self._rigs[drive]
        intrinsics, lens = list[list[float]](), list[float]()
        if modality == "camera":
            camera = rig.cameras[sensor]
            place = place_of(camera)
            intrinsics, lens = camera.intrinsics.tolist(), list(camera.lens[4:] if camera.lens else ())
        else:
            place = rig.lidars[sensor]
        token = self._tables["calibrated_sensor"].add(
            {
                "token": _token("calibrated_sensor", drive, sensor),
                "sensor_token": self._sensors[name],
                **_placement(place),
                "camera_intrinsic": intrinsics,
                "camera_distortion": lens,
            }
        )
        self._calibrated[drive, sensor] = token
        return token

    def _placed(self, scene: Scene, sample: Sample) -> list[_Placed]:
        """Return the cuboids of a sample, each object once."""
        found = list[_Placed]()
        for camera, frame in sample.frames.items():
            pose = sample.pose(camera) if scene.poses else None
            for at, box in enumerate(frame.boxes):
                if box.cuboid and box.cuboid.center and box.cuboid.yaw is not None:
                    key = _object(scene, frame, at, box, self._classes)
                    turn = turned(box.cuboid.yaw)
                    turn[:3, 3] = box.cuboid.center
                    turn = turn if pose is None else pose @ turn
                    found.append(_Placed(key, camera, box, box.cuboid, turn[:3, 3], turn))
        found.sort(key=lambda one: (-one.cuboid.points, one.key))
        kept = list[_Placed]()
        for one in found:
            if any(_is_same(one, other) for other in kept):
                self._drop(self._split, one.key[-1], TWICE)
            else:
                kept.append(one)
        return kept

    def _write_annotation(
        self, scene: Scene, placed: _Placed, sample: str, objects: dict[tuple[str, ...], list[Any]]
    ) -> None:
        length, width, height = placed.cuboid.size or (0.0, 0.0, 0.0)
        token = self._tables["sample_annotation"].follow(
            _token("instance", *placed.key),
            {
                "token": _token("sample_annotation", *placed.key, sample),
                "sample_token": sample,
                "instance_token": _token("instance", *placed.key),
                "attribute_tokens": [],
                "visibility_token": _visibility(placed.cuboid),
                **_placement(placed.turn),
                "size": [width, length, height],
                "num_lidar_pts": placed.cuboid.points,
                "num_radar_pts": 0,
            },
        )
        known = objects.setdefault(placed.key, [token, token, 0])
        known[1:] = token, known[2] + 1


def _object(scene: Scene, frame: StagedFrame, at: int, box: StagedBox, classes: Sequence[str]) -> tuple[str, ...]:
    """Return what tells an object: its track and class in a scene; without a track, its frame and place there."""
    return scene.name, *((box.track,) if box.track else (frame.name, str(at))), classes[box.label]


def _is_same(one: _Placed, other: _Placed) -> bool:
    """Tell whether cuboids of two cameras are one object: the middle of one is in the other's ground."""
    return (
        one.camera != other.camera and one.box.label == other.box.label and (_holds(one, other) or _holds(other, one))
    )


def _holds(one: _Placed, other: _Placed) -> bool:
    along, across, _ = one.turn[:3, :3].T @ (other.middle - one.middle)
    length, width, _ = one.cuboid.size or (0.0, 0.0, 0.0)
    return bool(abs(along) <= length / 2 and abs(across) <= width / 2)


def _visibility(cuboid: BoxCuboid) -> str:
    """Return the token of a cuboid's level, by the picture that shows most of it; empty if it was not projected."""
    if not cuboid.projections:
        return ""
    share = max(100 * (1 - one.truncated) * (1 - one.occluded) for one in cuboid.projections.values())
    return str(sum(share >= least for least, _ in _LEVELS))


def _placement(matrix: Array | None) -> _Record:
    if matrix is None:
        return {"translation": [0.0, 0.0, 0.0], "rotation": [1.0, 0.0, 0.0, 0.0]}
    return {
        "translation": [round(float(metres), _METRES) + 0.0 for metres in matrix[:3, 3]],
        "rotation": [round(part, _TURN) + 0.0 for part in quaternion(matrix)],
    }


def _token(*parts: object) -> str:
    return hashlib.sha256(msgspec.json.encode([str(part) for part in parts])).hexdigest()[:32]


def _check_names(drive: str, rig: DriveRig) -> None:
    for modality, sensors in (("camera", rig.cameras), ("lidar", rig.lidars)):
        names = dict[str, str]()
        for sensor in sensors:
            other = names.setdefault(channel(modality, sensor), sensor)
            if other != sensor:
                raise CommandError(
                    f"drive {drive}: sensors {other!r} and {sensor!r} would both be {channel(modality, sensor)} in "
                    "nuScenes: export it as openlabel, which has the names as they are"
                )
