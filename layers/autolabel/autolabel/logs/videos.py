"""Opens video files, and reads their index: streams, times, and the key frames at which they are cut."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.ports import ByteSource
from autolabel.logs.index import (
    VIDEO_STREAM,
    Chunk,
    Group,
    LogChannel,
    LogIndex,
    UnreadRange,
    VideoTimes,
)
from autolabel.logs.kinds import Container
from autolabel.logs.schemas import VIDEO_CODECS
from autolabel.logs.video_files import Boxes, RangedFile, walk_boxes

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer
    from av.video.stream import VideoStream

# The reader of each container. It is given, so that a file cannot choose one that opens other files.
_READERS: Mapping[Container, str] = {"mp4": "mov"}
# A core decodes and encodes a hundred million pixels a second, and the work of a slice is measured in bytes: at this
# rate the default of 128 MiB takes about two minutes.
_PIXELS_PER_BYTE = 100
# The most that is decoded of one group: ten minutes of 1920x1080 at 30 Hz without a key frame, and seven of a core.
GROUP_PIXELS = 40_000_000_000
_READ_AT_ONCE = 256 * 1024
# The most pictures that are decoded before one that is shown earlier, in H.264 and H.265.
MOST_REORDERED = 16
# What is read of the data to find the first frame that is shown: a key frame, and some that come before others.
_FIRST_BYTES = 2 * 1024 * 1024
# Where several streams begin, their first packets are near each other.
_MOST_FIRST_PACKETS = 100
# Clocks that were never set begin with 1904, 1970 or 1980.
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def inspect_video(source: ByteSource, container: Container, name: str) -> LogIndex:
    """Read the index of a video: at most five requests for an MP4 file, and one for each fragment of a fragmented one.

    LogRefused for a video that cannot be read, or has no stream of pictures.
    """
    file = RangedFile(source)
    boxes = _mp4_boxes(file, name)
    fragments = [box.start for box in boxes.of(b"moof")]
    # The library opens no file that ends inside another box than that of the data.
    file.size = min(boxes.found[-1].end, source.size)
    for box in boxes.of(b"sidx"):
        # With such an index the library would not look for fragments before it needs them.
        file.hide(box.start, box.end)
    moov = boxes.of(b"moov")[0]
    file.plan([(moov.start, moov.end), *((box.start, box.start + _FIRST_BYTES) for box in boxes.of(b"mdat")[:1])])
    with opened_video(file, container, name) as opened:
        streams = _streams(opened, name)
        log = name.rpartition("/")[2]
        channels, parts = [], []
        for stream in streams:
            topic = log if len(streams) == 1 else f"{log}/{stream.index}"
            channels.append(LogChannel(stream.index, topic, f"{_codec(stream)} video", VIDEO_STREAM, "", b""))
            if _codec(stream) in VIDEO_CODECS:
                parts.append(_parts(stream, file.size, fragments))
        first = _first_shown(opened, [stream for stream in streams if _codec(stream) in VIDEO_CODECS])
        times = VideoTimes(first.as_integer_ratio(), _created(opened), head=moov.end if fragments else 0)
    # How many frames are in fragments that cannot be found is not known.
    lost = boxes.damage and (fragments or not any(part.frames for part in parts))
    counts = None if lost else {part.stream: part.frames for part in parts}
    unread = [part.unread for part in parts if part.unread]
    if boxes.damage and lost and not unread:
        unread = [UnreadRange(boxes.end, source.size, boxes.damage.reason, str(boxes.damage))]
    chunks = sorted((chunk for part in parts for chunk in part.chunks), key=lambda chunk: (chunk.start, chunk.channels))
    return LogIndex(container, source.size, tuple(channels), tuple(chunks), counts, unread=tuple(unread), video=times)


@contextmanager
def opened_video(file: RangedFile, container: Container, name: str) -> Iterator[InputContainer]:
    """Open a file. What its source raises is raised, also where the library goes on."""
    try:
        import av
    except ImportError as e:
        raise LogRefused(
            "no-video-reader",
            f"{name} is a video, and the package av, which reads videos, is not here: deploy the stack with the "
            "parameter Video=yes, or install autolabel with its extra video",
        ) from e
    try:
        # It need not look at frames, since the index tells all; and must not, since damaged key frames are key frames.
        options = {"probesize": "32", "analyzeduration": "0", "fflags": "noparse"}
        opened = av.open(
            file,
            "r",
            format=_READERS[container],
            options=options,
            metadata_errors="replace",
            buffer_size=_READ_AT_ONCE,
        )
    except av.error.FFmpegError as e:
        raise file.failed or LogRefused("video-damaged", f"{name} cannot be opened as a video: {e.strerror}") from e
    with opened:
        yield opened
    if file.failed:
        raise file.failed


def _mp4_boxes(file: RangedFile, name: str) -> Boxes:
    boxes = walk_boxes(file)
    moov = boxes.of(b"moov")
    if not moov or moov[0].end > file.size:
        why = f"; {boxes.damage}" if boxes.damage else ""
        raise LogRefused(
            "moov-missing",
            f"{name} lacks its index (moov), which recorders write last, so none of its frames can be found{why}: "
            "upload it again if its upload was cut, or repair it by a whole video of the same camera",
        )
    return boxes


def _streams(opened: InputContainer, name: str) -> list[VideoStream]:
    """Return the streams of moving pictures; a cover is none."""
    from av.stream import Disposition

    streams = [stream for stream in opened.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        raise LogRefused("no-camera", f"{name} has no stream of pictures")
    return streams


def _codec(stream: VideoStream) -> str:
    # There is no context for a codec that the library does not know.
    return stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"


def _created(opened: InputContainer) -> int:
    """Return the time of creation that the file tells, in ns since the epoch; 0 if it tells none that can be right."""
    try:
        at = datetime.fromisoformat(opened.metadata.get("creation_time", ""))
    except ValueError:
        return 0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return ((at - _EPOCH) // (at.resolution)) * 1000 if at >= _EARLIEST else 0


def _first_shown(opened: InputContainer, streams: Sequence[VideoStream]) -> Fraction:
    """Return the time of the first frame of all streams that is shown, in seconds."""
    first: dict[int, Fraction] = {}
    keys: dict[int, int] = {}
    unsettled = {stream.index for stream in streams}
    packets = read_packets(opened, streams) if streams else iter(())
    for packet in itertools.islice(packets, _MOST_FIRST_PACKETS):
        index, pts = packet.stream_index, packet.pts
        if pts is None or not (packet.is_keyframe or index in keys):
            continue
        # Pictures that are shown before the first key frame cannot be decoded.
        if pts < keys.setdefault(index, pts) or packet.is_discard:
            continue
        first[index] = min(first.get(index, pts * packet.time_base), pts * packet.time_base)
        # No packet that comes later in the file is shown before its time of decoding.
        if packet.dts is not None and packet.dts * packet.time_base >= first[index]:
            unsettled.discard(index)
        if not unsettled:
            break
    return min(first.values(), default=Fraction(0))


def read_packets(
    opened: InputContainer, streams: Sequence[VideoStream], key: int | None = None
) -> Iterator[Packet[VideoStream]]:
    """Yield the packets of streams, in their order in the file. LogRefused if the file cannot be read any further.

    `key`: the tick of the key frame to begin at, of a single stream.
    """
    import av
    from av.stream import Discard

    for stream in opened.streams:
        if stream.index not in {one.index for one in streams}:
            # Else the packets of the others would be read as well.
            stream.discard = Discard.all
    try:
        if key is not None:
            opened.seek(key, stream=streams[0])
        for packet in opened.demux(tuple(streams)):
            if packet.size:
                yield packet
    except av.error.FFmpegError as e:
        raise LogRefused("video-damaged", f"the video cannot be read any further: {e.strerror}") from e


class _Parts(NamedTuple):
    """The chunks of a stream. `frames`: those that are shown. `unread`: frames that the index lists in vain."""

    stream: int
    chunks: list[Chunk]
    frames: int
    unread: UnreadRange | None


@dataclass
class _Gathered:
    """Samples of a stream that a slice can begin with."""

    key: int | None
    start: int
    end: int
    samples: int = 0


def _parts(stream: VideoStream, size: int, fragments: Sequence[int]) -> _Parts:
    """Cut a stream of an MP4 file at its key frames; at those that a fragment begins with, if it has fragments."""
    gathered: list[_Gathered] = []
    shown = behind = 0
    first_behind, fragment = size, -1
    for entry in stream.index_entries:
        shown += not entry.is_discard
        if entry.pos + entry.size > size:
            behind += not entry.is_discard
            first_behind = min(first_behind, entry.pos)
            continue
        earlier, fragment = fragment, bisect_right(fragments, entry.pos) - 1
        if not gathered or (entry.is_keyframe and (not fragments or fragment != earlier)):
            start = fragments[fragment] if fragments else entry.pos
            gathered.append(_Gathered(entry.timestamp if gathered else None, start, start))
        last = gathered[-1]
        last.start = min(last.start, entry.pos)
        last.end = max(last.end, entry.pos + entry.size)
        last.samples += 1
    pixels = stream.width * stream.height
    chunks = []
    for part, following in itertools.zip_longest(gathered, gathered[1:]):
        reach = following.end if following and fragments else size
        cost = part.samples * pixels // _PIXELS_PER_BYTE
        group = Group(part.key, following.key if following else None, reach, cost)
        chunks.append(Chunk(part.start, part.end - part.start, (stream.index,), group=group))
    detail = f"{behind:,} of the {shown:,} frames that its index lists are behind the file's end"
    unread = UnreadRange(min(first_behind, size), size, "log-cut-off", detail) if behind else None
    return _Parts(stream.index, chunks, shown, unread)
