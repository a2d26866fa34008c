"""Damaged logs give every message that is whole, and name and count the rest."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mcap.writer import IndexType, Writer

from autolabel.contracts.errors import LogRefused
from autolabel.logs import UnreadRange, inspect_log
from tests.fakes.archives import ARCHIVES, archive
from tests.fakes.counting import Counting
from tests.fakes.logs import (
    FRONT,
    LIDAR,
    REAR,
    START,
    bag_log,
    definition_of,
    drive,
    jpeg,
    mcap_log,
    serialised,
    sqlite_log,
)
from tests.unit.logs.reading import Reading, read_log

FRAMES = 8
FOOTER, CHUNK, MESSAGE_INDEX, CHUNK_INDEX, STATISTICS = 2, 6, 7, 8, 11
# Where the fields of a chunk record begin, behind its opcode and length.
SIZE_AT, CRC_AT, NAME_AT = 9 + 16, 9 + 24, 9 + 28


def mcap_records(body: bytes, wanted: int) -> Iterator[tuple[int, int]]:
    """Yield the start and end of the records of a kind in an MCAP log."""
    at = 8
    while at + 9 < len(body):
        opcode, length = struct.unpack_from("<BQ", body, at)
        if opcode == wanted:
            yield at, at + 9 + length
        at += 9 + length


def bag_chunks(body: bytes) -> list[tuple[int, int]]:
    """Return the start of each chunk of a bag, and of the chunk's data."""
    chunks = inspect_log(Counting(body), "bag").chunks
    starts = []
    for chunk in chunks:
        (header,) = struct.unpack_from("<I", body, chunk.start)
        starts.append((chunk.start, chunk.start + header + 8))
    return starts


def put(body: bytes, at: int, data: bytes) -> bytes:
    return body[:at] + data + body[at + len(data) :]


def whole(**options: Any) -> bytes:
    # Each chunk has one message.
    return mcap_log(drive(FRAMES), chunk_size=1, **options)


def frames_before(body: bytes, end: int) -> int:
    """Count the frames in the whole chunks before a place."""
    index = inspect_log(Counting(body), "log")
    cameras = {channel.id for channel in index.channels if channel.topic in (FRONT, REAR)}
    return sum(chunk.may_hold(cameras) for chunk in index.chunks if chunk.end <= end)


@pytest.mark.parametrize("compression", ["", "zstd"])
def test_a_log_cut_off_anywhere_gives_the_frames_of_its_whole_chunks(compression: str) -> None:
    body = whole(compression=compression)
    ends = {end for kind in (CHUNK, MESSAGE_INDEX) for _, end in mcap_records(body, kind)}
    for end in range(100, len(body), 997):
        if not frames_before(body, end):
            continue
        reading = read_log(body[:end])
        assert len(reading.frames) == frames_before(body, end)
        assert reading.index.rebuilt == "the log is cut off"
        # A cut behind the last chunk loses the index alone.
        lost = [("log-cut-off", end)] if end < max(ends) and end not in ends else []
        assert [(part.reason, part.end) for part in reading.index.unread] == lost
        assert reading.tally.refused == bool(lost)


def test_a_log_cut_off_between_message_indexes_loses_no_channel_of_the_chunk() -> None:
    body = mcap_log(drive(FRAMES), chunk_size=10**6)
    bag = bag_log(drive(FRAMES), chunk_size=10**6)
    for start, _ in mcap_records(body, MESSAGE_INDEX):
        for end in (start, start + 5, start + 20):
            assert len(read_log(body[:end]).frames) == 2 * FRAMES
    ((_, data),) = bag_chunks(bag)
    data_end = data + int.from_bytes(bag[data - 4 : data], "little")
    for end in range(data_end, inspect_log(Counting(bag), "bag").chunks[0].end, 9):
        assert len(read_log(bag[:end]).frames) == 2 * FRAMES


def test_a_schema_in_a_chunk_that_need_not_be_read_is_found() -> None:
    target = io.BytesIO()
    writer = Writer(target, chunk_size=1, repeat_channels=False, repeat_schemas=False, index_types=IndexType.MESSAGE)
    writer.start()
    lidar = writer.register_channel(LIDAR, "", writer.register_schema("points", "", b""))
    writer.add_message(lidar, START, b"", START)
    # The schema is in the second chunk, beside a message of a known channel, and its channel in the third.
    front = next(message for message in drive(1) if message.topic == FRONT)
    name, data = serialised(front, "cdr")
    schema = writer.register_schema(name, *definition_of(name, "cdr"))
    writer.add_message(lidar, START, b"", START)
    writer.add_message(writer.register_channel(FRONT, "cdr", schema), START, data, START)
    writer.finish()  # type: ignore[no-untyped-call]
    assert read_log(target.getvalue()).keys == [("camera-front", START)]


