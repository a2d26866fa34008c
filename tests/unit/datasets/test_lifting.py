"""The boxes of a run's labels become cuboids before its parts are written, from point clouds that may hold anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import msgspec
import numpy as np
import pytest

from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.frames import MAX_FRAME_BYTES, parse_frame_key
from autolabel.contracts.logs import EgoPose, LogFolder, LogRecord
from autolabel.cuboids import MountedCamera
from autolabel.datasets import lift_part, lifting
from autolabel.datasets.parts import Part
from autolabel.datasets.publication import plan_publication
from autolabel.datasets.verified_labels import FinishedJob
from autolabel.labels.box_cuboids import BoxCuboid
from autolabel.labels.manifest import LabelledBox
from tests.fakes.answers import answer
from tests.fakes.clouds import (
    CAR,
    VEHICLE,
    Points,
    camera_that_sees,
    cloud_file,
    cloud_of,
    cuboid_in_vehicle,
    lidar_drive,
)
from tests.fakes.faults import Crash, Fuse, fused
from tests.fakes.images import png
from tests.fakes.pipeline import DRIVE, FRAMES_PATIENCE, Pipeline, drive_document, frame_key
from tests.unit.datasets.test_assembly import PREFIX, summary

WIDTH, HEIGHT = 600, 200
BOX = (100.0, 40.0, 340.0, 180.0)
CAMERA = camera_that_sees(CAR, BOX, WIDTH, HEIGHT)
TOLERANCE = 60_000_000
FRAMES = 6
# Frames are 100 ms apart.
STEP = 100_000_000
CLOUD = cloud_file(cloud_of(CAR))


def cloud_key(index: int, offset: int = 0) -> str:
    return f"drives/{DRIVE}/top/{1_700_000_000_000_000_000 + STEP * index + offset}.bin"


def lidar_run(
    pipeline: Pipeline, frames: int = FRAMES, *, size: tuple[int, int] = (WIDTH, HEIGHT), **changes: Any
) -> list[FinishedJob]:
    """Verify a drive of pictures with one car each, 100 ms apart; reviewers leave the boxes as they are."""
    for index in range(frames):
        pipeline.submit(pipeline.upload(frame_key(STEP * index), png(*size)))
    fields = {**lidar_drive(CAMERA), **changes}
    pipeline.close(
        drive_document(**fields) if "cameras" not in fields else msgspec.json.encode({"vehicle": "car-1", **fields})
    )
    pipeline.now += FRAMES_PATIENCE
    left, top, right, bottom = BOX
    seen = (left / WIDTH, top / HEIGHT, right / WIDTH, bottom / HEIGHT)
    for invocation in pipeline.endpoints.taken:
        pipeline.collect(pipeline.endpoints.answer(invocation, answer([seen])))
    pipeline.reconcile()
    pipeline.plan(2)
    pipeline.label()
    return pipeline.verify(pipeline.assemble())


def lift(
    pipeline: Pipeline, jobs: list[FinishedJob], part_frames: int = 20_000, is_late: Callable[[], bool] = lambda: False
) -> list[Part]:
    """Lift all parts, with as many calls as they need."""
    plan = plan_publication(pipeline.run, jobs, pipeline.labels, part_frames)
    assert plan.lift
    parts = [msgspec.json.decode(line, type=Part) for line in pipeline.labels.lines(plan.key)]
    for part in parts:
        while not lift_once(pipeline, part, is_late):
            pass
    return parts


def lift_once(
    pipeline: Pipeline, part: Part, is_late: Callable[[], bool] = lambda: False, fuse: Fuse | None = None
) -> bool:
    return lift_part(
        pipeline.run,
        part,
        ingest=fused(pipeline.ingest, fuse),
        label_bucket=fused(pipeline.labels, fuse),
        ledger=fused(pipeline.ledger, fuse),
        tolerance=TOLERANCE,
        is_late=is_late,
    ).done


def dataset(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [json.loads(line) for line in pipeline.labels.lines(PREFIX + "dataset.manifest")]


def reasons(pipeline: Pipeline) -> dict[str, int]:
    counts = summary(pipeline).cuboids
    assert counts is not None
    assert counts.lifted + sum(counts.without.values()) == summary(pipeline).boxes
    return counts.without


def test_the_cuboids_of_a_drive_are_in_its_dataset(pipeline: Pipeline) -> None:
    for index in range(FRAMES):
        pipeline.ingest.write(cloud_key(index), cloud_file(cloud_of(CAR, seed=index)))
    jobs = lidar_run(pipeline)
    lift(pipeline, jobs)
    pipeline.publish(jobs)
    middle, yaw = cuboid_in_vehicle(CAR)
    for index, line in enumerate(dataset(pipeline)):
        (cuboid,) = line["cuboids"]
        assert np.linalg.norm(np.array(cuboid["center"]) - middle) < 0.3
        assert np.allclose(cuboid["size"], CAR[3:6], atol=0.25)
        assert abs((cuboid["yaw"] - yaw + np.pi / 2) % np.pi - np.pi / 2) < 0.1
        assert cuboid["points"] > 100
        told = line["cuboids-metadata"]
        assert (told["frame"], told["motion"]) == (VEHICLE, "none")
        assert told["clouds"] == {"top": cloud_key(index)[-23:-4]}
        # The camera's matrix leads back to where the car was made.
        rows = np.array(told["camera"])
        assert np.allclose(rows[:, :3] @ middle + rows[:, 3], (CAR.x, CAR.y - CAR.height / 2, CAR.z), atol=1e-3)
    # A track has one size, although each frame has other points.
    assert len({tuple(line["cuboids"][0]["size"]) for line in dataset(pipeline)}) == 1
    assert reasons(pipeline) == {}
    page = pipeline.labels.objects[PREFIX + "report.html"].decode()
    assert "6 boxes were lifted to a cuboid" in page
    # From above, and the four edges of the front over each picture.
    assert (page.count("<polygon"), page.count('class="front"')) == (FRAMES, 4 * FRAMES)
    published = summary(pipeline).sensors
    assert published
    assert published.cameras.keys() == {"front"}
    assert published.lidars.keys() == {"top"}


def at_the_middle(
    camera: MountedCamera, points: Points, boxes: Sequence[LabelledBox], shown: Sequence[LabelledBox]
) -> list[BoxCuboid]:
    """Stand in for the fit, which takes most of the time."""
    x, y, z = map(float, points.mean(axis=0))
    return [BoxCuboid((x, y, z), (4.0, 1.6, 1.5), 0.1, 0.2, len(points)) for _ in boxes]


def test_calls_in_any_order_and_with_any_fault_leave_the_same_bytes(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifting, "lift_boxes", at_the_middle)
    monkeypatch.setattr(lifting, "_GROUP", 2)
    for index in range(FRAMES):
        pipeline.ingest.write(cloud_key(index), cloud_file(cloud_of(CAR, seed=index)[index:]))
    jobs = lidar_run(pipeline)
    verified = dict(pipeline.labels.objects)
    crashed = False

    def made(part_frames: int, fault: int | None = None) -> dict[str, bytes]:
        nonlocal crashed
        crashed = False
        pipeline.labels.objects.clear()
        pipeline.labels.objects.update(verified)
        plan = plan_publication(pipeline.run, jobs, pipeline.labels, part_frames)
        parts = [msgspec.json.decode(line, type=Part) for line in pipeline.labels.lines(plan.key)]
        if fault is not None:
            try:
                for part in reversed(parts):
                    lift_once(pipeline, part, lambda: True, Fuse(fault))
            except Crash:
                crashed = True
        lift(pipeline, jobs, part_frames, is_late=lambda: fault is not None)
        return {key: body for key, body in pipeline.labels.objects.items() if key.endswith(".cuboids.jsonl")}

    for part_frames in (20_000, 4):
        whole = made(part_frames)
        assert sum(body.count(b'"center"') for body in whole.values()) == FRAMES
        for fault in count():
            assert made(part_frames, fault) == whole, fault
            if not crashed:
                break
        assert fault > 10


HOSTILE = {
    "no point cloud near in time": None,
    "no readable point cloud": np.full((50, 4), np.nan, "<f4").tobytes(),
    "point cloud too large": bytes(MAX_FRAME_BYTES + 16),
    "point cloud not in metres": (np.frombuffer(CLOUD, "<f4") * 1000).astype("<f4").tobytes(),
    "no points in the picture": (np.frombuffer(CLOUD, "<f4").reshape(-1, 4) * (-1, 1, 1, 1)).astype("<f4").tobytes(),
    "no ground": cloud_file(cloud_of(CAR)[-400:]),
    "too few points": cloud_file(cloud_of(CAR)[:4000]),
}
UNREADABLE = [b"", CLOUD[:-3], bytes(160), b"\xff" * 160]


@pytest.mark.parametrize(
    ("reason", "body"),
    [*HOSTILE.items(), *(("no readable point cloud", body) for body in UNREADABLE)],
    ids=[*HOSTILE, "empty", "cut off", "zeros", "ones"],
)
def test_a_hostile_cloud_is_a_reason_and_the_run_goes_on(pipeline: Pipeline, reason: str, body: bytes | None) -> None:
    if body is not None:
        pipeline.ingest.write(cloud_key(0), body)
    # The second frame's cloud is good.
    pipeline.ingest.write(cloud_key(1), CLOUD)
    jobs = lidar_run(pipeline, 2)
    lift(pipeline, jobs)
    pipeline.publish(jobs)
    assert reasons(pipeline) == {reason: 1}
    first, second = (line["cuboids"] for line in dataset(pipeline))
    assert first == [{"why": reason}]
    assert "center" in second[0]


def without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    camera = {name: value for name, value in fields["cameras"]["front"].items() if name not in names}
    return {"cameras": {"front": camera}}


def extrinsics(**changes: Any) -> dict[str, Any]:
    camera = lidar_drive(CAMERA)["cameras"]["front"]
    return {"cameras": {"front": {**camera, "extrinsics": {**camera["extrinsics"], **changes}}}}


def intrinsics(**changes: Any) -> dict[str, Any]:
    camera = lidar_drive(CAMERA)["cameras"]["front"]
    return {"cameras": {"front": {**camera, "intrinsics": {**camera["intrinsics"], **changes}}}}


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("no calibration of the camera", without(lidar_drive(CAMERA), "intrinsics")),
        ("no calibration of the camera", without(lidar_drive(CAMERA), "extrinsics")),
        ("no calibration of the camera", extrinsics(rotation=[1, 1, 1, 1])),
        ("no calibration of the camera", extrinsics(translation="here")),
        ("no calibration of the camera", intrinsics(K=[0.0] * 9)),
        ("no calibration of the camera", intrinsics(K=[1e400] * 9)),
        ("no calibration of the camera", intrinsics(K=[1.0] * 8)),
        ("unknown distortion of the camera", intrinsics(D=[0.1] * 4, distortion_model="equidistant")),
        ("unknown distortion of the camera", intrinsics(D=[-9.0, 80.0, 0, 0, -900.0])),
        ("another image size than that of the intrinsics", intrinsics(width=WIDTH + 1)),
        # The camera's own axes instead of the vehicle's.
        ("the vehicle's z axis is not up", extrinsics(rotation=[0, 0, 0, 1])),
        ("no calibrated LiDAR", {"lidars": {"top": {}}}),
        ("no calibrated LiDAR", extrinsics(parent="another")),
        # The camera looks back, and the LiDAR saw what is ahead.
        ("no points in the picture", extrinsics(rotation=[-0.5, -0.5, 0.5, 0.5])),
    ],
)
def test_a_calibration_that_cannot_be_used_is_a_reason(
    pipeline: Pipeline, reason: str, changes: dict[str, Any]
) -> None:
    pipeline.ingest.write(cloud_key(0), CLOUD)
    jobs = lidar_run(pipeline, 1, **changes)
    lift(pipeline, jobs)
    pipeline.publish(jobs)
    assert reasons(pipeline) == {reason: 1}


def odometry(speed: float) -> bytes:
    """The lines of poses of a vehicle that drives ahead, 50 ms apart."""
    lines = [
        EgoPose(
            "odometry",
            "/odom",
            1_700_000_000_000_000_000 + at,
            frame="odom",
            child=VEHICLE,
            position=(7 + speed * at / 1e9, -3.0, 0.0),
            orientation=(0.0, 0.0, 0.0, 1.0),
        )
        for at in range(-STEP, 2 * STEP, STEP // 2)
    ]
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def test_the_nearest_cloud_counts_and_the_vehicles_motion_between(pipeline: Pipeline) -> None:
    # 20 m/s: the cloud is from 50 ms before, when the car was 1 m farther ahead. Another one is 55 ms later and empty.
    pipeline.ingest.write(cloud_key(0, -50_000_000), cloud_file(cloud_of(CAR), (-1.0, 0, 0)))
    pipeline.ingest.write(cloud_key(0, 55_000_000), b"")
    jobs = lidar_run(pipeline, 1)
    middle, _ = cuboid_in_vehicle(CAR)
    known = dict(pipeline.labels.objects)
    places = []
    for poses in (False, True):
        pipeline.labels.objects.clear()
        pipeline.labels.objects.update(known)
        if poses:
            # The log was replaced by another one, whose poses count.
            for content, speed in ((b"another", 100.0), (b"a log", 20.0)):
                event = pipeline.upload(f"drives/{DRIVE}/logs/a.mcap", content)
                pipeline.ledger.end_log(LogRecord(DRIVE, "a.mcap", event.etag, "extracted", 1.0, poses=6))
                pipeline.labels.write(LogFolder(DRIVE, "a.mcap", event.etag).poses, odometry(speed) + b"not a pose\n")
            # One whose poses are gone.
            event = pipeline.upload(f"drives/{DRIVE}/logs/b.mcap", b"b")
            pipeline.ledger.end_log(LogRecord(DRIVE, "b.mcap", event.etag, "extracted", 1.0, poses=6))
        lift(pipeline, jobs)
        pipeline.publish(jobs)
        (line,) = dataset(pipeline)
        assert line["cuboids-metadata"]["motion"] == ("poses" if poses else "none")
        places.append(line["cuboids"][0]["center"][0] - middle[0])
    assert abs(places[0] - 1) < 0.3
    assert abs(places[1]) < 0.3


@pytest.mark.parametrize("poses", [False, True])
def test_cuboids_are_projected_into_the_pictures_of_all_cameras(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, poses: bool
) -> None:
    monkeypatch.setattr(lifting, "lift_boxes", at_the_middle)
    # `side` stands beside `front`, and its pictures come 50 ms later. `back` looks away. `late` has none near in time.
    cameras = lidar_drive(CAMERA)["cameras"]
    front = cameras["front"]
    cameras["side"] = front
    cameras["back"] = {**front, "extrinsics": {**front["extrinsics"], "rotation": [-0.5, -0.5, 0.5, 0.5]}}
    cameras["late"], cameras["other"] = front, {}
    if poses:
        event = pipeline.upload(f"drives/{DRIVE}/logs/a.mcap", b"a log")
        pipeline.ledger.end_log(LogRecord(DRIVE, "a.mcap", event.etag, "extracted", 1.0, poses=6))
        pipeline.labels.write(LogFolder(DRIVE, "a.mcap", event.etag).poses, odometry(20.0))
    pipeline.ingest.write(cloud_key(0), CLOUD)
    near = frame_key(0).replace("/front/", "/{}/")
    for camera, after in (("side", 50_000_000), ("back", 0), ("late", 70_000_000), ("other", 0)):
        key = parse_frame_key(near.format(camera))
        time = int(key.timestamp) + after
        for body, shift in ((b"", 0), (png(WIDTH, HEIGHT), 1)):
            moved = msgspec.structs.replace(key, timestamp=f"{time + shift:019d}")
            pipeline.ingest.write(moved.key, body)
    jobs = lidar_run(pipeline, 1, cameras=cameras)
    lift(pipeline, jobs)
    pipeline.publish(jobs)
    line = next(one for one in dataset(pipeline) if "/front/" in one["source-ref"])
    (cuboid,), told = line["cuboids"], line["cuboids-metadata"]
    assert cuboid["projections"].keys() == {"front", "side"}
    motion = "poses" if poses else "none"
    assert {name: one["motion"] for name, one in told["pictures"].items()} == {"side": motion, "back": motion}
    # The empty picture is not a frame of the run.
    assert int(told["pictures"]["side"]["timestamp"]) == int(line["provenance"]["timestamp"]) + 50_000_001
    widths = [cuboid["projections"][name]["width"] for name in ("front", "side")]
    if poses:
        # The vehicle is 1 m nearer then.
        assert widths[1] > 1.03 * widths[0]
        assert told["poses"]["front"] == told["poses"]["top"] == [[1, 0, 0, 7], [0, 1, 0, -3], [0, 0, 1, 0]]
    else:
        assert widths[1] == widths[0]
        assert "poses" not in told


def test_a_part_that_was_not_lifted_says_so(pipeline: Pipeline) -> None:
    # As in an execution whose definition is older than lifting.
    jobs = lidar_run(pipeline, 2)
    pipeline.publish(jobs)
    assert reasons(pipeline) == {"not lifted": 2}


def test_cuboids_of_another_label_are_not_joined(pipeline: Pipeline) -> None:
    jobs = lidar_run(pipeline, 2)
    (part,) = lift(pipeline, jobs)
    key = pipeline.run.folder.part(part.id, "cuboids.jsonl")
    pipeline.labels.write(key, pipeline.labels.objects[key].replace(b'"cuboids":[{"why"', b'"cuboids":[{},{"why"'))
    with pytest.raises(CountMismatch, match="has 1 boxes, and 2 cuboids"):
        pipeline.publish(jobs)
