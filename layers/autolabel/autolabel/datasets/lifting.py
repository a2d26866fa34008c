"""Lifts the boxes of a part's labels to cuboids, and projects these into the pictures of all cameras.

It does so some frames at a time, before the part's lines are written.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import FrameChanged, FrameUnreadable, KeyRefused
from autolabel.contracts.frames import (
    MAX_FRAME_BYTES,
    PointCloudKey,
    drive_prefix,
    is_point_cloud,
    logs_prefix,
    parse_frame_key,
)
from autolabel.contracts.logs import LogFolder
from autolabel.contracts.ports import Bucket, Logs, StoredObject
from autolabel.cuboids import (
    EgoMotion,
    MountedCamera,
    NotLifted,
    Reason,
    Rig,
    TrackCuboid,
    lift_boxes,
    project,
    read_poses,
    read_returns,
    smooth_track,
    without_cuboids,
)
from autolabel.cuboids.geometry import Array
from autolabel.datasets.cuboid_files import CUBOIDS, LiftedFrame
from autolabel.datasets.joining import Join
from autolabel.datasets.parts import Part
from autolabel.datasets.review_scenes import write_scene
from autolabel.drives.drive_logs import recorded_logs
from autolabel.labels.box_cuboids import BoxCuboid, CuboidProjection, CuboidScene, NearPicture, Row
from autolabel.labels.manifest import ManifestLine
from autolabel.streams.ordered_map import map_in_order

_JSON_LINES = "application/jsonl"
# Frames that are lifted, or projected, and written at once. A call ends between two groups.
_GROUP = 25
# Threads that read ahead: clouds have megabytes, and groups some kilobytes.
_CLOUD_READERS, _GROUP_READERS = 2, 8
_SECOND = 1e9


class PartLifted(msgspec.Struct, frozen=True):
    """The output of lifting a part: whether it is `done`, else the same call goes on. `lifted`: groups of frames."""

    drive: str
    run: str
    number: int
    done: bool
    lifted: int


class _Cloud(NamedTuple):
    """A point cloud near a picture. `time`: in ns since the epoch; `points` (n, 4): in the vehicle's frame then, with
    their intensities."""

    lidar: str
    time: int
    points: Array | NotLifted


def lift_part(
    run: Run,
    part: Part,
    *,
    ingest: Bucket,
    label_bucket: Bucket,
    ledger: Logs,
    tolerance: int,
    is_late: Callable[[], bool],
) -> PartLifted:
    """Lift the boxes of a part's labels, until all are lifted or the call is late. A repeated call goes on.

    `tolerance`: the most ns between a picture and a point cloud, or the picture of another camera. Calls in any order
    leave the same bytes, as long as the point clouds and pictures are the same. Clouds that cannot be used are a reason
    for boxes without a cuboid.
    """
    folder = run.folder

    def result(groups: int, *, done: bool) -> PartLifted:
        return PartLifted(run.drive, run.run, part.number, done, groups)

    if label_bucket.exists(folder.part(part.id, CUBOIDS)):
        return result(0, done=True)
    written = {one.key for one in label_bucket.list(folder.part(part.id, "lifted/"))}
    lifting = _Lifting(run, ingest, label_bucket, ledger, tolerance)
    number, begun = -1, False
    for number, lines in enumerate(_groups(Join(run, part, label_bucket))):
        key = folder.lifted(part.id, number)
        if key in written:
            continue
        # Each call lifts one group at least.
        if begun and is_late():
            return result(number, done=False)
        begun = True
        body = b"".join(msgspec.json.encode(frame) + b"\n" for frame in lifting.lift(lines))
        label_bucket.write(key, body, _JSON_LINES)
    if begun and is_late():
        return result(number + 1, done=False)
    groups = number + 1
    frames = list(_read_groups(folder.lifted, part, groups, label_bucket))
    smooth = iter(_smooth([frame for group in frames for frame in group]))
    for number, size in enumerate(map(len, frames)):
        group = list(islice(smooth, size))
        key = folder.projected(part.id, number)
        if key in written:
            continue
        if begun and is_late():
            return result(groups, done=False)
        begun = True
        body = b"".join(msgspec.json.encode(frame) + b"\n" for frame in lifting.project(group))
        label_bucket.write(key, body, _JSON_LINES)
    projected = _read_groups(folder.projected, part, groups, label_bucket)
    joined = (msgspec.json.encode(frame) + b"\n" for group in projected for frame in group)
    label_bucket.write_stream(folder.part(part.id, CUBOIDS), joined, _JSON_LINES)
    return result(groups, done=True)


def _groups(join: Join) -> Iterator[list[ManifestLine]]:
    """Cut the lines of a part into groups of frames of one camera."""
    for _, lines in groupby((frame.line for frame in join.frames()), key=lambda line: line.origin.camera):
        while group := list(islice(lines, _GROUP)):
            yield group


class _Lifting:
    """Lifts groups of frames of a run, and projects their cuboids."""

    def __init__(self, run: Run, ingest: Bucket, label_bucket: Bucket, ledger: Logs, tolerance: int) -> None:
        self._run, self._tolerance = run, tolerance
        self._ingest, self._label_bucket, self._ledger = ingest, label_bucket, ledger
        self._rig = Rig(run.document)
        self._motions: dict[str, EgoMotion] = {}

    def lift(self, lines: Sequence[ManifestLine]) -> Iterator[LiftedFrame]:
        """Lift the boxes of frames of one camera, in their order."""
        camera = self._rig.camera(lines[0].origin.camera)
        if isinstance(camera, NotLifted):
            yield from (_not_lifted(line, camera.reason) for line in lines)
            return
        lidars = self._rig.lidars(camera.vehicle)
        size = camera.width, camera.height
        fits = [(line.size.width, line.size.height) == size for line in lines]
        times = [int(line.origin.timestamp) for line in lines]
        near = {name: self._list(name, times[0], times[-1], _is_cloud) for name in lidars}
        asked = (
            (time, name, near[name])
            for line, time, fit in zip(lines, times, fits, strict=True)
            if line.label_boxes and fit
            for name in lidars
        )
        clouds = map_in_order(lambda one: self._read(*one, lidars[one[1]]), asked, _CLOUD_READERS)
        for line, time, fit in zip(lines, times, fits, strict=True):
            if not line.label_boxes:
                yield LiftedFrame(line.source_ref, (), CuboidScene())
            elif not fit:
                yield _not_lifted(line, "another image size than that of the intrinsics", camera)
            else:
                yield self._lift(line, time, camera, [cloud for cloud in islice(clouds, len(lidars)) if cloud])

    def project(self, frames: Sequence[LiftedFrame]) -> Iterator[LiftedFrame]:
        """Add to the cuboids of frames of one camera their projections into the pictures of all cameras."""
        name, _ = _place(frames[0])
        own = self._rig.camera(name)
        if isinstance(own, NotLifted):
            yield from frames
            return
        times = [_place(frame)[1] for frame in frames if frame.scene.clouds]
        cameras = self._rig.cameras(own.vehicle) if times else {}
        near = {other: self._list(other, times[0], times[-1], _is_picture) for other in cameras if other != name}
        for frame in frames:
            yield self._project(frame, own, cameras, near)

    def _project(
        self,
        frame: LiftedFrame,
        own: MountedCamera,
        cameras: Mapping[str, MountedCamera],
        near: Mapping[str, Sequence[tuple[int, StoredObject]]],
    ) -> LiftedFrame:
        name, time = _place(frame)
        motion = self._motion(own.vehicle)
        projections = [dict[str, CuboidProjection]() for _ in frame.cuboids]
        pictures = dict[str, NearPicture]()
        for other, camera in cameras.items() if frame.scene.clouds else ():
            when = time
            if other != name:
                picture = self._nearest(near[other], time)
                if picture is None:
                    continue
                when, _ = picture
            step = motion.between(time, when)
            if other != name:
                pictures[other] = NearPicture(f"{when:019d}", "none" if step is None else "poses")
            projected = project(camera, np.eye(4) if step is None else step, frame.cuboids)
            for by_camera, one in zip(projections, projected, strict=True):
                if one:
                    by_camera[other] = one
        clouds = {lidar: int(when) for lidar, when in frame.scene.clouds.items()}
        places = {sensor: motion.at(when) for sensor, when in {name: time, **clouds}.items()}
        poses = {sensor: _rows(place) for sensor, place in places.items() if place is not None}
        return msgspec.structs.replace(
            frame,
            cuboids=tuple(map(_with_projections, frame.cuboids, projections)),
            scene=msgspec.structs.replace(frame.scene, pictures=pictures, poses=poses),
        )

    def _list(
        self, sensor: str, first: int, last: int, is_taken: Callable[[StoredObject], bool]
    ) -> list[tuple[int, StoredObject]]:
        """List the objects of a sensor between two times, with the tolerance: time and object, in the order of time."""
        found = list[tuple[int, StoredObject]]()
        start = PointCloudKey(self._run.drive, sensor, f"{max(0, first - self._tolerance - 1):019d}").key
        prefix = f"{drive_prefix(self._run.drive)}{sensor}/"
        for thing in self._ingest.list(prefix, after=start):
            if not is_taken(thing):
                continue
            time = int(thing.key.removeprefix(prefix).partition(".")[0])
            if time > last + self._tolerance:
                break
            found.append((time, thing))
        return found

    def _nearest(self, near: Sequence[tuple[int, StoredObject]], time: int) -> tuple[int, StoredObject] | None:
        """Return the object that is nearest to a time; None without one within the tolerance."""
        at = bisect_left(near, time, key=lambda one: one[0])
        best = min(near[max(0, at - 1) : at + 1], key=lambda one: abs(one[0] - time), default=None)
        return best if best and abs(best[0] - time) <= self._tolerance else None

    def _read(
        self, time: int, lidar: str, near: Sequence[tuple[int, StoredObject]], to_vehicle: Array
    ) -> _Cloud | None:
        """Read the cloud of a LiDAR that is nearest to a time; None without one within the tolerance."""
        best = self._nearest(near, time)
        return best and _Cloud(lidar, best[0], self._points(best[1], to_vehicle))

    def _points(self, thing: StoredObject, to_vehicle: Array) -> Array | NotLifted:
        if thing.size > MAX_FRAME_BYTES:
            return NotLifted("point cloud too large")
        if not thing.size:
            return NotLifted("no readable point cloud")
        try:
            body = self._ingest.read_range(thing.key, 0, thing.size, thing.etag).body
        except (FrameChanged, FrameUnreadable):
            return NotLifted("no readable point cloud")
        points = read_returns(body)
        return points if isinstance(points, NotLifted) else _moved(points, to_vehicle)

    def _lift(self, line: ManifestLine, time: int, camera: MountedCamera, clouds: Sequence[_Cloud]) -> LiftedFrame:
        motion = self._motion(camera.vehicle)
        world = motion.at(time)
        good, moved = dict[str, str](), list[Array]()
        source: Literal["poses", "none"] = "poses"
        for cloud in clouds:
            if isinstance(cloud.points, NotLifted):
                continue
            step = motion.between(cloud.time, time)
            source = "none" if step is None else source
            moved.append(cloud.points if step is None else _moved(cloud.points, step))
            good[cloud.lidar] = f"{cloud.time:019d}"
        if not moved:
            reasons = (cloud.points.reason for cloud in clouds if isinstance(cloud.points, NotLifted))
            missing: Reason = (
                "no point cloud near in time" if self._rig.lidars(camera.vehicle) else "no calibrated LiDAR"
            )
            return _not_lifted(line, next(reasons, missing), camera)
        points = np.concatenate(moved)
        cuboids = tuple(lift_boxes(camera, points[:, :3], line.label_boxes, line.prelabel_boxes))
        reviewed = self._run.document.verifies_cuboids and not all(cuboid.why for cuboid in cuboids)
        return LiftedFrame(
            line.source_ref,
            cuboids,
            CuboidScene(camera.vehicle, good, source, _rows(camera.to_camera)),
            tuple(line.tracks or ()),
            None if world is None else _rows(world),
            write_scene(self._run, line, camera, points, self._label_bucket) if reviewed else None,
        )

    def _motion(self, vehicle: str) -> EgoMotion:
        """Read the poses of the drive's logs as they are now, once for a vehicle's frame."""
        if vehicle not in self._motions:
            drive = self._run.drive
            records = [one for _, _, one in recorded_logs(self._ingest.list(logs_prefix(drive)), self._ledger, drive)]
            keys = [LogFolder(drive, one.name, one.etag).poses for one in records if one and one.poses]
            there = filter(self._label_bucket.exists, keys)
            lines = (line for key in there for line in self._label_bucket.lines(key))
            self._motions[vehicle] = read_poses(lines, vehicle)
        return self._motions[vehicle]


def _is_cloud(thing: StoredObject) -> bool:
    return is_point_cloud(thing.key)


def _is_picture(thing: StoredObject) -> bool:
    """Tell whether an object is a frame that a run takes: not one that is rejected for its key or size."""
    try:
        parse_frame_key(thing.key)
    except KeyRefused:
        return False
    return 0 < thing.size <= MAX_FRAME_BYTES


def _place(frame: LiftedFrame) -> tuple[str, int]:
    """Return the camera and the time (ns) of a lifted frame."""
    key = parse_frame_key(frame.source.removeprefix("s3://").partition("/")[2])
    return key.camera, int(key.timestamp)


def _with_projections(cuboid: BoxCuboid, projections: dict[str, CuboidProjection]) -> BoxCuboid:
    return msgspec.structs.replace(cuboid, projections=projections) if projections else cuboid


def _not_lifted(line: ManifestLine, reason: Reason, camera: MountedCamera | None = None) -> LiftedFrame:
    scene = CuboidScene(camera.vehicle, camera=_rows(camera.to_camera)) if camera else CuboidScene()
    return LiftedFrame(line.source_ref, tuple(without_cuboids(reason, line.label_boxes)), scene)


def _moved(points: Array, matrix: Array) -> Array:
    return np.column_stack([points[:, :3] @ matrix[:3, :3].T + matrix[:3, 3], points[:, 3]])


def _rows(matrix: Array) -> tuple[Row, Row, Row]:
    first, second, third = ((float(a), float(b), float(c), float(d)) for a, b, c, d in matrix[:3])
    return first, second, third


def _matrix(rows: tuple[Row, Row, Row]) -> Array:
    return np.array([*rows, (0.0, 0.0, 0.0, 1.0)])


def _read_groups(
    key: Callable[[str, int], str], part: Part, groups: int, label_bucket: Bucket
) -> Iterator[list[LiftedFrame]]:
    decoder = msgspec.json.Decoder(LiftedFrame)

    def read(number: int) -> list[LiftedFrame]:
        return [decoder.decode(line) for line in label_bucket.lines(key(part.id, number))]

    return map_in_order(read, range(groups), _GROUP_READERS)


def _smooth(frames: Sequence[LiftedFrame]) -> Iterable[LiftedFrame]:
    """Make the cuboids of a part's tracks consistent. A track of two parts is smoothed in each of them alone."""
    tracks = defaultdict[tuple[str, str], list[tuple[int, int]]](list)
    for at, frame in enumerate(frames):
        camera = frame.source.rpartition("/")[0]
        for index, (track, cuboid) in enumerate(zip(frame.tracks, frame.cuboids, strict=False)):
            if track and not cuboid.why:
                tracks[camera, track].append((at, index))
    smooth = [list(frame.cuboids) for frame in frames]
    for places in tracks.values():
        made = smooth_track([_of_track(frames[at], index) for at, index in places])
        for (at, index), cuboid in zip(places, made, strict=True):
            smooth[at][index] = cuboid
    for frame, cuboids in zip(frames, smooth, strict=True):
        yield msgspec.structs.replace(frame, cuboids=tuple(cuboids))


def _of_track(frame: LiftedFrame, index: int) -> TrackCuboid:
    time = _place(frame)[1] / _SECOND
    sensor: Array = np.zeros(3)
    if frame.scene.camera:
        sensor = np.linalg.inv(_matrix(frame.scene.camera))[:3, 3].astype(np.float64)
    return TrackCuboid(time, frame.cuboids[index], sensor, _matrix(frame.pose) if frame.pose else None)
