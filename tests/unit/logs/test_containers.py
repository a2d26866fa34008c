"""Frames come out of every container, encoding and compression as they were written, by few and exact reads."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.contracts.errors import LogRefused
from autolabel.logs import inspect_log, plan_slices
from tests.fakes.counting import Counting
from tests.fakes.logs import FRONT, REAR, START, STEP, Sent, bag_log, drive, jpeg, mcap_log, pixels, sqlite_log
from tests.unit.logs.reading import read_log

FRAMES = 6
MCAP = [
    (encoding, compression) for encoding in ("cdr", "idl", "ros1", "protobuf") for compression in ("", "lz4", "zstd")
]
BAG = ["none", "lz4", "bz2"]
LOGS = [pytest.param("mcap", e, c, id=f"mcap-{e}-{c or 'none'}") for e, c in MCAP]
LOGS += [pytest.param("rosbag", "ros1", c, id=f"bag-{c}") for c in BAG]
LOGS += [pytest.param("sqlite3", e, "", id=f"sqlite3-{e}") for e in ("cdr", "idl")]


def written(container: str, encoding: Any, compression: str, messages: list[Sent], **options: Any) -> bytes:
    if container == "mcap":
        return mcap_log(messages, encoding, compression, **options)
    if container == "sqlite3":
        return sqlite_log(messages, encoding)
    return bag_log(messages, compression, **options)


@pytest.mark.parametrize(("container", "encoding", "compression"), LOGS)
def test_frames_come_out_as_they_were_recorded(container: str, encoding: str, compression: str) -> None:
    body = written(container, encoding, compression, drive(FRAMES))
    reading = read_log(body)
    front = [frame for frame in reading.frames if frame.camera == "camera-front"]
    rear = [frame for frame in reading.frames if frame.camera == "camera-rear"]
    assert [frame.timestamp for frame in front] == [START + number * STEP for number in range(FRAMES)]
    assert [frame.timestamp for frame in rear] == [START + number * STEP + 5 for number in range(FRAMES)]
    assert [(frame.extension, frame.body) for frame in front] == [("jpg", jpeg(number)) for number in range(FRAMES)]
    for number, frame in enumerate(rear):
        assert frame.extension == "png"
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(frame.body))), pixels(number))
    assert not reading.tally.refused
    assert reading.tally.complete
    assert {topic.clocks["header"] for topic in reading.tally.topics.values()} == {FRAMES}
    for slices in (2, 7):
        assert read_log(body, slices).items == reading.items


def test_a_log_of_many_chunks_is_cut_into_whole_ones() -> None:
    index = inspect_log(Counting(mcap_log(drive(20), chunk_size=1)), "log")
    channels = [channel.id for channel in index.channels if channel.topic == REAR]
    held = [chunk for chunk in index.chunks if channels[0] in (chunk.channels or ())]
    assert len(held) == 20 < len(index.chunks)
    largest = max(chunk.length for chunk in held)
    (first, *_) = plan_slices(index, channels, held[0].length + held[1].length)
    assert first.chunks == tuple(held[:2])
    for limit in (1, largest, 3 * largest, 10**9):
        parts = plan_slices(index, channels, limit)
        assert [chunk for part in parts for chunk in part.chunks] == held
        assert [part.number for part in parts] == list(range(len(parts)))
        sizes = [sum(chunk.length for chunk in part.chunks) for part in parts]
        assert all(size <= limit or len(part.chunks) == 1 for size, part in zip(sizes, parts, strict=True))
        assert all(
            size + after.chunks[0].length > limit for size, (_, after) in zip(sizes, pairwise(parts), strict=False)
        )


@pytest.mark.parametrize(
    ("container", "compression"), [("mcap", "zstd"), ("mcap", ""), ("rosbag", "lz4"), ("rosbag", "none")]
)
def test_a_plan_takes_five_reads_and_a_large_chunk_one(container: str, compression: str) -> None:
    # Chunks of about 400 KB; one in some holds the front camera.
    sent = [message._replace(noise=400_000) for message in drive(30, width=320, height=240)]
    sent = [message for message in sent if message.topic != REAR]
    body = written(container, "cdr" if container == "mcap" else "ros1", compression, sent, chunk_size=350_000)
    source = Counting(body)
    index = inspect_log(source, "log")
    assert not index.rebuilt
    assert len(source.reads) <= 5
    assert source.bytes_read < 0.05 * len(body) + 200_000
    reading = read_log(body, topics=[FRONT])
    assert len(reading.frames) == 30
    front = next(channel.id for channel in index.channels if channel.topic == FRONT)
    held = [chunk for chunk in index.chunks if chunk.may_hold([front])]
    assert len(reading.source.reads) - len(source.reads) <= len(held)
    assert reading.source.bytes_read - source.bytes_read <= 1.01 * sum(chunk.length for chunk in held)


@pytest.mark.slow
def test_tiny_chunks_are_read_together() -> None:
    body = mcap_log(drive(200), chunk_size=1)
    reading = read_log(body)
    assert len(reading.frames) == 400
    assert len(reading.index.chunks) == 600
    assert len(reading.source.reads) <= 5 + len(body) / 500_000


def test_single_messages_are_read_from_chunks_without_compression() -> None:
    sent = [message._replace(noise=300_000) for message in drive(40)]
    body = mcap_log(sent, compression="", chunk_size=1_000_000)
    whole = read_log(mcap_log(sent, compression="zstd", chunk_size=1_000_000), topics=[FRONT])
    reading = read_log(body, topics=[FRONT])
    assert [frame.body for frame in reading.frames] == [frame.body for frame in whole.frames]
    assert reading.keys == whole.keys
    assert not reading.tally.refused
    assert reading.source.bytes_read < 0.02 * len(body)


@pytest.mark.parametrize("topic", ["camera/front/image_raw/compressed", "/camera/front/image_raw/compressed"])
def test_topics_are_chosen_with_or_without_their_first_slash(topic: str) -> None:
    assert {frame.camera for frame in read_log(mcap_log(drive()), topics=[topic]).frames} == {"camera-front"}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"SQLite format 3\0" + bytes(100), "not a database"),
        (b"RIFF\0\0\0\0AVI ", "AVI"),
        (b"PK\x03\x04", "zip archive"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"x" * 257 + b"ustar\0", "tar"),
        (jpeg(0), "JPEG"),
        (b"#ROSBAG V1.2\n", "old version"),
        (b"", "empty"),
        (b"nothing known", "no known log"),
    ],
)
def test_a_log_is_told_by_its_first_bytes_and_others_are_refused_by_name(body: bytes, kind: str) -> None:
    with pytest.raises(LogRefused, match=kind):
        inspect_log(Counting(body), "drive.mcap")
