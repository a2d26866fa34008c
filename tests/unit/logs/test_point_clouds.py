"""A LiDAR's message becomes its points, exactly, in any layout of the message."""

from __future__ import annotations

import io
import math
import struct
from typing import Any, NamedTuple

import numpy as np
import pytest
from foxglove_schemas_protobuf.PackedElementField_pb2 import PackedElementField
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from hypothesis import given
from hypothesis import strategies as st
from mcap.writer import Writer

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.logs import LogDocument
from autolabel.logs import choose_sensors, inspect_log
from autolabel.logs.point_clouds import point_file
from autolabel.logs.schemas import NO_POINTS, PointField, RawPoints
from tests.fakes.counting import Counting
from tests.fakes.logs import (
    FRONT,
    IDL,
    LIDAR,
    START,
    STEP,
    Sent,
    bag_log,
    drive,
    jpeg,
    mcap_log,
    ros_cloud,
    serialised,
    sqlite_log,
    xyzi,
)
from tests.unit.logs.reading import read_log

NAMED = LogDocument(lidars={LIDAR: "top"})
CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "f4": "f", "f8": "d"}
NAMES = ("x", "y", "z", "intensity")


# As rosidl writes constants, behind the types of an image.
POINTS_IDL = """================================================================================
IDL: sensor_msgs/msg/PointCloud2
module sensor_msgs {
  module msg {
    struct PointCloud2 {
      std_msgs::msg::Header header;
      uint32 height;
      uint32 width;
      sequence<sensor_msgs::msg::PointField> fields;
      boolean is_bigendian;
      uint32 point_step;
      uint32 row_step;
      sequence<uint8> data;
      boolean is_dense;
    };
  };
};
================================================================================
IDL: sensor_msgs/msg/PointField
module sensor_msgs {
  module msg {
    module PointField_Constants {
      const uint8 INT8 = 1;
      @verbatim (language="comment", text="a float")
      const uint8 FLOAT32 = 7;
    };
    struct PointField {
      string name;
      uint32 offset;
      uint8 datatype;
      uint32 count;
    };
  };
};
================================================================================
""" + IDL[IDL.index("IDL: std_msgs") :]