@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_a_bag_cut_off_anywhere_gives_the_frames_of_its_whole_chunks(compression: str) -> None:
    body = bag_log(drive(FRAMES), compression, chunk_size=1)
    for end in range(6_000, len(body), 997):
        reading = read_log(body[:end])
        # The chunks are known up to the next one, with their message indexes.
        assert len(reading.frames) in (frames_before(body, end), frames_before(body, end) + 1)
        assert reading.index.rebuilt


def test_a_bag_whose_recorder_was_not_ended_gives_all_frames() -> None:
    body = bag_log(drive(FRAMES))
    at = body.index(b"index_pos=") + len(b"index_pos=")
    reading = read_log(put(body, at, bytes(8)))
    assert reading.keys == read_log(body).keys
    assert reading.index.rebuilt == "the bag has no index, because its recorder was not ended"
    assert not reading.tally.refused


@pytest.mark.parametrize("field", [b"conn_count=", b"chunk_count="])
def test_a_bag_whose_index_lacks_something_gives_all_frames(field: bytes) -> None:
    body = bag_log(drive(FRAMES), chunk_size=1)
    at = body.index(field) + len(field)
    reading = read_log(put(body, at, bytes([body[at] + 1])))
    assert reading.keys == read_log(body).keys
    assert reading.index.rebuilt == "the bag's index does not have all connections and chunks"


def without_channels() -> bytes:
    return whole(repeat_channels=False)


def without_channels_and_message_indexes() -> bytes:
    return whole(repeat_channels=False, index_types=IndexType.CHUNK)


def without_schemas() -> bytes:
    return whole(repeat_schemas=False)


def without_chunk_index() -> bytes:
    return whole(index_types=IndexType.MESSAGE)


def without_message_index() -> bytes:
    return whole(index_types=IndexType.CHUNK)


def without_chunks() -> bytes:
    return whole(use_chunking=False)


def without_statistics() -> bytes:
    return whole(use_statistics=False)


def without_summary() -> bytes:
    return whole(
        index_types=IndexType.NONE,
        repeat_channels=False,
        repeat_schemas=False,
        use_statistics=False,
        use_summary_offsets=False,
    )


def with_wrong_summary() -> bytes:
    body = whole()
    return put(body, body.rindex(REAR.encode()) + 1, b"X")


def with_overlapping_chunks() -> bytes:
    body = whole()
    (first, _), (second, _), *_ = mcap_records(body, CHUNK_INDEX)
    ((footer, _),) = mcap_records(body, FOOTER)
    # The third field is the chunk's place.
    body = put(body, second + 9 + 16, body[first + 9 + 16 : first + 9 + 24])
    return put(body, footer + 9 + 16, bytes(4))


def without_crcs() -> bytes:
    return whole(enable_crcs=False)


@pytest.mark.parametrize(
    ("make", "walked"),
    [
        (without_channels, True),
        (without_channels_and_message_indexes, True),
        (without_schemas, True),
        (without_chunk_index, True),
        (without_message_index, False),
        (without_chunks, True),
        (without_statistics, False),
        (without_summary, True),
        (with_wrong_summary, True),
        (with_overlapping_chunks, True),
        (without_crcs, False),
    ],
)
@pytest.mark.parametrize("slices", [1, 3])
def test_a_log_without_a_part_of_its_index_gives_all_frames(
    make: Callable[[], bytes], walked: bool, slices: int
) -> None:
    reading = read_log(make(), slices)
    assert reading.keys == read_log(whole()).keys
    assert bool(reading.index.rebuilt) == walked
    assert not reading.tally.refused
    assert reading.tally.complete


def test_a_walk_reads_few_chunks_of_a_log_with_message_indexes() -> None:
    sent = [message._replace(noise=200_000) for message in drive(30)]
    body = mcap_log(sent, chunk_size=1, compression="")
    source = Counting(body[:-50])
    index = inspect_log(source, "log")
    assert index.rebuilt
    assert sum((index.counts or {}).values()) == len(sent)
    assert source.bytes_read < len(body) / 2


def damaged(reading: Reading) -> list[UnreadRange]:
    return [item for item in reading.items if isinstance(item, UnreadRange)]


def test_a_chunk_with_a_wrong_crc_is_refused_alone_and_by_its_range() -> None:
    body = whole(compression="")
    chunks = list(mcap_records(body, CHUNK))
    start, end = chunks[3]
    reading = read_log(put(body, end - 40, bytes([body[end - 40] ^ 1])))
    assert damaged(reading) == [UnreadRange(start, end, "chunk-crc-wrong", damaged(reading)[0].detail)]
    assert len(reading.frames) == 2 * FRAMES - 1
    assert reading.refused == {"chunk-unread": 1}
    # 0 says that there is none.
    unchecked = put(put(body, end - 40, bytes([body[end - 40] ^ 1])), start + CRC_AT, bytes(4))
    assert len(read_log(unchecked).frames) == 2 * FRAMES


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize(
    ("size", "reason"), [(2**30, "chunk-too-large"), (2**63, "chunk-too-large"), (100, "chunk-size-wrong")]
)
def test_a_chunk_of_another_size_than_it_states_is_refused(compression: str, size: int, reason: str) -> None:
    body = whole(compression=compression)
    start, _ = list(mcap_records(body, CHUNK))[3]
    reading = read_log(put(body, start + SIZE_AT, struct.pack("<Q", size)))
    assert [part.reason for part in damaged(reading)] == [reason]
    assert len(reading.frames) == 2 * FRAMES - 1
    assert reading.refused == {"chunk-unread": 1}


