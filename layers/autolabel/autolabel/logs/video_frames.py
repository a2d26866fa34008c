"""Reads the frames of a slice of a video.

Every group of pictures is decoded on its own, from its key frame on, so that slices of any size give the same frames,
also of a damaged file. Pictures behind a key frame that are shown before it belong to the group before, which is
decoded up to them (open groups).
"""

from __future__ import annotations

import heapq
import itertools
import struct
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.ports import ByteSource
from autolabel.labels.image_header import MAX_PIXELS
from autolabel.logs.containers import Place
from autolabel.logs.extraction import Extracted, ExtractedFrame, LeftMessage
from autolabel.logs.index import Chunk, Clock, Group, LogChannel, LogIndex, LogSlice, UnreadRange, VideoTimes
from autolabel.logs.ranges import LOG_CHANGED, MAX_CHUNK_BYTES, join_ranges
from autolabel.logs.selection import THUMBNAIL, Selector
from autolabel.logs.video_files import RangedFile
from autolabel.logs.videos import GROUP_PIXELS, MOST_REORDERED, opened_video, read_packets

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
        self._turns: dict[int, int | None] = {}
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
        # A slice has one core. The size of a picture is checked before memory is taken for it. Strictly, the decoder
        # waits for all pictures that may be shown first, and does not learn from drops how many those are.
        decoder.thread_count = 1
        decoder.options = {"max_pixels": str(MAX_PIXELS), "strict": "strict"}
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
        damage = _Damage()
        if pictures.beyond:
            damage.add(len(pictures.packets), "it needs pictures that are too many to be read")
        for n, frame in _decoded(decoder, pictures, waiting, damage):
            if n < damage.first:
                yield self._frame(own[n], frame, places.pop(n))
        for n, place in places.items():
            yield LeftMessage(self._channel.topic, *_why(own[n], n, pictures, damage), place)
        for number in range(len(pictures.beyond)):
            place = FramePlace(chunk.start, chunk.end, base + len(shown) + number)
            detail = f"it has {len(pictures.beyond):,} pictures more than are read without a key frame"
            yield LeftMessage(self._channel.topic, "group-too-long", detail, place)

    def _frame(self, packet: Packet[VideoStream], frame: VideoFrame, place: FramePlace) -> Extracted:
        # numpy takes tenths of a second to import, and the command is often run for something else.
        from autolabel.logs.pictures import photo_file

        shown = (packet.pts or 0) * packet.time_base - Fraction(*self._video.origin)
        timestamp = self._video.start + round(shown * 1_000_000_000)
        clock: Clock = "start" if self._video.verified else "creation"
        try:
            self._selector.check(self._camera, timestamp, partial(_thumbnail, frame))
            image = photo_file(frame.to_ndarray(format="rgb24"), self._turns_of(frame))
            self._selector.take(self._camera, timestamp)
        except LogRefused as e:
            return LeftMessage(self._channel.topic, e.reason, str(e), place)
        note = ", ".join(filter(None, (image.note, "" if self._video.verified else "unverified start")))
        stream = f"stream {self._channel.id}, " if len(self._index.channels) > 1 else ""
        where = f"{stream}{float(shown):.6f} s"
        topic = self._channel.topic
        return ExtractedFrame(self._camera, timestamp, image.extension, image.body, topic, place, clock, note, where)

    def _turns_of(self, frame: VideoFrame) -> int:
        # The library ties a frame and its side data into a cycle, so that each that is asked for it stays in memory.
        rotation = frame.rotation
        if rotation not in self._turns:
            self._turns[rotation] = _turns(frame)
        turns = self._turns[rotation]
        if turns is None:
            raise LogRefused("rotated", "the video says that its frames are shown mirrored or askew")
        return turns


def _thumbnail(frame: VideoFrame) -> bytes:
    width, height = THUMBNAIL
    return frame.reformat(width, height, "gray", interpolation="AREA").to_ndarray().tobytes()


def _why(packet: Packet[VideoStream], n: int, pictures: _Pictures, damage: _Damage) -> tuple[str, str]:
    """Say why a packet gave no frame: a stable word, and a sentence."""
    if packet.pts is None:
        return "no-time", "the file tells no time of it"
    if pictures.key is None or packet.pts < pictures.key:
        return "before-key-frame", "it needs pictures before the first key frame"
    if n >= damage.first:
        return "frame-damaged", damage.detail or "it is damaged, or needs a damaged picture"
    return "not-decoded", "the decoder gives no picture of it"


@dataclass
class _Damage:
    """The first packet of a group, in the order of decoding, that is damaged. Later ones may need its picture."""

    first: int = 1 << 62
    detail: str = ""

    def add(self, n: int, detail: str) -> None:
        if n < self.first:
            self.first, self.detail = n, detail


def _decoded(
    decoder: VideoCodecContext, pictures: _Pictures, waiting: Mapping[int, list[int]], damage: _Damage
) -> Iterator[tuple[int, VideoFrame]]:
    """Decode a group from a fresh start. Yield its pictures with the numbers of their packets, in their order.

    `waiting`: the numbers of the packets that are wanted, by their pts; they are taken out.
    """
    import av

    count = len(pictures.packets)
    fed = [(n, one) for n, one in enumerate(pictures.packets) if not _shown_before(one, pictures.key)]
    if len(pictures.ahead) > 1:
        fed += enumerate(pictures.ahead, count - 1)
    decoder.flush_buffers()
    held: deque[tuple[int, VideoFrame]] = deque()
    for n, packet in (*fed, (count, None)) if pictures.key is not None else ():
        frames: list[VideoFrame] = []
        if packet is not None and packet.is_corrupt:
            damage.add(n, "the file ends inside it, or a part of it was lost")
        else:
            try:
                frames = decoder.decode(packet)
            except av.error.FFmpegError as e:
                damage.add(n, f"it cannot be decoded: {e.strerror}")
        for frame in frames:
            numbers = waiting.get(frame.pts) if frame.pts is not None else None
            if numbers:
                number = numbers.pop(0)
                if frame.is_corrupt:
                    damage.add(number, "it was completed from other pictures")
                held.append((number, frame))
        # Pictures that need a damaged one may be shown before it.
        while len(held) > decoder.reorder_depth + 1:
            yield held.popleft()
    yield from held


def _turns(frame: VideoFrame) -> int | None:
    """Return how many quarters a picture must be turned left to be shown upright; None if it is mirrored or askew."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if not data:
        return 0
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
    scale = max(abs(a), abs(b)) or 1
    turns = {(1, 0, 0, 1): 0, (0, -1, 1, 0): 1, (-1, 0, 0, -1): 2, (0, 1, -1, 0): 3}
    return turns.get(tuple(round(value / scale, 3) for value in (a, b, c, d)))


def _sample_ranges(stream: VideoStream, key: int | None, until: int | None) -> list[tuple[int, int]]:
    """Return the ranges of a stream's samples between two key frames, and of some behind, which may be shown before."""
    entries = stream.index_entries
    first = 0 if key is None else max(0, entries.search_timestamp(key))
    last = len(entries) if until is None else entries.search_timestamp(until) + MOST_REORDERED
    ranges = sorted((entry.pos, entry.pos + entry.size) for entry in entries[first:last])
    return join_ranges(ranges)
