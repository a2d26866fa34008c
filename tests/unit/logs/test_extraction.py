"""Cameras are named after topics, frames by their own times, and each message is counted once."""

from __future__ import annotations

import io

import pytest
from mcap.writer import Writer

from autolabel.contracts.errors import LogRefused
from autolabel.logs import camera_name, choose_sensors, inspect_log
from tests.fakes import logs
from tests.fakes.counting import Counting
from tests.fakes.logs import FRONT, REAR, START, STEP, Encoding, Sent, bag_log, drive, jpeg, mcap_log, pixels, raw
from tests.unit.logs.reading import Reading, read_log


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("/camera/front/image_raw/compressed", "camera-front"),
        ("/camera/front/image_rect_color", "camera-front"),
        ("camera/front/image", "camera-front"),
        ("/CAM_FRONT/image_rect_compressed", "CAM_FRONT"),
        ("/image_front_left", "image_front_left"),
        ("/image_raw", "image_raw"),
        ("/image_raw/compressed", "image_raw"),
        ("//sensing/camera 1//image_raw", "sensing-camera_1"),
        ("/_private/image", "private"),
    ],
)
def test_a_camera_is_named_after_its_topic(topic: str, name: str) -> None:
    assert camera_name(topic) == name


@pytest.mark.parametrize("topic", ["/logs/image", "/", "", "/___", "/" + "x" * 64])
def test_a_topic_that_gives_no_name_is_refused(topic: str) -> None:
    with pytest.raises(LogRefused, match="gives no name"):
        camera_name(topic)


def test_topics_that_would_share_a_camera_are_refused_by_name_unless_one_is_chosen() -> None:
    body = mcap_log([*drive(2), Sent("/camera/front/image_raw", START, START, raw=raw(pixels(1).tobytes()))])
    with pytest.raises(
        LogRefused, match=r"'/camera/front/image_raw/compressed' and '/camera/front/image_raw' .*camera-front"
    ):
        read_log(body)
    assert len(read_log(body, topics=[FRONT]).frames) == 2


@pytest.mark.parametrize(("topic", "reason"), [("/nothing", "topic-unknown"), ("/lidar/points", "topic-not-pictures")])
def test_a_chosen_topic_must_have_pictures(topic: str, reason: str) -> None:
    with pytest.raises(LogRefused) as refused:
        read_log(mcap_log(drive()), topics=[topic])
    assert refused.value.reason == reason


def front(*stamps: int) -> list[Sent]:
    return [Sent(FRONT, stamp, START + n * STEP, packed=("jpeg", jpeg(n))) for n, stamp in enumerate(stamps)]


def test_frames_without_a_stamp_take_the_time_of_the_log() -> None:
    sent = front(0, 0, 0)
    for body in (mcap_log(sent), mcap_log(sent, "protobuf"), bag_log(sent)):
        reading = read_log(body)
        assert [frame.timestamp for frame in reading.frames] == [START, START + STEP, START + 2 * STEP]
        assert reading.tally.topics[FRONT].clocks == {"log": 3}


def test_a_frame_without_any_time_is_refused() -> None:
    reading = read_log(mcap_log([Sent(FRONT, 0, 0, packed=("jpeg", jpeg(0)))]))
    assert reading.refused == {"timestamp-wrong": 1}


@pytest.mark.parametrize("slices", [1, 2, 7])
def test_of_frames_with_one_stamp_the_first_in_the_log_counts(slices: int) -> None:
    stamps = [START, START + 5, START, START + 3, START + 5, START + 1]
    reading = read_log(mcap_log(front(*stamps), chunk_size=1), slices)
    assert [frame.timestamp for frame in reading.frames] == [START, START + 5, START + 3, START + 1]
    assert [frame.body for frame in reading.frames] == [jpeg(0), jpeg(1), jpeg(3), jpeg(5)]
    assert reading.skipped == {"same-timestamp": 2}
    assert not reading.tally.refused


