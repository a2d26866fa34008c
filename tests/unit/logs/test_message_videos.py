"""Videos in messages (foxglove.CompressedVideo): any number of slices gives the frames of one decode."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autolabel.contracts.logs import PLACE
from autolabel.logs import (
    Chunk,
    LogSlice,
    Tally,
    Timestamps,
    choose_sensors,
    extract_frames,
    extraction,
    inspect_log,
    message_videos,
    plan_slices,
)
from autolabel.logs.pictures import photo_file
from tests.fakes import logs
from tests.fakes.counting import Counting
from tests.fakes.logs import FRONT, LIDAR, START, STEP, Sent, bag_log, jpeg, mcap_log, sqlite_log
from tests.fakes.videos import CLOSED, HEIGHT, OPEN, WIDTH, pictures
from tests.unit.logs.reading import Reading
from tests.unit.logs.test_extraction import with_channel
from tests.unit.logs.test_steps import extracted as extracted_in_the_cloud

VIDEO = "/camera/left/video"
SLICES = (1, 2, 7)
PLAIN = "keyint=6:min-keyint=6:scenecut=0:bframes=0"
FORMATS = {"libx264": "h264", "libx265": "h265"}
WRITERS: dict[str, Callable[[list[Sent]], bytes]] = {
    "protobuf": lambda sent: mcap_log(sent, "protobuf", chunk_size=1_000),
    "ROS 2": lambda sent: mcap_log(sent, "cdr", chunk_size=1_000),
    "ROS 1": lambda sent: bag_log(sent, chunk_size=1_000),
    "SQLite": sqlite_log,
}
KINDS: dict[str, tuple[str, str]] = {
    "H.264": ("libx264", PLAIN),
    "H.264 with B-frames": ("libx264", CLOSED),
    "H.264 with open groups": ("libx264", OPEN),
    "H.265": ("libx265", PLAIN),
    "H.265 with B-frames in open groups": ("libx265", OPEN),
    "one group": ("libx264", "keyint=250:bframes=2"),
    "key frames alone": ("libx264", "keyint=1"),
}


def messages(kind: str = "H.264", frames: int = 30) -> list[Sent]:
    """A drive with a video and a camera of JPEG pictures, and what is sent between."""
    codec, params = KINDS[kind]
    sent = []
    for number, (shown, data) in enumerate(pictures(frames, codec, params)):
        now = START + number * STEP
        sent += [
            Sent(VIDEO, START + shown * STEP, now, video=(FORMATS[codec], data)),
            Sent(LIDAR, now, now + 1, noise=200),
            Sent(FRONT, now, now + 2, packed=("jpeg", jpeg(number))),
        ]
    return sent


def video_of(sent: Sequence[Sent]) -> list[Sent]:
    return [one for one in sent if one.video]


def shown(sent: Sequence[Sent]) -> dict[int, bytes]:
    """Decode a video without interruption: the stamp of each picture's message, and its JPEG."""
    video = video_of(sent)
    context = av.CodecContext.create({"h264": "h264", "h265": "hevc"}[video[0].video[0]], "r")  # type: ignore[index]
    made: dict[int, bytes] = {}
    packets: list[Any] = []
    for number, one in enumerate(video):
        packets.append(av.Packet(one.video[1]))  # type: ignore[index]
        packets[-1].pts = number
    for packet in [*packets, None]:
        for frame in context.decode(packet):
            made[video[frame.pts].stamp] = photo_file(frame.to_ndarray(format="rgb24"), 0).body
    return made


def read(body: bytes, slices: int = 1) -> Reading:
    """Extract a log in about this number of slices, each read by a worker of its own."""
    source = Counting(body)
    index = inspect_log(source, "drive.log")
    cameras = choose_sensors(index)
    # What a chunk costs by its pictures is another test's matter.
    bare = plan_slices(index, cameras.names, 1)
    each = math.ceil(len(bare) / slices)
    parts = [
        LogSlice(number, tuple(chunk for part in bare[at : at + each] for chunk in part.chunks))
        for number, at in enumerate(range(0, len(bare), each))
    ]
    assert len(parts) > 1 or slices == 1
    tally, taken = Tally(cameras.topics(index)), Timestamps()
    items = []
    for part in parts:
        following = [chunk for later in parts[part.number + 1 :] for chunk in later.chunks]
        items += list(extract_frames(source, index, part, cameras.names, taken, following=following))
    for item in items:
        tally.add(item)
    tally.settle(index, cameras.names)
    for name, topic in tally.topics.items():
        if index.counts is not None:
            assert topic.messages == sum(index.counts.get(c.id, 0) for c in index.channels if c.topic == name)
    return Reading(source, index, items, tally)


