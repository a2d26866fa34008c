"""Logs from outside: any bytes end in frames, in counted refusals, or in the room's error."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.errors import LogRefused
from autolabel.labels import read_header
from tests.fakes.archives import ARCHIVES, archive, images
from tests.fakes.logs import bag_log, drive, mcap_log, sqlite_log
from tests.fuzz.mutations import fuzz, mutated
from tests.fuzz.refusals import assert_refusal
from tests.unit.logs.reading import read_log

SENT = drive(2)
# The reasons for which a whole log is refused.
WHOLE = ("log-kind", "log-empty", "log-encrypted", "no-camera", "camera-shared", "camera-unnamed", "index-too-large")
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
    *(archive(images(2), kind) for kind in ARCHIVES),
    archive({"a.bag": bag_log(SENT)}),
]


def check(body: bytes, slices: int) -> None:
    try:
        reading = read_log(body, slices)
    except LogRefused as e:
        assert_refusal(e, *WHOLE)
        return
    # No byte is read more than some times, so that memory and time stay in proportion to the log.
    assert reading.source.bytes_read <= 10 * len(body) + 10_000
    for topic in reading.tally.topics.values():
        assert topic.extracted == topic.clocks.total()
    for frame in reading.frames:
        assert 0 < frame.timestamp < 10**19
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
