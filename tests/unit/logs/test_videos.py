"""Videos become frames: those of one uninterrupted decode, by any number of slices, with every loss named."""

from __future__ import annotations

import io
import math
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from autolabel.contracts.errors import LogRefused
from autolabel.logs import (
    ExtractedFrame,
    LogIndex,
    Tally,
    Timestamps,
    UnreadRange,
    choose_sensors,
    extract_frames,
    inspect_log,
    plan_slices,
    set_start,
    video_frames,
)
from autolabel.logs.pictures import photo_file
from tests.fakes.counting import Counting
from tests.fakes.videos import (
    FRAGMENTED,
    GROUP,
    HEIGHT,
    OPEN,
    UNEVEN,
    WIDTH,
    cut_without_encoding,
    remuxed,
    video,
)
from tests.unit.logs.reading import Reading

START = 1_700_000_000_000_000_000
SLICES = (1, 2, 7)


def read_video(body: bytes, slices: int = 1, topics: Sequence[str] = ()) -> Reading:
    """Extract a video in about this number of slices, each read by a worker of its own."""
    source = Counting(body)
    index = set_start(inspect_log(source, "front.mp4"), START, "front.mp4")
    cameras = choose_sensors(index, topics)
    tally = Tally(cameras.topics(index))
    parts = plan_slices(index, cameras.names, math.ceil(sum(chunk.cost for chunk in index.chunks) / slices) or 1)
    # Workers compare places in the bucket, and do not share the timestamps; their frames come in the same order here.
    taken = Timestamps()
    items = [item for part in parts for item in extract_frames(source, index, part, cameras.names, taken)]
    for item in items:
        tally.add(item)
    tally.settle(index, cameras.names)
    if index.counts is not None:
        assert sum(topic.messages for topic in tally.topics.values()) == sum(
            index.counts.get(number, 0) for number in cameras.names
        )
    return Reading(source, index, items, tally)


def shown(body: bytes, stream: int = 0) -> dict[int, bytes]:
    """Decode a stream without interruption: the time of each frame that is shown, and its JPEG."""
    with av.open(io.BytesIO(body)) as opened:
        frames = list(opened.decode(opened.streams.video[stream]))
        first = min((frame.pts or 0) * (frame.time_base or 1) for frame in frames)
        return {
            START + round(((frame.pts or 0) * (frame.time_base or 1) - first) * 10**9): photo_file(
                frame.to_ndarray(format="rgb24"), 0
            ).body
            for frame in frames
        }


def frames_of(reading: Reading, camera: str = "front") -> dict[int, bytes]:
    found = [frame for frame in reading.frames if frame.camera == camera]
    assert len(found) == len({frame.timestamp for frame in found})
    return {frame.timestamp: frame.body for frame in found}


VIDEOS: dict[str, dict[str, Any]] = {
    "closed groups": {},
    "open groups": {"params": OPEN},
    "H.265, open groups": {"codec": "libx265", "params": OPEN},
    "one group": {"params": "keyint=250:bframes=3"},
    "key frames alone": {"params": "keyint=1"},
    "index first": {"movflags": "faststart"},
    "fragmented": {"movflags": FRAGMENTED},
    "fragmented, open groups": {"movflags": FRAGMENTED, "params": OPEN},
    "a fragment for each frame": {"movflags": "frag_every_frame+empty_moov+default_base_moof"},
    "fragmented, with an index": {"movflags": FRAGMENTED + "+global_sidx"},
    "fragmented, with places in the file": {"movflags": "frag_keyframe+empty_moov"},
    "variable rate": {"frames": len(UNEVEN), "times": UNEVEN},
    "10 bit": {"pixel_format": "yuv420p10le"},
    "Matroska": {"container": "matroska", "frames": 100},
    "Matroska, open groups": {"container": "matroska", "frames": 100, "params": OPEN},
    "Matroska, H.265": {"container": "matroska", "codec": "libx265", "params": OPEN},
    "transport stream": {"container": "mpegts", "params": OPEN},
}


@pytest.mark.parametrize("kind", VIDEOS)
def test_any_number_of_slices_gives_the_frames_of_one_decode(kind: str) -> None:
    body = video(**VIDEOS[kind])
    whole = shown(body)
    for slices in SLICES:
        reading = read_video(body, slices)
        assert frames_of(reading) == whole
        assert (reading.refused, reading.tally.unread, reading.tally.complete) == ({}, {}, True)
        assert [item.place for item in reading.frames] == sorted(item.place for item in reading.frames)