class Layout(NamedTuple):
    """A message of points and what must come out of it."""

    points: RawPoints
    expected: list[tuple[float, ...]]


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Draw a message with its fields in any order, with any types, gaps, padding and byte order."""
    height, width = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    names = draw(st.permutations(["x", "y", "z", *draw(st.sampled_from([[], ["intensity"]])), "ring", "time"]))
    big = draw(st.booleans())
    fields, step = [], 0
    for name in names:
        offset = step + draw(st.integers(0, 3))
        fields.append(PointField(name, offset, draw(st.sampled_from(sorted(CODES)))))
        step = offset + int(fields[-1].type[1])
    step += draw(st.integers(0, 5))
    row = width * step + draw(st.integers(0, 9))
    data, expected = bytearray(draw(st.binary(min_size=height * row, max_size=height * row))), []
    for at in range(height * width):
        point = dict.fromkeys(NAMES, 0.0)
        for field in fields:
            whole = st.integers(0 if field.type.startswith("u") else -100, 100)
            broken = st.sampled_from([math.nan, math.inf, -math.inf, 0.1, 1e30])
            value = draw(whole | broken if field.type.startswith("f") else whole)
            struct.pack_into(
                (">" if big else "<") + CODES[field.type],
                data,
                at // width * row + at % width * step + field.offset,
                value,
            )
            point[field.name] = value
        if all(math.isfinite(point[name]) for name in "xyz"):
            strength = point["intensity"] if math.isfinite(point["intensity"]) else 0.0
            expected.append((point["x"], point["y"], point["z"], strength))
    raw = RawPoints(width, height, step, row, big, tuple(fields), memoryview(bytes(data)))
    return Layout(raw, expected)


@given(layouts())
def test_all_finite_points_come_out_of_any_layout(layout: Layout) -> None:
    points, expected = layout
    if not expected:
        with pytest.raises(LogRefused) as refused:
            point_file(points)
        assert refused.value.reason == NO_POINTS
        return
    made = point_file(points)
    assert made.body == b"".join(struct.pack("<4f", *point) for point in expected)
    assert made.dropped == points.width * points.height - len(expected)
    assert ("without intensity" in made.note) == ("intensity" not in [field.name for field in points.fields])


def foxglove_cloud(number: int, points: int = 30, pose: bool = False) -> PointCloud:
    cloud = PointCloud(frame_id="lidar", point_stride=16, data=xyzi(number, points).tobytes())
    cloud.timestamp.FromNanoseconds(START + number * STEP)
    for at, name in enumerate(NAMES):
        cloud.fields.append(PackedElementField(name=name, offset=4 * at, type=PackedElementField.FLOAT32))
    cloud.pose.SetInParent()
    if pose:
        # A quarter turn to the left, and up.
        cloud.pose.orientation.z = cloud.pose.orientation.w = math.sqrt(0.5)
        cloud.pose.position.z = 2
    return cloud


def scanned(clouds: int = 6, foxglove: bool = False) -> list[Sent]:
    """Messages of a front camera and of a LiDAR."""
    sent = []
    for number in range(clouds):
        stamp = START + number * STEP
        made: Any = foxglove_cloud(number) if foxglove else ros_cloud(number)
        sent.append(Sent(FRONT, stamp, stamp, packed=("jpeg", jpeg(number))))
        sent.append(Sent(LIDAR, stamp + (not foxglove), stamp + 1, made=made, frame="velodyne"))
    return sent


@pytest.mark.parametrize("slices", [1, 2, 7])
@pytest.mark.parametrize("kind", ["mcap", "bag", "sqlite", "protobuf"])
def test_a_log_gives_the_points_of_its_named_lidar(kind: str, slices: int) -> None:
    write: dict[str, Any] = {
        "mcap": lambda sent: mcap_log(sent, chunk_size=2_000),
        "bag": bag_log,
        "sqlite": sqlite_log,
        "protobuf": lambda sent: mcap_log(sent, "protobuf", chunk_size=2_000),
    }
    body = write[kind](scanned(foxglove=kind == "protobuf"))
    reading = read_log(body, slices, document=NAMED)
    clouds = [frame for frame in reading.frames if frame.camera == "top"]
    assert [(cloud.extension, cloud.body) for cloud in clouds] == [
        ("bin", xyzi(number).tobytes()) for number in range(6)
    ]
    assert [cloud.timestamp for cloud in clouds] == [START + n * STEP + (kind != "protobuf") for n in range(6)]
    assert len(reading.frames) == 12
    assert not reading.tally.refused
    # Without a name, the topic is not read.
    assert {frame.extension for frame in read_log(body).frames} == {"jpg"}


def test_the_pose_of_a_foxglove_cloud_is_applied_and_noted() -> None:
    sent = Sent(LIDAR, START, START, made=foxglove_cloud(3, pose=True))
    (cloud,) = read_log(mcap_log([sent], "protobuf"), document=NAMED).frames
    found = np.frombuffer(cloud.body, "<f4").reshape(-1, 4)
    x, y, z, strength = xyzi(3).T
    np.testing.assert_allclose(found, np.stack([-y, x, z + 2, strength], axis=1), atol=1e-5)
    assert cloud.note == "moved by the message's pose"


FIELDS = tuple(PointField(name, 4 * at, "f4") for at, name in enumerate(NAMES))
GOOD = RawPoints(4, 2, 16, 64, False, FIELDS, memoryview(bytes(128)))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"data": memoryview(bytes(127))}, "points-wrong"),
        ({"row_step": 63}, "points-wrong"),
        ({"point_step": 0, "row_step": 0}, "points-wrong"),
        ({"point_step": 15}, "points-wrong"),
        ({"fields": FIELDS[1:]}, "points-wrong"),
        ({"fields": (*FIELDS, FIELDS[0])}, "points-wrong"),
        ({"fields": (FIELDS[0]._replace(type=""), *FIELDS[1:])}, "points-wrong"),
        ({"fields": (FIELDS[0]._replace(offset=-1), *FIELDS[1:])}, "points-wrong"),
        ({"height": 2**32 - 1, "width": 2**32 - 1}, "too-many-points"),
        ({"width": 0}, NO_POINTS),
        ({"height": 0}, NO_POINTS),
    ],
)
def test_a_message_that_contradicts_itself_is_refused(wrong: dict[str, Any], reason: str) -> None:
    assert len(point_file(GOOD).body) == 128
    with pytest.raises(LogRefused) as refused:
        point_file(GOOD._replace(**wrong))
    assert refused.value.reason == reason


def with_schema(name: str, schema_encoding: str, definition: bytes, message: bytes) -> bytes:
    """A log of three messages on the LiDAR's topic."""
    target = io.BytesIO()
    writer = Writer(target)
    writer.start()
    channel = writer.register_channel(LIDAR, "cdr", writer.register_schema(name, schema_encoding, definition))
    for at in range(3):
        writer.add_message(channel, START + at, message, START)
    writer.finish()
    return target.getvalue()


def test_packets_of_a_lidar_are_named_and_counted() -> None:
    body = with_schema("velodyne_msgs/msg/VelodyneScan", "ros2msg", b"", b"")
    assert read_log(body, document=NAMED).refused == {"lidar-packets": 3}
    found = choose_sensors(inspect_log(Counting(body), "log"), document=NAMED)
    assert found.unread == ((LIDAR, "velodyne_msgs/msg/VelodyneScan"),)


def test_points_are_read_where_their_type_is_defined_in_idl() -> None:
    sent = Sent(LIDAR, 0, START, made=ros_cloud(1))
    body = with_schema("sensor_msgs/msg/PointCloud2", "ros2idl", POINTS_IDL.encode(), serialised(sent, "cdr")[1])
    assert {frame.body for frame in read_log(body, document=NAMED).frames} == {xyzi(1).tobytes()}


def test_a_topic_that_holds_no_points_cannot_be_a_lidar() -> None:
    with pytest.raises(LogRefused) as refused:
        read_log(mcap_log(drive(1)), document=LogDocument(lidars={FRONT: "top"}))
    assert refused.value.reason == "topic-not-points"


def test_no_camera_has_the_name_of_a_lidar_even_of_another_log() -> None:
    document = LogDocument(lidars={"/elsewhere": "camera-front"})
    with pytest.raises(LogRefused, match=f"'{FRONT}' would be named 'camera-front', as a LiDAR is"):
        read_log(mcap_log(drive(1)), document=document)