def frames_of(reading: Reading) -> dict[int, bytes]:
    found = [frame for frame in reading.frames if frame.topic == VIDEO]
    assert len(found) == len({frame.timestamp for frame in found})
    return {frame.timestamp: frame.body for frame in found}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("writer", WRITERS)
def test_any_number_of_slices_gives_the_frames_of_one_decode(writer: str, kind: str) -> None:
    sent = messages(kind)
    body, whole = WRITERS[writer](sent), shown(sent)
    assert len(whole) == 30
    for slices in SLICES:
        reading = read(body, slices)
        assert frames_of(reading) == whole
        assert (reading.refused, reading.tally.unread) == ({}, {})
        assert len([frame for frame in reading.frames if frame.topic == FRONT]) == 30
        notes = reading.tally.topics[VIDEO].notes
        assert bool(notes["B-frames"]) == ("B-frames" in kind or kind in ("one group", "H.264 with open groups"))


def is_key(message: Sent) -> bool:
    """Whether a group begins with the message: parameter sets, and an IDR picture of H.264 or any of H.265."""
    data = message.video[1] if message.video else b""
    return data[4:5] == b"\x40" or (data[4:5] == b"\x67" and b"\0\0\1\x65" in data)


def is_leading(message: Sent) -> bool:
    """Whether the message is a picture of H.265 that needs the group before its key frame."""
    return message.video is not None and message.video[0] == "h265" and message.video[1][4] >> 1 in (8, 9)


@pytest.mark.parametrize("kind", ["H.264", "H.264 with B-frames", "H.265 with B-frames in open groups"])
@pytest.mark.parametrize("writer", WRITERS)
def test_messages_before_the_first_key_frame_are_refused_and_counted(writer: str, kind: str) -> None:
    sent = messages(kind)
    video = video_of(sent)
    # The log begins inside a group, and most of 100 slices have no key frame.
    body = WRITERS[writer]([one for one in sent if one not in video[:2]])
    first = next(number for number, one in enumerate(video) if number and is_key(one))
    lost = [*video[2:first], *itertools.takewhile(is_leading, video[first + 1 :])]
    whole = shown(sent)
    for slices in (*SLICES, 100):
        reading = read(body, slices)
        assert frames_of(reading) == {one.stamp: whole[one.stamp] for one in video[2:] if one not in lost}
        assert reading.refused == {"no-key-frame": len(lost)}


def damaged(sent: Sequence[Sent], number: int, change: Callable[[bytes], bytes]) -> list[Sent]:
    """Change the data of the video's picture with this number in the order of decoding."""
    one = video_of(sent)[number]
    assert one.video
    worse = one._replace(video=(one.video[0], change(one.video[1])))
    return [worse if message is one else message for message in sent]