def test_a_matroska_file_is_cut_at_its_cues_and_a_transport_stream_is_one_part() -> None:
    def parts(container: str) -> list[tuple[int, int]]:
        index = inspect_log(Counting(video(120, container=container)), "front")
        assert index.counts is None
        return [(chunk.start, chunk.end) for chunk in index.chunks]

    size = len(video(120, container="mpegts"))
    assert parts("mpegts") == [(0, size)]
    cued = parts("matroska")
    assert len(cued) > 2
    assert [end for _, end in cued[:-1]] == [start for start, _ in cued[1:]]


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(st.data())
def test_damage_without_counts_costs_only_frames_near_it(data: st.DataObject) -> None:
    container = data.draw(st.sampled_from(("matroska", "mpegts")))
    body = bytearray(video(120, container=container, params=OPEN))
    at = data.draw(st.integers(3_000, len(body) - 3_000))
    length = data.draw(st.sampled_from((1, 30, 400)))
    body[at : at + length] = data.draw(st.sampled_from((b"\0", b"\xff", b"\x5a"))) * length
    readings = [read_video(bytes(body), slices) for slices in SLICES]
    assert len({tuple(frames_of(one).items()) for one in readings}) == 1
    assert len({tuple(sorted(one.refused.items())) for one in readings}) == 1
    whole, got = shown(video(120, container=container, params=OPEN)), frames_of(readings[0])
    # What is lost is at one place: the frames before and behind it are those of the whole video.
    lost = [number for number, time in enumerate(sorted(whole)) if got.get(time) != whole[time]]
    assert not lost or lost[-1] - lost[0] < 70


