"""Logs from outside: any bytes end in frames, in counted refusals, or in the room's error."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.logs import LogDocument
from autolabel.labels import read_header
from autolabel.logs import choose_sensors, read_calibrations
from tests.fakes.archives import ARCHIVES, archive, images
from tests.fakes.counting import Counting
from tests.fakes.logs import FRONT, START, Sent, bag_log, drive, mcap_log, ros_cloud, sqlite_log
from tests.fuzz.mutations import fuzz, mutated
from tests.fuzz.refusals import assert_refusal
from tests.unit.logs.reading import read_log
from tests.unit.logs.test_calibrations import CAMERA, MAST, VELODYNE, transforms
from tests.unit.logs.test_poses import GPS, ODOMETRY, fix, posed

SENT = drive(2)
# All that a log document can name, and what places it.
TOP, DOCUMENT = "/top/points", LogDocument(lidars={"/top/points": "top"}, poses=(GPS, ODOMETRY))
SENSORS = [
    *(one for one in SENT if one.topic == FRONT),
    Sent(TOP, START, START, made=ros_cloud(1, 4), frame="velodyne"),
    *transforms(CAMERA, MAST, VELODYNE),
    fix(1),
    posed(1, ODOMETRY),
]
# The reasons for which a whole log is refused.
WHOLE = ("log-kind", "log-empty", "log-encrypted", "no-camera", "camera-shared", "camera-unnamed", "index-too-large")
WHOLE += ("topic-not-points", "topic-not-poses", "topic-not-pictures")
WHOLE += ("log-cut-off", "log-damaged", "log-without-wal")
WHOLE += (
    "archive-damaged",
    "archive-bomb",
    "archive-in-archive",
    "archive-of-logs",
    "archive-too-large",
    "log-compressed",
)
WHOLE += ("member-damaged", "member-crc-wrong")
LOGS = [
    mcap_log(SENT, compression=""),
    mcap_log(SENT, compression="", chunk_size=1),
    mcap_log(SENT, "ros1", "lz4"),
    mcap_log(SENT, "idl", ""),
    mcap_log(SENT, "protobuf", "zstd", chunk_size=1),
    mcap_log(SENT, compression="", use_chunking=False),
    mcap_log(SENT, compression="", enable_crcs=False),
    bag_log(SENT),
    bag_log(SENT, "lz4"),
    bag_log(SENT, "bz2", chunk_size=1),
    sqlite_log(SENT),
    mcap_log(SENSORS, compression=""),
    mcap_log(SENSORS, "ros1", ""),
    bag_log(SENSORS),
    sqlite_log(SENSORS),
    *(archive(images(2), kind) for kind in ARCHIVES),
    archive({"a.bag": bag_log(SENT)}),
]


def check(body: bytes, slices: int) -> None:
    try:
        reading = read_log(body, slices, document=DOCUMENT)
    except LogRefused as e:
        assert_refusal(e, *WHOLE)
        return
    # No byte is read more than some times, so that memory and time stay in proportion to the log.
    assert reading.source.bytes_read <= 10 * len(body) + 10_000
    sensors = choose_sensors(reading.index, document=DOCUMENT)
    read_calibrations(Counting(body), reading.index, sensors)
    for topic in reading.tally.topics.values():
        assert topic.extracted == topic.clocks.total()
    for frame in reading.frames:
        assert 0 < frame.timestamp < 10**19
        assert frame.extension != "bin" or (frame.body and len(frame.body) % 16 == 0)
        if not frame.note and frame.extension == "png":
            read_header(lambda start, count, body=frame.body: body[start : start + count], "frame")


@fuzz
@given(mutated(LOGS), st.integers(1, 3))
def test_any_log_ends_in_frames_or_named_refusals(body: bytes, slices: int) -> None:
    check(body, slices)


@fuzz
@given(st.binary(max_size=400), st.sampled_from([b"\x89MCAP0\r\n", b"#ROSBAG V2.0\n", b"SQLite format 3\0"]))
def test_any_bytes_behind_the_magic_end_in_frames_or_named_refusals(body: bytes, magic: bytes) -> None:
    check(magic + body, 1)
