"""Reads the frames of a slice of a video.

Every group of pictures is decoded on its own, from its key frame on, so that slices of any size give the same frames,
also of a damaged file. Pictures behind a key frame that are shown before it belong to the group before, which is
decoded up to them (open groups).
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.ports import ByteSource
from autolabel.labels.image_header import MAX_PIXELS
from autolabel.logs.containers import Place
from autolabel.logs.extraction import Extracted, ExtractedFrame, LeftMessage
from autolabel.logs.index import Chunk, Clock, Group, LogChannel, LogIndex, LogSlice, UnreadRange, VideoTimes
from autolabel.logs.ranges import LOG_CHANGED, MAX_CHUNK_BYTES, join_ranges
from autolabel.logs.selection import Selector
from autolabel.logs.video_decoder import GROUP_PIXELS, Damage, GroupDecoder, Photos, set_strict, video_thumbnail
from autolabel.logs.video_files import RangedFile
from autolabel.logs.videos import MOST_REORDERED, opened_video, read_packets

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream


class FramePlace(Place):
    """The place of a video's frame: the range of its part of the file, and its number in the part."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"frame {self.offset:,} of bytes {self.start:,} to {self.end:,}"


def extract_video(
    source: ByteSource,
    index: LogIndex,
    video: VideoTimes,
    part: LogSlice,
    cameras: Mapping[int, str],
    selector: Selector,
) -> Iterator[Extracted]:
    """Yield the frames of the cameras' streams in a slice: of each in the order of presentation, all by their times."""
    streams = []
    for channel in index.channels:
        chunks = [chunk for chunk in part.chunks if channel.id in (chunk.channels or ())]
        # Other files than MP4 have no list of their packets. Damage hides some, and how many depends on the place from
        # which the file is read.
        runs = [chunks] if index.container == "mp4" and chunks else [[chunk] for chunk in chunks]
        if channel.id in cameras:
            camera = cameras[channel.id]
            readers = [_StreamReader(index, video, channel, camera, run, selector).read(source) for run in runs]
            streams.append(_timed(itertools.chain.from_iterable(readers)))
    for _, item in heapq.merge(*streams, key=lambda timed: timed[0]):
        yield item


def _timed(items: Iterable[Extracted]) -> Iterator[tuple[int, Extracted]]:
    """Yield items with the time of the last frame, so that the streams of a file can be merged."""
    time = 0
    for item in items:
        time = item.timestamp if isinstance(item, ExtractedFrame) else time
        yield time, item


@dataclass
class _Pictures:
    """Packets that are decoded together: a key frame and what follows it, in the order of decoding.

    `key`: the pts of the key frame, None for packets before the first one. `tick`: the time by which the index finds
    it. `ahead`: the next key frame, and the packets behind it that are shown before it and belong here. `beyond`: the
    pts of packets that are too many.
    """

    key: int | None
    tick: int
    packets: list[Packet[VideoStream]] = field(default_factory=list)
    ahead: list[Packet[VideoStream]] = field(default_factory=list)
    beyond: list[int] = field(default_factory=list)
    size: int = 0

    def add(self, packet: Packet[VideoStream], most: int) -> None:
        self.size += packet.size
        if len(self.packets) < most and self.size <= MAX_CHUNK_BYTES and not self.beyond:
            self.packets.append(packet)
        elif not packet.is_discard:
            self.beyond.append(packet.pts or 0)


def _pictures(
    packets: Iterator[Packet[VideoStream]], most: int, *, leading: bool, until: int | None
) -> Iterator[_Pictures]:
    """Group packets by key frames, up to the one of the tick `until`. `most`: packets of a group that are kept.

    `leading`: the first pictures that are shown before the first key frame belong to another slice.
    """
    first = next(packets, None)
    if first is None or (until is not None and _tick(first) >= until):
        return
    now = _begun(first)
    ahead: list[Packet[VideoStream]] = []
    for packet in packets:
        if ahead:
            if not _is_key(packet) and _shown_before(packet, ahead[0].pts):
                ahead.append(packet)
                continue
            now.ahead = ahead
            yield now
            if until is not None and _tick(ahead[0]) >= until:
                return
            now, ahead, leading = _begun(ahead[0]), [], False
        if _is_key(packet):
            ahead = [packet]
        elif not (leading and _shown_before(packet, now.key)):
            leading = False
            now.add(packet, most)
    now.ahead = ahead
    yield now
    if ahead and (until is None or _tick(ahead[0]) < until):
        yield _begun(ahead[0])


