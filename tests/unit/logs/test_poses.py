"""Where the vehicle was becomes lines of one object, of any kind of message and log, and each message is counted."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import msgspec
import pytest
from foxglove_schemas_protobuf.LocationFix_pb2 import LocationFix
from foxglove_schemas_protobuf.Odometry_pb2 import Odometry
from foxglove_schemas_protobuf.PoseInFrame_pb2 import PoseInFrame

from autolabel.contracts.errors import DocumentRefused
from autolabel.contracts.logs import EgoPose, LogDocument, parse_log_document
from autolabel.logs.schemas import NO_FIX
from tests.fakes.logs import FRONT, START, STEP, Sent, bag_log, drive, jpeg, mcap_log, sqlite_log
from tests.fakes.pipeline import DRIVE
from tests.unit.logs.reading import read_log
from tests.unit.logs.test_steps import Cloud, document, extracted

GPS, ODOMETRY, POSE = "/gps/fix", "/odometry", "/pose"
TOPICS = (GPS, ODOMETRY, POSE)
TURN = {"z": math.sqrt(0.5), "w": math.sqrt(0.5)}
QUATERNION = pytest.approx((0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5)))


def fix(at: int, **fields: Any) -> Sent:
    made = {"latitude": 48.0 + at, "longitude": 11.5, "altitude": 520.0, **fields}
    return Sent(GPS, START + at * STEP, START + at, made=("sensor_msgs/msg/NavSatFix", made), frame="antenna")


def posed(at: int, topic: str = POSE, turn: dict[str, float] = TURN, x: float = 1.5) -> Sent:
    pose: dict[str, Any] = {"position": {"x": x + at, "y": -2.0}, "orientation": turn}
    made: tuple[str, dict[str, Any]] = ("geometry_msgs/msg/PoseStamped", {"pose": pose})
    if topic == ODOMETRY:
        made = ("nav_msgs/msg/Odometry", {"child_frame_id": "base_link", "pose": {"pose": pose}})
    return Sent(topic, START + at * STEP, START + at, made=made, frame="map")


def driven(count: int = 6) -> list[Sent]:
    """Messages of a camera, a satellite receiver, odometry and localisation; the last stamps are missing."""
    sent = []
    for at in range(count):
        picture = Sent(FRONT, START + at * STEP, START + at, packed=("jpeg", jpeg(at)))
        sent += [picture, fix(at), posed(at, ODOMETRY), posed(at)._replace(stamp=0 if at == count - 1 else START + at)]
    return sent


def poses(cloud: Cloud) -> list[EgoPose]:
    return [msgspec.json.decode(line, type=EgoPose) for line in cloud.labels.lines(cloud.folder().poses)]


@pytest.mark.parametrize("writer", [mcap_log, bag_log, sqlite_log])
def test_any_number_of_slices_leaves_the_same_poses(writer: Any) -> None:
    body = writer([*driven(), fix(7, status={"status": -1}), fix(8, latitude=math.nan), fix(9, altitude=math.nan)])
    fields = document(poses=TOPICS)
    whole = extracted(body, 10**9, fields=fields)
    for slice_bytes, seed in ((1, 1), (3_000, 2)):
        cloud = extracted(body, slice_bytes, Random(seed), fields=fields)
        assert cloud.inspect(cloud.folder()).slices > 1
        assert poses(cloud) == poses(whole)
        assert cloud.summary(cloud.folder()) == whole.summary(whole.folder())
    found = {topic: [pose for pose in poses(whole) if pose.topic == topic] for topic in TOPICS}
    assert found[GPS][:2] == [
        EgoPose("location", GPS, START + at * STEP, frame="antenna", latitude=48.0 + at, longitude=11.5, altitude=520.0)
        for at in range(2)
    ]
    assert (found[GPS][6].latitude, found[GPS][6].altitude) == (57.0, None)
    first = found[ODOMETRY][0]
    assert (first.kind, first.frame, first.child, first.position) == ("odometry", "map", "base_link", (1.5, -2.0, 0.0))
    assert first.orientation == QUATERNION
    assert [(pose.timestamp, pose.clock) for pose in found[POSE][-2:]] == [(START + 4, "header"), (START + 5, "log")]
    # Every message of the topics is counted.
    topics = whole.summary(whole.folder()).topics
    assert {topic: (topics[topic].messages, topics[topic].extracted) for topic in TOPICS} == {
        GPS: (9, 7),
        ODOMETRY: (6, 6),
        POSE: (6, 6),
    }
    assert (topics[GPS].skipped, topics[GPS].refused) == ({NO_FIX: 1}, {"pose-wrong": 1})
    (record,) = whole.ledger.logs(DRIVE)
    assert (record.poses, record.cameras, record.messages) == (19, {"camera-front": 6}, 27)


def test_poses_of_foxglove_are_read() -> None:
    location = LocationFix(frame_id="antenna", latitude=48.5, longitude=11.5, altitude=520)
    pose, odometry = PoseInFrame(frame_id="map"), Odometry(frame_id="odom", body_frame_id="base_link")
    for one in (pose.pose, odometry.pose):
        one.position.x = 2
        one.orientation.w = 1
    sent = []
    for topic, made in ((GPS, location), (POSE, pose), (ODOMETRY, odometry)):
        made.timestamp.FromNanoseconds(START)
        sent.append(Sent(topic, START, START, made=made))
    here = {"position": (2.0, 0.0, 0.0), "orientation": (0.0, 0.0, 0.0, 1.0)}
    assert read_log(mcap_log(sent, "protobuf"), document=LogDocument(poses=TOPICS)).items == [
        EgoPose("location", GPS, START, frame="antenna", latitude=48.5, longitude=11.5, altitude=520.0),
        EgoPose("pose", POSE, START, frame="map", **here),
        EgoPose("odometry", ODOMETRY, START, frame="odom", child="base_link", **here),
    ]


def test_a_pose_that_is_none_is_refused_and_a_missing_orientation_is_left_out() -> None:
    sent = [posed(0, turn={}), posed(1, turn={"w": 2.0}), posed(2, x=math.inf)]
    reading = read_log(mcap_log(sent, "ros1"), document=LogDocument(poses=(POSE,)))
    assert reading.refused == {"pose-wrong": 2}
    (found,) = (item for item in reading.items if isinstance(item, EgoPose))
    assert (found.position, found.orientation) == ((1.5, -2.0, 0.0), None)


def test_poses_are_read_only_where_the_document_names_them() -> None:
    cloud = extracted(mcap_log(driven(2)), 10**9)
    assert not cloud.labels.exists(cloud.folder().poses)
    with pytest.raises(DocumentRefused, match="names topic 'camera' for two uses"):
        parse_log_document(document(poses=["/camera"], cameras={"camera": "front"}), "recording.json")
    refused = extracted(mcap_log(drive(1)), 10**9, fields=document(poses=[FRONT])).ledger.logs(DRIVE)[0]
    assert (refused.state, refused.detail.partition(" has")[0]) == ("refused", f"topic {FRONT!r}")