def test_a_chunk_with_an_unknown_compression_is_refused() -> None:
    body = whole(compression="lz4")
    start, _ = next(mcap_records(body, CHUNK))
    reading = read_log(put(body, start + NAME_AT + 4, b"lzX"))
    assert [part.reason for part in damaged(reading)] == ["compression-unknown"]


@pytest.mark.parametrize("compression", ["lz4", "bz2"])
def test_a_damaged_chunk_of_a_bag_is_refused_alone(compression: str) -> None:
    body = bag_log(drive(FRAMES), compression, chunk_size=1)
    start, data = bag_chunks(body)[2]
    reading = read_log(put(body, data, bytes(40)))
    assert [(part.start, part.reason) for part in damaged(reading)] == [(start, "chunk-damaged")]
    assert len(reading.frames) == 2 * FRAMES - 1
    assert reading.refused == {"chunk-unread": 1}


@pytest.mark.parametrize("offset", [77, None], ids=["no message", "a message of another channel"])
def test_a_message_index_that_is_wrong_costs_no_message(offset: int | None) -> None:
    sent = [message._replace(noise=300_000) for message in drive(10)]
    body = mcap_log(sent, compression="", chunk_size=1_000_000)
    good = read_log(body, topics=[FRONT])
    lidar = 0
    for _, end in reversed(list(mcap_records(body, MESSAGE_INDEX))):
        # Before each of the LiDAR is that of the front camera. The last entry ends the record.
        (last,) = struct.unpack_from("<Q", body, end - 8)
        body = put(body, end - 8, struct.pack("<Q", lidar if offset is None else offset))
        lidar = last
    reading = read_log(body, topics=[FRONT])
    assert reading.keys == good.keys
    assert not reading.tally.refused


def test_messages_that_the_log_counts_and_does_not_hold_are_refused() -> None:
    body = whole()
    ((statistics, end),) = mcap_records(body, STATISTICS)
    ((footer, _),) = mcap_records(body, FOOTER)
    (messages,) = struct.unpack_from("<Q", body, statistics + 9)
    # The counts of the channels end the record; the last one is that of the rear camera.
    body = put(put(body, statistics + 9, struct.pack("<Q", messages + 2)), end - 8, struct.pack("<Q", FRAMES + 2))
    reading = read_log(put(body, footer + 25, bytes(4)))
    assert len(reading.frames) == 2 * FRAMES
    assert reading.refused == {"message-missing": 2}


@pytest.mark.parametrize("body", [mcap_log([]), bag_log([])], ids=["mcap", "bag"])
def test_a_log_without_messages_has_no_camera(body: bytes) -> None:
    with pytest.raises(LogRefused, match="its topics: none"):
        read_log(body)


def test_a_log_without_a_camera_names_its_topics() -> None:
    sent = [message for message in drive() if message.topic == LIDAR]
    with pytest.raises(LogRefused, match=r"/lidar/points \(std_msgs/msg/ByteMultiArray\)") as refused:
        read_log(mcap_log(sent))
    assert refused.value.reason == "no-camera"


class Shrinking(Counting):
    """A log that becomes shorter after some reads."""

    whole = 3

    def read(self, start: int, length: int) -> bytes:
        return super().read(start, length)[: length if len(self.reads) <= self.whole else 10]


@pytest.mark.parametrize(
    "body",
    [
        mcap_log(drive(20, noise=100_000), compression="", chunk_size=1),
        sqlite_log(drive(20, noise=100_000)),
        archive({"a.db3": sqlite_log(drive(20, noise=100_000))}),
        *(archive({"a.bag": bag_log(drive(20, noise=100_000))}, kind) for kind in ("tar", "tar.gz", "zip-deflated")),
        *(archive({f"front/{n}.jpg": jpeg(n, 600, 400) for n in range(20)}, kind) for kind in ARCHIVES),
    ],
)
def test_a_log_that_changes_while_it_is_read_ends_the_reading(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.logs.reading.Counting", Shrinking)
    monkeypatch.setattr(Shrinking, "whole", 1_000)
    reads = len(read_log(body).source.reads)
    # In the plan, and later.
    for whole in {1, 2, 3, reads // 2, reads - 1}:
        monkeypatch.setattr(Shrinking, "whole", whole)
        with pytest.raises(LogRefused) as refused:
            read_log(body)
        assert refused.value.reason == "log-changed"