def _begun(packet: Packet[VideoStream]) -> _Pictures:
    return _Pictures(packet.pts if _is_key(packet) else None, _tick(packet), [packet], size=packet.size)


def _is_key(packet: Packet[VideoStream]) -> bool:
    return packet.is_keyframe and packet.pts is not None


def _shown_before(packet: Packet[VideoStream], pts: int | None) -> bool:
    return packet.pts is not None and pts is not None and packet.pts < pts


def _tick(packet: Packet[VideoStream]) -> int:
    """Return the time by which the index of a file finds a packet."""
    return next((at for at in (packet.dts, packet.pts) if at is not None), 0)


class _StreamReader:
    """Reads the frames of one stream in neighbouring chunks."""

    def __init__(
        self,
        index: LogIndex,
        video: VideoTimes,
        channel: LogChannel,
        camera: str,
        chunks: Sequence[Chunk],
        selector: Selector,
    ) -> None:
        self._index = index
        self._video = video
        self._channel = channel
        self._camera = camera
        self._chunks = chunks
        self._selector = selector
        groups = [chunk.group or Group() for chunk in chunks]
        self._first, self._last = groups[0], groups[-1]
        self._keys = [group.key for group in groups if group.key is not None]
        self._frames_of: dict[int, int] = {}
        self._photos = Photos()
        self._at = chunks[0]
        self._damage: LogRefused | None = None
        self._unread_from: int | None = None

    def read(self, source: ByteSource) -> Iterator[Extracted]:
        """Yield the frames, the reasons for packets that are none, and what cannot be read."""
        file = RangedFile(source, self._last.reach)
        if self._video.head and self._first.key is not None:
            file.hide(self._video.head, self._chunks[0].start)
        try:
            with opened_video(file, self._index.container, self._channel.topic) as opened:
                yield from self._read(file, opened)
        except LogRefused as e:
            if e.reason == LOG_CHANGED:
                raise
            self._damage = e
        if self._damage:
            start = self._unread_from or self._at.start
            yield UnreadRange(start, self._chunks[-1].end, self._damage.reason, str(self._damage))

    def _read(self, file: RangedFile, opened: InputContainer) -> Iterator[Extracted]:
        stream = next(one for one in opened.streams.video if one.index == self._channel.id)
        decoder = stream.codec_context
        set_strict(decoder)
        if stream.width * stream.height > MAX_PIXELS:
            size = f"{stream.width:,}x{stream.height:,}"
            raise LogRefused("size-wrong", f"its frames have {size} pixels; at most {MAX_PIXELS:,} are read")
        most = max(1, GROUP_PIXELS // max(1, stream.width * stream.height))
        if self._index.container == "mp4":
            file.plan(_sample_ranges(stream, self._first.key, self._last.until))
        else:
            file.plan([(self._at.start, self._chunks[-1].end)])
        packets = self._packets(opened, stream, most)
        inside = self._first.key is not None
        for pictures in _pictures(packets, most, leading=inside, until=self._last.until):
            self._at = self._chunk_of(pictures)
            yield from self._frames(pictures, decoder, self._at)

    def _packets(self, opened: InputContainer, stream: VideoStream, most: int) -> Iterator[Packet[VideoStream]]:
        """Yield the packets from the first chunk's key frame on; at most `most` of a file that may have no index."""
        key = self._first.key
        try:
            packets = read_packets(opened, self._index.container, [stream], key)
            if key is not None:
                packets = itertools.dropwhile(lambda packet: not _is_key(packet) or _tick(packet) < key, packets)
            found = key is None
            for count, packet in enumerate(packets):
                found = found or _tick(packet) == key
                if count == 0 and not found:
                    break
                if count == most and self._index.container != "mp4":
                    self._unread_from = packet.pos
                    raise LogRefused(
                        "video-too-long",
                        f"of a video without an index, {most:,} frames of its size are read: copy it into an MP4 file "
                        "(`ffmpeg -i <file> -c copy <name>.mp4`)",
                    )
                yield packet
            if not found:
                raise LogRefused("video-damaged", "the key frame that the index names cannot be found")
        except LogRefused as e:
            # What came before is decoded first.
            self._damage = e

    def _chunk_of(self, pictures: _Pictures) -> Chunk:
        return self._chunks[bisect_right(self._keys, pictures.tick) - len(self._keys) + len(self._chunks) - 1]

    def _frames(self, pictures: _Pictures, decoder: VideoCodecContext, chunk: Chunk) -> Iterator[Extracted]:
        """Decode a group. Yield a frame or a reason for each of its pictures that is shown."""
        own = [*pictures.packets, *pictures.ahead[1:]]
        shown = sorted((n for n, packet in enumerate(own) if not packet.is_discard), key=lambda n: (own[n].pts or 0, n))
        base = self._frames_of.get(chunk.start, 0)
        self._frames_of[chunk.start] = base + len(shown) + len(pictures.beyond)
        places = {n: FramePlace(chunk.start, chunk.end, base + number) for number, n in enumerate(shown)}
        waiting: dict[int, list[int]] = {}
        for n in shown:
            pts = own[n].pts
            if pictures.key is not None and pts is not None and pts >= pictures.key:
                waiting.setdefault(pts, []).append(n)
        damage = Damage()
        if pictures.beyond:
            damage.add(len(pictures.packets), "it needs pictures that are too many to be read")
        decoder.flush_buffers()
        group = GroupDecoder(decoder, waiting, damage)
        for fed in _fed(pictures):
            for n, frame in group.feed(*fed):
                yield self._frame(own[n], frame, places.pop(n))
        for n, place in places.items():
            yield LeftMessage(self._channel.topic, *_why(own[n], n, pictures, damage), place)
        for number in range(len(pictures.beyond)):
            place = FramePlace(chunk.start, chunk.end, base + len(shown) + number)
            detail = f"it has {len(pictures.beyond):,} pictures more than are read without a key frame"
            yield LeftMessage(self._channel.topic, "group-too-long", detail, place)

    def _frame(self, packet: Packet[VideoStream], frame: VideoFrame, place: FramePlace) -> Extracted:
        shown = (packet.pts or 0) * packet.time_base - Fraction(*self._video.origin)
        timestamp = self._video.start + round(shown * 1_000_000_000)
        clock: Clock = "start" if self._video.verified else "creation"
        try:
            self._selector.check(self._camera, timestamp, partial(video_thumbnail, frame))
            image = self._photos.file(frame)
            self._selector.take(self._camera, timestamp)
        except LogRefused as e:
            return LeftMessage(self._channel.topic, e.reason, str(e), place)
        note = ", ".join(filter(None, (image.note, "" if self._video.verified else "unverified start")))
        stream = f"stream {self._channel.id}, " if len(self._index.channels) > 1 else ""
        where = f"{stream}{float(shown):.6f} s"
        topic = self._channel.topic
        return ExtractedFrame(self._camera, timestamp, image.extension, image.body, topic, place, clock, note, where)


def _why(packet: Packet[VideoStream], n: int, pictures: _Pictures, damage: Damage) -> tuple[str, str]:
    """Say why a packet gave no frame: a stable word, and a sentence."""
    if packet.pts is None:
        return "no-time", "the file tells no time of it"
    if pictures.key is None or packet.pts < pictures.key:
        return "before-key-frame", "it needs pictures before the first key frame"
    return damage.why(n)


def _fed(pictures: _Pictures) -> Iterator[tuple[int, Packet[VideoStream] | None]]:
    """Yield what the decoder gets of a group, with the numbers of the packets; None at the end."""
    if pictures.key is None:
        return
    count = len(pictures.packets)
    yield from ((n, one) for n, one in enumerate(pictures.packets) if not _shown_before(one, pictures.key))
    if len(pictures.ahead) > 1:
        yield from enumerate(pictures.ahead, count - 1)
    yield count, None


def _sample_ranges(stream: VideoStream, key: int | None, until: int | None) -> list[tuple[int, int]]:
    """Return the ranges of a stream's samples between two key frames, and of some behind, which may be shown before."""
    entries = stream.index_entries
    first = 0 if key is None else max(0, entries.search_timestamp(key))
    last = len(entries) if until is None else entries.search_timestamp(until) + MOST_REORDERED
    ranges = sorted((entry.pos, entry.pos + entry.size) for entry in entries[first:last])
    return join_ranges(ranges)