@pytest.mark.parametrize("container", ["matroska", "mpegts"])
def test_what_was_cut_off_without_an_index_is_read_up_to_the_cut(container: str) -> None:
    body = video(100, container=container)
    reading = read_video(body[: len(body) // 2])
    got, whole = frames_of(reading), shown(body)
    assert 25 < len(got) < 75
    assert got.items() <= whole.items()
    # A picture can come before three others that are shown earlier.
    assert sum(time < max(got) for time in whole.keys() - got.keys()) <= 3
    # A transport stream does not tell how long it should be.
    assert reading.tally.unread == ({"log-cut-off": 1} if container == "matroska" else {})


def test_a_video_without_an_index_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_frames, "GROUP_PIXELS", 50 * WIDTH * HEIGHT)
    reading = read_video(video(100, container="mpegts"))
    assert len(reading.frames) == 50
    (unread,) = (item for item in reading.items if isinstance(item, UnreadRange))
    assert (unread.reason, unread.end) == ("video-too-long", reading.source.size)
    assert 0 < unread.start < unread.end
    assert "-c copy" in unread.detail


def test_an_edit_list_is_obeyed() -> None:
    body = cut_without_encoding(video(20, params=OPEN), 5)
    assert len(shown(body)) == 15
    for slices in SLICES:
        reading = read_video(body, slices)
        assert frames_of(reading) == shown(body)
        assert reading.index.counts == {0: 15}


def test_times_are_exact_and_begin_with_the_first_frame_that_is_shown() -> None:
    reading = read_video(video(times=UNEVEN, frames=len(UNEVEN)))
    assert [frame.timestamp for frame in reading.frames] == [START + at * 10**6 for at in UNEVEN]
    thirds = read_video(video(4)).frames
    assert [frame.timestamp for frame in thirds] == [START + round(Fraction(n * 10**9, 30)) for n in range(4)]
    assert thirds[1].origin == "0.033333 s"


def test_every_stream_is_a_camera_with_the_clock_of_the_file() -> None:
    body = video(streams=2, late=5)
    for slices in SLICES:
        reading = read_video(body, slices)
        assert frames_of(reading, "front-0") == shown(body)
        rear = frames_of(reading, "front-1")
        # The muxer writes when a stream begins in ms.
        front = list(frames_of(reading, "front-0"))[5:]
        assert max(abs(one - other) for one, other in zip(rear, front, strict=True)) < 10**6
        assert list(rear.values()) == list(shown(body, 1).values())
    # By their times, so that the first frames are those of all cameras.
    times = [frame.timestamp for frame in read_video(body).frames]
    assert times == sorted(times)
    one = read_video(body, topics=["front.mp4/1"])
    assert frames_of(one, "front-1") == rear
    assert {frame.camera for frame in one.frames} == {"front-1"}
    assert one.frames[0].origin == "stream 1, 0.166016 s"


COLOURS = {"bt601": (5, 1, "yuv420p"), "bt709": (1, 1, "yuv420p"), "full range": (1, 2, "yuv420p")}
COLOURS["10 bit"] = (1, 1, "yuv420p10le")


@pytest.mark.parametrize("kind", COLOURS)
def test_colours_follow_the_streams_matrix_and_range(kind: str) -> None:
    matrix, levels, pixel_format = COLOURS[kind]
    (frame,) = read_video(plain((200, 40, 90), matrix, levels, pixel_format)).frames
    with Image.open(io.BytesIO(frame.body)) as image:
        assert np.abs(np.asarray(image).astype(int) - (200, 40, 90)).max() <= 5
        assert (image.format, image.size, frame.extension) == ("JPEG", (WIDTH, HEIGHT), "jpg")


def plain(colour: tuple[int, int, int], matrix: int, levels: int, pixel_format: str, turn: float = 0.0) -> bytes:
    """Write a video of one frame: of one colour, with a white top left corner."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as output:
        stream: Any = output.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, levels
        stream.options = {"crf": "1"}
        if turn:
            stream.set_display_rotation(turn)
            pixels = np.full((HEIGHT, WIDTH, 3), colour, np.uint8)
            pixels[:16, :16] = 255
        else:
            pixels = np.full((HEIGHT, WIDTH, 3), colour, np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
        output.mux(stream.encode(frame.reformat(format=pixel_format, dst_colorspace=matrix, dst_color_range=levels)))
        output.mux(stream.encode(None))
    return target.getvalue()


@pytest.mark.parametrize(("turn", "corner"), [(90.0, "bottom left"), (180.0, "bottom right"), (-90.0, "top right")])
def test_frames_are_turned_as_players_show_them(turn: float, corner: str) -> None:
    (frame,) = read_video(plain((0, 0, 0), 5, 1, "yuv420p", turn)).frames
    with Image.open(io.BytesIO(frame.body)) as image:
        grey = np.asarray(image.convert("L"))
    assert grey.shape == ((HEIGHT, WIDTH) if turn == 180 else (WIDTH, HEIGHT))
    corners = {
        "top right": grey[8, -8],
        "bottom left": grey[-8, 8],
        "bottom right": grey[-8, -8],
        "top left": grey[8, 8],
    }
    assert max(corners, key=lambda name: corners[name]) == corner
    assert frame.note.startswith("turned by ")


def test_frames_that_are_shown_askew_are_refused() -> None:
    assert read_video(plain((0, 0, 0), 5, 1, "yuv420p", 30.0)).refused == {"rotated": 1}


def data_range(body: bytes) -> tuple[int, int]:
    """The bytes of the frames of an MP4 file that has its index last."""
    return body.index(b"mdat") + 4, body.index(b"moov") - 4


@cache
def long_video() -> bytes:
    return video(36, params=OPEN)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_damaged_data_costs_frames_of_their_groups_by_name_and_nothing_else(data: st.DataObject) -> None:
    first, end = data_range(long_video())
    at = data.draw(st.integers(first, end - 1))
    length = data.draw(st.sampled_from((1, 3, 50, 400)))
    filler = data.draw(st.sampled_from((b"\0", b"\xff", b"\x5a")))
    body = bytearray(long_video())
    hit = range(at, min(at + length, end))
    body[hit.start : hit.stop] = filler * len(hit)
    readings = [read_video(bytes(body), slices) for slices in SLICES]
    outcomes = [(frames_of(one), one.refused, one.tally.unread) for one in readings]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert readings[0].refused.keys() <= {"frame-damaged", "not-decoded"}
    # Frames of other groups are those of the whole video; one group is decoded into the next one.
    good, got = shown(long_video()), outcomes[0][0]
    chunks = readings[0].index.chunks
    touched = {n for n, chunk in enumerate(chunks) if chunk.start < hit.stop and hit.start < chunk.end}
    touched |= {n - 1 for n in touched}
    times = sorted(good)
    for number, time in enumerate(times):
        if number // GROUP not in touched:
            assert got.get(time) == good[time], number


def test_a_video_goes_on_behind_damage() -> None:
    body = bytearray(long_video())
    # The length of a part of a key frame is wrong.
    at = inspect_log(Counting(long_video()), "front.mp4").chunks[3].start
    body[at : at + 4] = b"\xff\xff\xff\xff"
    reading = read_video(bytes(body))
    assert 0 < reading.refused["frame-damaged"] <= 2 * GROUP
    assert max(frames_of(reading)) == max(shown(long_video()))


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.integers(1, 10**6), st.sampled_from(("faststart", FRAGMENTED)))
def test_a_video_that_was_cut_gives_all_whole_frames(cut: int, movflags: str) -> None:
    body = video(24, movflags=movflags)
    first = body.index(b"moof") if "frag" in movflags else body.index(b"mdat")
    cut = first + 8 + cut % (len(body) - first - 8)
    readings = [read_video(body[:cut], slices) for slices in SLICES]
    assert len({tuple(frames_of(one).items()) for one in readings}) == 1
    assert len({tuple(sorted(one.refused.items())) for one in readings}) == 1
    whole, got = shown(body), frames_of(readings[0])
    assert got.items() <= whole.items()
    if len(got) < len(whole):
        assert readings[0].tally.unread == {"log-cut-off": 1}
    # At most the frames of the last group, where those that are shown first come late.
    assert len(got) >= len(whole) * (cut - first) // (2 * (len(body) - first)) - 2 * GROUP


def test_a_cut_file_tells_how_many_frames_its_index_lists() -> None:
    body = video(24, movflags="faststart")
    reading = read_video(body[: len(body) * 2 // 3])
    (unread,) = reading.index.unread
    assert "of the 24 frames that its index lists" in unread.detail
    assert len(reading.frames) + sum(reading.refused.values()) == 24
    assert reading.refused["chunk-unread"] > 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (video()[:-600], "moov-missing"),
        (video()[:100], "moov-missing"),
        (video(movflags="faststart")[:300], "moov-missing"),
        (b"\0\0\0\x18ftypisom" + bytes(12), "moov-missing"),
        (b"\0\0\0\x18ftypisom" + bytes(12) + b"\0\0\0\x10moov" + bytes(8), "no-camera"),
    ],
    ids=["index cut", "index gone", "first index cut", "head alone", "empty index"],
)
def test_a_video_without_its_index_is_refused_by_name(body: bytes, reason: str) -> None:
    with pytest.raises(LogRefused, match=r"front\.mp4") as refused:
        read_video(body)
    assert refused.value.reason == reason


def test_an_index_that_states_very_many_samples_is_refused() -> None:
    body = bytearray(video())
    at = body.find(b"stsz")
    # One size for all samples, and their number.
    body[at + 8 : at + 16] = struct.pack(">II", 1, 30_000_000)
    with pytest.raises(LogRefused, match="states 30,000,000 samples"):
        read_video(bytes(body))


def sound() -> bytes:
    """Write an MP4 file with sound alone."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as output:
        stream: Any = output.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return target.getvalue()


def test_sound_alone_is_no_camera() -> None:
    with pytest.raises(LogRefused, match="no stream of pictures"):
        read_video(sound())


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg"])
def test_other_codecs_are_named(codec: str) -> None:
    body = video(codec=codec, params="", pixel_format="yuvj420p" if codec == "mjpeg" else "yuv420p")
    with pytest.raises(LogRefused, match=rf"front\.mp4 \({codec} video\)"):
        read_video(body)


def test_of_two_frames_with_one_time_the_first_counts() -> None:
    def doubled(packet: Any) -> Any:
        packet.pts += -packet.pts % 1024
        return packet

    body = remuxed(video(20, params="keyint=6:min-keyint=6:scenecut=0:bframes=0"), doubled)
    readings = [read_video(body, slices) for slices in SLICES]
    assert readings[0].skipped == {"same-timestamp": 9}
    assert len({tuple(frames_of(one).items()) for one in readings}) == 1


def test_a_video_that_begins_inside_a_group_names_what_comes_before_its_key_frame() -> None:
    seen: list[int] = []

    def later(packet: Any) -> Any:
        seen.append(packet.pts)
        return packet if len(seen) > 3 else None

    reading = read_video(remuxed(video(20), later))
    assert reading.refused["before-key-frame"] == GROUP - 3
    assert len(reading.frames) == 20 - GROUP


def test_the_group_that_is_too_long_is_read_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_frames, "GROUP_PIXELS", 4 * WIDTH * HEIGHT)
    body = video(20, params="keyint=250:bframes=0")
    reading = read_video(body)
    assert (len(reading.frames), reading.refused) == (4, {"group-too-long": 16})
    assert "16 pictures more" in str(reading.tally.topics["front.mp4"].examples)


