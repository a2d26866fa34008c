"""Writes staged frames as ASAM OpenLABEL 1.0: a JSON file for each scene."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from autolabel.contracts.frames import PointCloudKey
from autolabel_cli.datasets.formats import image_path
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

# No sensor has these names, since they begin with a slash.
VEHICLE, WORLD = "/vehicle", "/world"
CUBOID = "cuboid"
_METRES, _TURN = 4, 9

# `Any`: parts of the format have different types.
_Part = dict[str, Any]


def write_openlabel(
    folder: Path,
    classes: Sequence[str],
    staged: Mapping[str, Path],
    rigs: Mapping[str, DriveRig],
    tolerance: int,
    written: Callable[[int], None],
) -> None:
    """Write staged frames into a folder: `<split>/<scene>.json`. Calls `written(count)` meanwhile.

    `rigs`: by drive, of those with calibrations; the others have boxes only. `tolerance`: of a frame's sensors, in ns.
    """
    frames = 0
    for split, path in staged.items():
        (folder / split).mkdir(exist_ok=True)
        for scene in read_scenes(path, tolerance):
            with (folder / split / f"{scene.name}.json").open("wb") as file:
                document = _Document(scene, split, classes, rigs.get(scene.drive))
                for sample in scene.samples:
                    document.write_frame(file, sample)
                    frames += len(sample.frames)
                    written(frames)
                document.end(file)


class _Document:
    """Writes the file of a scene, frame by frame. What is known at the end comes after the frames."""

    def __init__(self, scene: Scene, split: str, classes: Sequence[str], rig: DriveRig | None) -> None:
        self._scene, self._split, self._classes, self._rig = scene, split, classes, rig
        self._frames = 0
        self._numbers = dict[tuple[str, ...], str]()
        self._objects = dict[str, _Part]()
        self._streams = dict[str, _Part]()

    def write_frame(self, file: BinaryIO, sample: Sample) -> None:
        head = b'{"openlabel":{"frames":{' if not self._frames else b",\n"
        file.write(head + msgspec.json.encode(str(self._frames)) + b":" + msgspec.json.encode(self._frame(sample)))
        self._frames += 1

    def end(self, file: BinaryIO) -> None:
        rest = {
            "metadata": {"schema_version": "1.0.0", "name": self._scene.name},
            "coordinate_systems": self._coordinate_systems(),
            "streams": self._streams,
            "frame_intervals": [{"frame_start": 0, "frame_end": self._frames - 1}],
            "objects": self._objects,
        }
        file.write(b"},\n" + msgspec.json.encode(rest)[1:] + b"}\n")

    def _frame(self, sample: Sample) -> _Part:
        streams = dict[str, _Part]()
        for camera, frame in sample.frames.items():
            self._add_stream(camera, "camera")
            uri = str(image_path("openlabel", self._split, frame, 0).relative_to(self._split))
            streams[camera] = _stream(time_of(frame.key), uri)
        bucket = next(iter(sample.frames.values())).bucket
        for lidar, time in sample.clouds.items():
            self._add_stream(lidar, "lidar")
            key = PointCloudKey(self._scene.drive, lidar, f"{time:019d}").key
            streams[lidar] = _stream(time, f"s3://{bucket}/{key}")
        here = sample.pose(next(iter(sample.frames))) if self._scene.poses else None
        transforms = {} if here is None else {"vehicle_to_world": {"src": VEHICLE, "dst": WORLD, **_to(here)}}
        return {
            "frame_properties": {
                "timestamp": str(sample.time),
                "streams": streams,
                **({"transforms": transforms} if transforms else {}),
            },
            "objects": {
                self._number(frame, at, box): {"object_data": self._data(sample, here, camera, frame, at, box)}
                for camera, frame in sample.frames.items()
                for at, box in enumerate(frame.boxes)
            },
        }

    def _number(self, frame: StagedFrame, at: int, box: StagedBox) -> str:
        """Return the number of an object: of its track and class; without a track, of its place in its frame."""
        kind = self._classes[box.label]
        key = (box.track, kind) if box.track else (frame.name, str(at), kind)
        if key not in self._numbers:
            number = self._numbers[key] = str(len(self._numbers))
            self._objects[number] = {
                "name": box.track or f"{frame.name}.{at}",
                "type": kind,
                "frame_intervals": [],
                "object_data_pointers": {},
            }
        return self._numbers[key]

    def _data(
        self, sample: Sample, here: Array | None, camera: str, frame: StagedFrame, at: int, box: StagedBox
    ) -> _Part:
        marks = [{"name": name, "val": bool(getattr(box, name))} for name in ("occluded", "truncated")]
        score = [] if box.score is None else [{"name": "score", "val": box.score}]
        left, top, right, bottom = box.at
        boxes = [_box(camera, camera, left, top, right - left, bottom - top, {"boolean": marks, "num": score})]
        cuboids = list[_Part]()
        if box.cuboid and box.cuboid.center and box.cuboid.size and box.cuboid.yaw is not None:
            place = turned(box.cuboid.yaw)
            place[:3, 3] = box.cuboid.center
            then = sample.pose(camera)
            if here is not None and then is not None:
                place = np.linalg.inv(here) @ then @ place
            w, x, y, z = (round(part, _TURN) for part in quaternion(place))
            middle = [round(float(metres), _METRES) + 0.0 for metres in place[:3, 3]]
            numbers = {"points": box.cuboid.points, "cost": box.cuboid.cost}
            known = [{"name": name, "val": value} for name, value in numbers.items() if value is not None]
            cuboids.append(
                {
                    "name": CUBOID,
                    "coordinate_system": VEHICLE,
                    "val": [*middle, x, y, z, w, *box.cuboid.size],
                    "attributes": {"num": known},
                }
            )
            for other, one in box.cuboid.projections.items():
                if other == camera or _is_of(sample, frame, other):
                    shares = [{"name": name, "val": getattr(one, name)} for name in ("occluded", "truncated")]
                    name = f"projection/{other}"
                    boxes.append(_box(name, other, one.left, one.top, one.width, one.height, {"num": shares}))
        data = {"bbox": boxes, **({"cuboid": cuboids} if cuboids else {})}
        self._point(self._objects[self._number(frame, at, box)], data)
        return data

    def _point(self, thing: _Part, data: _Part) -> None:
        """Note that an object is in this frame, with its data."""
        _extend(thing["frame_intervals"], self._frames)
        for kind, parts in data.items():
            for part in parts:
                pointers = thing["object_data_pointers"]
                pointer = pointers.setdefault(part["name"], {"type": kind, "frame_intervals": []})
                _extend(pointer["frame_intervals"], self._frames)

    def _add_stream(self, sensor: str, kind: str) -> None:
        if sensor in self._streams:
            return
        stream = self._streams[sensor] = {"type": kind}
        if self._rig and kind == "camera" and (camera := self._rig.cameras.get(sensor)):
            stream["stream_properties"] = {
                "intrinsics_pinhole": {
                    "width_px": camera.width,
                    "height_px": camera.height,
                    "camera_matrix": np.column_stack([camera.intrinsics, np.zeros(3)]).ravel().tolist(),
                    # k1, k2, p1, p2, k3, k4, k5, k6.
                    "distortion_coeffs": list(camera.lens[4:]) if camera.lens else [0.0] * 5,
                }
            }

    def _coordinate_systems(self) -> _Part:
        """Describe the frames of coordinates: a picture's is in pixels, and has a place in space if it is known."""
        systems: _Part = {}
        for sensor in self._streams:
            system = systems[sensor] = {"type": "sensor_cs", "parent": VEHICLE, "children": []}
            if self._rig and sensor in self._rig.cameras:
                system["pose_wrt_parent"] = _matrix(place_of(self._rig.cameras[sensor]))
            elif self._rig and sensor in self._rig.lidars:
                system["pose_wrt_parent"] = _matrix(self._rig.lidars[sensor])
        parent = WORLD if self._scene.poses else ""
        systems[VEHICLE] = {"type": "local_cs", "parent": parent, "children": list(self._streams)}
        if parent:
            systems[WORLD] = {"type": "scene_cs", "parent": "", "children": [VEHICLE]}
        return systems