def with_channel(encoding: str, schema: str, schema_encoding: str, definition: bytes, messages: int = 3) -> Reading:
    """Read a log of one channel whose messages are ten zeros."""
    target = io.BytesIO()
    writer = Writer(target)
    writer.start()
    number = writer.register_schema(schema, schema_encoding, definition)
    channel = writer.register_channel("/front/image", encoding, number)
    for at in range(messages):
        writer.add_message(channel, START + at, bytes(10), START)
    writer.finish()
    return read_log(target.getvalue())


@pytest.mark.parametrize(
    ("encoding", "schema", "schema_encoding", "definition", "reason"),
    [
        ("json", "sensor_msgs/msg/Image", "jsonschema", b"{}", "serialisation-unknown"),
        ("json", "foxglove.RawImage", "jsonschema", b"{}", "serialisation-unknown"),
        ("cdr", "foxglove.RawImage", "ros2msg", b"", "serialisation-unknown"),
        ("cdr", "sensor_msgs/msg/Image", "ros2msg", b"", "schema-unknown"),
        ("cdr", "sensor_msgs/msg/Image", "ros2msg", b"uint8[] data", "schema-unknown"),
        ("cdr", "sensor_msgs/msg/Image", "ros2idl", b"module a { struct", "schema-unknown"),
        # A parser that tries every rule at every parenthesis would take hours.
        ("cdr", "sensor_msgs/msg/Image", "ros2idl", b"module a { const long A = ((((((1)))))); };", "schema-unknown"),
        ("ros1", "sensor_msgs/Image", "ros1msg", b"\xff", "schema-unknown"),
        ("ros1", "sensor_msgs/Image", "ros1msg", b"uint8 a\n" * 20_000, "schema-unknown"),
        ("protobuf", "foxglove.RawImage", "protobuf", b"\xff\xff", "schema-unknown"),
        ("protobuf", "foxglove.RawImage", "protobuf", b"", "schema-unknown"),
        ("protobuf", "foxglove.RawImage", "x", b"", "schema-unknown"),
    ],
)
def test_messages_of_an_unknown_kind_are_refused_and_counted(
    encoding: str, schema: str, schema_encoding: str, definition: bytes, reason: str
) -> None:
    assert with_channel(encoding, schema, schema_encoding, definition).refused == {reason: 3}


@pytest.mark.parametrize("encoding", ["cdr", "ros1", "protobuf"])
def test_a_message_that_is_not_as_its_schema_says_is_refused(
    encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = logs.serialised
    cut = {START + STEP: 30}
    monkeypatch.setattr(logs, "serialised", lambda m, e: (good(m, e)[0], good(m, e)[1][: cut.get(m.stamp)]))
    reading = read_log(mcap_log(front(START, START + STEP, START + 2 * STEP), encoding))
    assert reading.refused == {"message-damaged": 1}
    assert len(reading.frames) == 2


def test_pictures_of_kinds_that_are_not_read_yet_are_named() -> None:
    target = io.BytesIO()
    writer = Writer(target)
    writer.start()
    for name in (
        "ffmpeg_image_transport_msgs/msg/FFMPEGPacket",
        "stereo_msgs/msg/DisparityImage",
        "sensor_msgs/msg/CameraInfo",
    ):
        writer.register_channel(f"/{name}", "cdr", writer.register_schema(name, "ros2msg", b""))
    writer.register_channel(
        "/x/compressedDepth", "cdr", writer.register_schema("sensor_msgs/msg/CompressedImage", "ros2msg", b"")
    )
    channel = writer.register_channel(REAR, "cdr", writer.register_schema("sensor_msgs/msg/Image", "ros2msg", b""))
    writer.add_message(channel, START, b"", START)
    writer.finish()
    cameras = choose_sensors(inspect_log(Counting(target.getvalue()), "log"))
    assert [topic for topic, _ in cameras.unread] == [
        "/ffmpeg_image_transport_msgs/msg/FFMPEGPacket",
        "/stereo_msgs/msg/DisparityImage",
        "/x/compressedDepth",
    ]