def test_pictures_above_the_limit_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_frames, "MAX_PIXELS", WIDTH * HEIGHT - 1)
    reading = read_video(video(6))
    assert (reading.frames, reading.refused, reading.tally.unread) == ([], {"chunk-unread": 6}, {"size-wrong": 1})


def test_a_planned_video_needs_few_requests_and_few_other_bytes() -> None:
    body = video(600, streams=2)
    source = Counting(body)
    index = inspect_log(source, "front.mp4")
    assert len(source.reads) <= 5
    one = read_video(body, topics=["front.mp4/0"])
    assert one.source.bytes_read < 1.3 * len(body) + source.bytes_read
    assert len(index.chunks) == 200


def test_work_counts_where_bytes_are_few() -> None:
    index: LogIndex = inspect_log(Counting(video(36)), "front.mp4")
    assert [chunk.group.cost for chunk in index.chunks if chunk.group] == [GROUP * WIDTH * HEIGHT // 100] * 6
    assert all(chunk.cost == max(chunk.length, GROUP * WIDTH * HEIGHT // 100) for chunk in index.chunks)


class Changing(Counting):
    """A log that is overwritten after a number of reads."""

    def __init__(self, body: bytes, left: int) -> None:
        super().__init__(body)
        self.left = left

    def read(self, start: int, length: int) -> bytes:
        if len(self.reads) >= self.left:
            raise LogRefused("log-changed", "it has another ETag")
        return super().read(start, length)


@pytest.mark.parametrize("movflags", ["", FRAGMENTED])
def test_a_video_that_changes_while_it_is_read_ends_the_reading(movflags: str) -> None:
    # Larger than a window, so that a slice needs several requests.
    body = video(1_500, movflags=movflags)
    index = set_start(inspect_log(Counting(body), "front.mp4"), START, "front.mp4")
    part = plan_slices(index, (0,), 1)[-2]
    whole = Counting(body)
    list(extract_frames(whole, index, part, {0: "front"}, Timestamps()))
    for left in range(len(whole.reads)):
        with pytest.raises(LogRefused, match="another ETag"):
            list(extract_frames(Changing(body, left), index, part, {0: "front"}, Timestamps()))


def test_the_time_of_creation_is_taken_where_no_start_is_given_and_is_marked() -> None:
    created = video(4, created="2026-11-22T10:00:00.000000Z")
    index = set_start(inspect_log(Counting(created), "front.mp4"), 0, "front.mp4")
    (part,) = plan_slices(index, (0,), 10**9)
    frame = next(extract_frames(Counting(created), index, part, {0: "c"}, Timestamps()))
    assert isinstance(frame, ExtractedFrame)
    assert (frame.timestamp, frame.clock) == (1_795_341_600 * 10**9, "creation")
    assert frame.note == "unverified start"
    given = read_video(created).frames[0]
    assert (given.timestamp, given.clock, given.note) == (START, "start", "")


@pytest.mark.parametrize("created", ["", "1970-01-01T00:00:00Z", "1980-01-06T00:00:00Z"])
def test_a_video_that_does_not_tell_its_start_is_refused_with_what_to_give(created: str) -> None:
    index = inspect_log(Counting(video(4, created=created)), "front.mp4")
    with pytest.raises(LogRefused, match="give the time of its first frame as its start"):
        set_start(index, 0, "front.mp4")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_damage_of_the_index_is_named_or_read(data: st.DataObject) -> None:
    body = bytearray(video(12, movflags=data.draw(st.sampled_from(("", FRAGMENTED)))))
    first = body.index(b"moov") - 4
    end = body.index(b"moof") + 200 if b"moof" in body else len(body)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(first, end - 4))
        body[at : at + 4] = struct.pack(">I", data.draw(st.sampled_from((0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 1000))))
    with suppress(LogRefused):
        assert len(read_video(bytes(body), 2).frames) <= 24


def test_without_the_library_a_video_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(LogRefused, match="the parameter Video=yes") as refused:
        inspect_log(Counting(video(4)), "front.mp4")
    assert refused.value.reason == "no-video-reader"