def _is_of(sample: Sample, frame: StagedFrame, other: str) -> bool:
    """Tell whether the cuboids of a frame are projected into the picture that a sample has of another camera."""
    picture = frame.scene.pictures.get(other) if frame.scene else None
    return (
        picture is not None and other in sample.frames and int(picture.timestamp) == time_of(sample.frames[other].key)
    )


def _extend(intervals: list[dict[str, int]], frame: int) -> None:
    if intervals and intervals[-1]["frame_end"] >= frame - 1:
        intervals[-1]["frame_end"] = frame
    else:
        intervals.append({"frame_start": frame, "frame_end": frame})


def _box(name: str, system: str, left: float, top: float, width: float, height: float, attributes: _Part) -> _Part:
    """Make a box, which OpenLABEL gives by its middle."""
    known = {kind: values for kind, values in attributes.items() if values}
    middle = [left + width / 2, top + height / 2]
    return {"name": name, "coordinate_system": system, "val": [*middle, width, height], "attributes": known}


def _stream(time: int, uri: str) -> _Part:
    return {"uri": uri, "stream_properties": {"sync": {"timestamp": str(time)}}}


def _matrix(matrix: Array) -> _Part:
    return {"matrix4x4": [round(float(number), _TURN) + 0.0 for number in matrix.ravel()]}


def _to(matrix: Array) -> _Part:
    return {"transform_src_to_dst": _matrix(matrix)}