@settings(max_examples=40, deadline=None)
@given(st.data())
@pytest.mark.slow
def test_damage_costs_frames_of_its_group_by_name_and_nothing_else(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([kind for kind in KINDS if kind != "one group"]))
    sent = messages(kind)
    video, whole = video_of(sent), shown(sent)
    number = data.draw(st.integers(0, len(video) - 1))
    seed = data.draw(st.integers(0, 10**6))
    damage: dict[str, Callable[[bytes], bytes]] = {
        "cut off": lambda body: body[: Random(seed).randrange(len(body))],
        "bytes lost": lambda body: body[:8] + body[8 + Random(seed).randrange(1, len(body)) :],
        "other bytes": lambda body: body[: len(body) // 2] + Random(seed).randbytes(len(body) - len(body) // 2),
        "without start codes": lambda body: body.replace(b"\0\0\1", b"\0\2\1"),
    }
    change = damage[data.draw(st.sampled_from(sorted(damage)))]
    body = WRITERS["protobuf"](damaged(sent, number, change))
    readings = [read(body, slices) for slices in SLICES]
    outcomes = [(frames_of(one), one.refused, one.tally.topics[VIDEO].notes) for one in readings]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    names = {"frame-damaged", "not-decoded", "message-damaged", "no-key-frame"}
    assert readings[0].refused.keys() <= names
    # Other groups are whole. A group is decoded into the next one, whose key frame it may need.
    keys = [at for at, one in enumerate(video) if is_key(one)]
    group = [at for at in keys if at <= number][-1]
    before = [at for at in keys if at < group][-1:] or [0]
    after = [at for at in keys if at > number][:1] or [len(video)]
    behind = after[0] + 1 + sum(1 for _ in itertools.takewhile(is_leading, video[after[0] + 1 :]))
    for at, one in enumerate(video):
        if at < before[0] or at >= behind:
            assert outcomes[0][0].get(one.stamp) == whole[one.stamp], at


@pytest.mark.parametrize("kind", ["H.264", "H.264 with B-frames", "H.265"])
def test_behind_a_chunk_that_is_lost_messages_are_refused_up_to_the_next_key_frame(kind: str) -> None:
    sent = messages(kind)
    whole = shown(sent)
    good = mcap_log(sent, "protobuf", "", chunk_size=1_000)
    holding = [chunk for chunk in inspect_log(Counting(good), "log").chunks if chunk.channels and 1 in chunk.channels]
    assert len(holding) > 10
    for chunk in holding[1:-1:3]:
        body = bytearray(good)
        body[chunk.end - 20] ^= 0xFF
        readings = [read(bytes(body), slices) for slices in (*SLICES, 100)]
        outcomes = [(frames_of(one), one.refused) for one in readings]
        assert all(outcome == outcomes[0] for outcome in outcomes)
        frames, refused = outcomes[0]
        # No frame shows what the camera has not seen.
        assert frames == {stamp: body for stamp, body in whole.items() if stamp in frames}
        assert set(refused) <= {"chunk-unread", "frame-damaged"}
        assert len(whole) - len(frames) <= 2 * 6 + 5


def test_what_is_no_picture_of_h264_or_h265_is_named_and_counted() -> None:
    sent = messages()
    others = {
        "vp9": ("encoding-unknown", [one._replace(video=("vp9", b"\x82\x49\x83")) for one in video_of(sent)]),
        "H264": ("encoding-unknown", [one._replace(video=("H264", one.video[1])) for one in video_of(sent)]),  # type: ignore[index]
        # As MP4 has them: each unit has its length in front.
        "avc": (
            "message-damaged",
            [one._replace(video=("h264", b"\0\0\x09\x11" + bytes(9))) for one in video_of(sent)],
        ),
        "no picture": ("no-key-frame", [one._replace(video=("h264", b"\0\0\1\x09\xf0")) for one in video_of(sent)]),
    }
    for reason, video in others.values():
        body = mcap_log([*video, *(one for one in sent if not one.video)], "protobuf", chunk_size=200)
        for slices in SLICES:
            reading = read(body, slices)
            assert reading.refused == {reason: 30}
            assert len(reading.frames) == 30


@pytest.mark.parametrize("encoding", ["json", "cdr"])
def test_video_messages_of_an_unknown_serialisation_are_refused(encoding: str) -> None:
    assert with_channel(encoding, "foxglove.CompressedVideo", "x", b"").refused == {"serialisation-unknown": 3}


def test_a_video_whose_definition_is_another_one_is_refused() -> None:
    found = with_channel("cdr", logs.VIDEO, "ros2msg", b"uint8[] data\nstring format")
    assert found.refused == {"schema-unknown": 3}


def test_without_the_library_videos_in_messages_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    body = WRITERS["protobuf"](messages())
    monkeypatch.setitem(sys.modules, "av", None)
    for slices in SLICES:
        reading = read(body, slices)
        assert reading.refused == {"no-video-reader": 30}
        assert {frame.topic for frame in reading.frames} == {FRONT}
    example = reading.tally.topics[VIDEO].examples["no-video-reader"]
    assert f"{VIDEO} holds a video" in example
    assert "Video=yes" in example


def test_a_group_that_is_too_long_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = messages("one group")
    body, whole = WRITERS["protobuf"](sent), shown(sent)
    monkeypatch.setattr(message_videos, "GROUP_PIXELS", 9 * WIDTH * HEIGHT)
    for slices in (*SLICES, 100):
        reading = read(body, slices)
        decoded = [one.stamp for one in video_of(sent)[:10]]
        assert frames_of(reading) == {stamp: whole[stamp] for stamp in decoded}
        assert (reading.refused, reading.tally.unread) == ({"chunk-unread": 20}, {"group-too-long": 1})


def test_the_search_for_a_key_frame_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = messages("one group")
    body = WRITERS["protobuf"]([one for one in sent if one is not sent[0]])
    monkeypatch.setattr(message_videos, "_MOST_BYTES", 600)
    readings = [read(body, slices) for slices in (*SLICES, 100)]
    refused = [(one.refused, one.tally.unread, len(one.frames)) for one in readings]
    assert all(one == refused[0] for one in refused)
    assert refused[0][1:] == ({"no-key-frame": 1}, 30)
    assert refused[0][0].keys() == {"no-key-frame", "chunk-unread"}


def test_a_slice_reads_on_only_to_the_next_key_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    # Small chunks are read together.
    monkeypatch.setattr(extraction, "RUN_BYTES", 1)
    source = Counting(WRITERS["protobuf"](messages()))
    index = inspect_log(source, "log")
    cameras = choose_sensors(index)
    asked: list[Chunk] = []

    def following(parts: Sequence[Any]) -> Any:
        for part in parts:
            for chunk in part.chunks:
                asked.append(chunk)
                yield chunk

    parts = plan_slices(index, cameras.names, 1)
    # The slice has the first key frame; the next one is the seventh of 30 pictures.
    items = list(extract_frames(source, index, parts[0], cameras.names, Timestamps(), following=following(parts[1:])))
    assert len([item for item in items if item.topic == VIDEO]) == 6  # type: ignore[union-attr]
    assert 0 < len(asked) < len(parts) // 3
    # No video of a slice without a key frame goes on behind it.
    asked.clear()
    other = next(part for part in parts[2:] if 1 not in (part.chunks[0].channels or ()))
    list(
        extract_frames(
            source, index, other, cameras.names, Timestamps(), following=following(parts[other.number + 1 :])
        )
    )
    assert asked == []


def test_pictures_of_a_video_count_more_than_their_bytes() -> None:
    index = inspect_log(Counting(mcap_log(messages(), "protobuf", chunk_size=1_000)), "log")
    names = choose_sensors(index).names
    # 30 pictures of 20,736 bytes' work each.
    assert len(plan_slices(index, names, 30 * 21_000)) in (1, 2)
    assert len(plan_slices(index, names, 10 * 21_000)) in (3, 4)


@pytest.mark.parametrize("writer", ["protobuf", "SQLite"])
def test_slices_in_the_cloud_leave_the_same_frames_and_counts(writer: str) -> None:
    sent = messages("H.265 with B-frames in open groups")
    # A later message has the stamp of the first key frame that counts.
    sent = [one for one in sent if one not in video_of(sent)[:2]]
    first = next(one for one in video_of(sent) if is_key(one))
    sent = [one._replace(stamp=first.stamp) if one is video_of(sent)[-2] else one for one in sent]
    body = WRITERS[writer](sent)
    whole = extracted_in_the_cloud(body, 10**9)
    topic = whole.summary(whole.folder()).topics[VIDEO]
    assert topic.extracted + sum(topic.refused.values()) + 1 == topic.messages == 28
    assert (topic.skipped, topic.refused.keys()) == ({"same-timestamp": 1}, {"no-key-frame"})
    for slice_bytes, seed in ((1, 1), (3_000, 2), (20_000, 3)):
        cloud = extracted_in_the_cloud(body, slice_bytes, Random(seed))
        assert cloud.inspect(cloud.folder()).slices > 1
        assert cloud.frames() == whole.frames()
        assert cloud.summary(cloud.folder()) == whole.summary(whole.folder())
        for key in cloud.frames():
            there, same = cloud.ingest.head(key), whole.ingest.head(key)
            assert there
            assert same
            assert there.metadata[PLACE] == same.metadata[PLACE]
