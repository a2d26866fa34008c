"""Opens video files, and reads their index: streams, times, and the key frames at which they are cut."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.ports import ByteSource
from autolabel.logs.index import (
    PIXELS_PER_BYTE,
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
from autolabel.logs.video_decoder import check_reader
from autolabel.logs.video_files import Box, RangedFile, walk_boxes

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer
    from av.video.stream import VideoStream

# The reader of each container. It is given, so that a file cannot choose one that opens other files.
_READERS: Mapping[Container, str] = {"mp4": "mov", "matroska": "matroska", "mpegts": "mpegts"}
_READ_AT_ONCE = 256 * 1024
# A day of frames at 30 Hz has 2.6 million samples, each of 12 to 24 bytes in the index.
_MOST_SAMPLES = 5_000_000
_MOST_INDEX = 128 * 1024 * 1024
# The most pictures that are decoded before one that is shown earlier, in H.264 and H.265.
MOST_REORDERED = 16
# What is read of the data to find the first frame that is shown: a key frame, and some that come before others.
_FIRST_BYTES = 2 * 1024 * 1024
# The header of a Matroska file, and the mark of the segment that follows it.
_MATROSKA_HEAD = 4096
_SEGMENT = b"\x18\x53\x80\x67"
# Where several streams begin, their first packets are near each other.
_MOST_FIRST_PACKETS = 100
# Clocks that were never set begin with 1904, 1970 or 1980.
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def inspect_video(source: ByteSource, container: Container, name: str) -> LogIndex:
    """Read the index of a video: at most five requests for an MP4 file, and one for each fragment of a fragmented one.

    Matroska files are cut at their cues. What has no index is one chunk. LogRefused for a video that cannot be read, or
    has no stream of pictures.
    """
    file = RangedFile(source)
    head, fragments, damage = _read_mp4(file, name) if container == "mp4" else (0, [], _matroska_cut(file, container))
    with opened_video(file, container, name) as opened:
        streams = _streams(opened, name)
        readable = [stream for stream in streams if _codec(stream) in VIDEO_CODECS]
        log = name.rpartition("/")[2]
        channels = tuple(
            LogChannel(
                stream.index,
                log if len(streams) == 1 else f"{log}/{stream.index}",
                f"{_codec(stream)} video",
                VIDEO_STREAM,
                "",
                b"",
            )
            for stream in streams
        )
        first = _first_shown(opened, container, readable)
        times = VideoTimes(first.as_integer_ratio(), _created(opened), head=head)
        if container == "mp4":
            parts = [_parts(stream, file.size, fragments) for stream in readable]
        else:
            parts = [_cued(opened, stream, file.size) for stream in readable]
    unread = [part.unread for part in parts if part.unread]
    known = all(part.frames is not None for part in parts)
    if damage and not unread and (container != "mp4" or fragments or not any(part.frames for part in parts)):
        # How many frames are in what cannot be found is not known.
        unread, known = [damage], False
    counts = {part.stream: part.frames or 0 for part in parts} if known else None
    chunks = sorted((chunk for part in parts for chunk in part.chunks), key=lambda chunk: (chunk.start, chunk.channels))
    return LogIndex(container, source.size, channels, tuple(chunks), counts, unread=tuple(unread), video=times)


@contextmanager
def opened_video(file: RangedFile, container: Container, name: str) -> Iterator[InputContainer]:
    """Open a file. What its source raises is raised, also where the library goes on."""
    check_reader(f"{name} is a video")
    import av

    try:
        # It need not look at frames, since the index tells all; and must not, since damaged key frames are key frames.
        told = {"probesize": "32", "analyzeduration": "0", "fflags": "noparse"}
        options = {} if container == "mpegts" else told
        file.seek(0)
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


def _read_mp4(file: RangedFile, name: str) -> tuple[int, list[int], UnreadRange | None]:
    """Find the index of an MP4 file, and plan its reading.

    Returns where the head of a fragmented file ends, where its fragments begin, and what is damaged or cut off behind
    the last whole box. LogRefused if there is no index.
    """
    boxes, end = walk_boxes(file), file.size
    moov = next(iter(boxes.of(b"moov")), None)
    if moov is None or moov.end > file.size:
        why = f"; {boxes.damage}" if boxes.damage else ""
        raise LogRefused(
            "moov-missing",
            f"{name} lacks its index (moov), which recorders write last, so none of its frames can be found{why}: "
            "upload it again if its upload was cut, or repair it by a whole video of the same camera",
        )
    _check_samples(file, moov, name)
    # The library opens no file that ends inside another box than that of the data.
    file.size = min(boxes.found[-1].end, end)
    for box in boxes.of(b"sidx"):
        # With such an index the library would not look for fragments before it needs them.
        file.hide(box.start, box.end)
    file.plan([(moov.start, moov.end), *((box.start, box.start + _FIRST_BYTES) for box in boxes.of(b"mdat")[:1])])
    fragments = boxes.of(b"moof")
    damage = UnreadRange(boxes.end, end, boxes.damage.reason, str(boxes.damage)) if boxes.damage else None
    if fragments and not _tells_its_time(file, fragments[0]):
        return 0, [fragments[0].start], damage
    return moov.end if fragments else 0, [box.start for box in fragments], damage


def _check_samples(file: RangedFile, moov: Box, name: str) -> None:
    """Refuse an index of very many samples: the library keeps each of them in memory."""
    if moov.end - moov.start > _MOST_INDEX:
        raise LogRefused("index-too-large", f"the index of {name} has {moov.end - moov.start:,} bytes")
    file.seek(moov.start)
    body = _read_whole(file, moov.end - moov.start)
    at = body.find(b"stsz")
    while at >= 0:
        # Version and flags, the size of all samples or 0, and their number.
        count = int.from_bytes(body[at + 12 : at + 16], "big")
        if count > _MOST_SAMPLES and not _is_plain_sound(body, at):
            raise LogRefused("index-too-large", f"the index of {name} states {count:,} samples")
        at = body.find(b"stsz", at + 4)


def _is_plain_sound(index: bytes, sizes: int) -> bool:
    """Check whether samples are sound without compression. The library keeps larger parts of such sound.

    `sizes`: where the list of their sizes is. The kind of the track and the list of durations come before it.
    """
    track, durations = index.rfind(b"hdlr", 0, sizes), index.rfind(b"stts", 0, sizes)
    kind, one_each = index[track + 12 : track + 16], index[durations + 8 : durations + 20]
    return kind == b"soun" and (one_each[:4], one_each[8:]) == (b"\0\0\0\x01", b"\0\0\0\x01")


def _read_whole(file: RangedFile, length: int) -> bytes:
    body = b""
    while len(body) < length and (more := file.read(length - len(body))):
        body += more
    return body


def _tells_its_time(file: RangedFile, fragment: Box) -> bool:
    """Check whether a fragment has a time of its own, so that it can be read without those before it."""
    file.seek(fragment.start)
    return b"tfdt" in _read_whole(file, fragment.end - fragment.start)


def _matroska_cut(file: RangedFile, container: Container) -> UnreadRange | None:
    """Tell by the size of a Matroska file's segment whether the file was cut off."""
    if container != "matroska":
        return None
    head = file.read(_MATROSKA_HEAD)
    at = head.find(_SEGMENT) + len(_SEGMENT)
    if at < len(_SEGMENT) or len(head) < at + 8 or not head[at]:
        return None
    # The first byte's leading zeros tell how many bytes the number has.
    length = 9 - head[at].bit_length()
    size = int.from_bytes(head[at : at + length], "big") - (1 << 7 * length)
    unknown = size == (1 << 7 * length) - 1
    missing = at + length + size - file.size
    if unknown or missing <= 0:
        return None
    return UnreadRange(file.size, file.size + missing, "log-cut-off", f"the file lacks its last {missing:,} bytes")


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


def _first_shown(opened: InputContainer, container: Container, streams: Sequence[VideoStream]) -> Fraction:
    """Return the time of the first frame of all streams that is shown, in seconds."""
    first: dict[int, Fraction] = {}
    keys: dict[int, int] = {}
    unsettled = {stream.index for stream in streams}
    packets = read_packets(opened, container, streams) if streams else iter(())
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
    opened: InputContainer, container: Container, streams: Sequence[VideoStream], key: int | None = None
) -> Iterator[Packet[VideoStream]]:
    """Yield the packets of streams, in their order in the file. LogRefused if the file cannot be read any further.

    `key`: the tick of the key frame to begin at, of a single stream. The tick of a packet is its dts.
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
                if container != "mp4":
                    # These are found by the time at which they are shown.
                    packet.dts = packet.pts
                yield packet
    except av.error.FFmpegError as e:
        raise LogRefused("video-damaged", f"the video cannot be read any further: {e.strerror}") from e


class _Parts(NamedTuple):
    """The chunks of a stream. `unread`: frames that the index lists in vain.

    `frames`: the number of those that are shown, None if the file does not tell it.
    """

    stream: int
    chunks: list[Chunk]
    frames: int | None
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
        cost = part.samples * pixels // PIXELS_PER_BYTE
        group = Group(part.key, following.key if following else None, reach, cost)
        chunks.append(Chunk(part.start, part.end - part.start, (stream.index,), group=group))
    detail = f"{behind:,} of the {shown:,} frames that its index lists are behind the file's end"
    unread = UnreadRange(min(first_behind, size), size, "log-cut-off", detail) if behind else None
    return _Parts(stream.index, chunks, shown, unread)


def _cued(opened: InputContainer, stream: VideoStream, size: int) -> _Parts:
    """Cut a stream of a Matroska file at its cues; one without cues, or of an MPEG transport stream, is one chunk."""
    import av

    with suppress(av.error.FFmpegError):
        # The library reads the cues when it looks for a time.
        opened.seek(0, stream=stream)
    cues: list[tuple[int, int]] = []
    for entry in stream.index_entries:
        if entry.is_keyframe and (not cues or (entry.pos > cues[-1][0] and entry.timestamp > cues[-1][1])):
            cues.append((entry.pos, entry.timestamp))
    rate = (stream.average_rate or 0) * (stream.time_base or 0) * stream.width * stream.height / PIXELS_PER_BYTE
    chunks: list[Chunk] = []
    # The first chunk begins with the file, the last one ends with it.
    for (start, key), following in itertools.zip_longest([(0, 0), *cues[1:]], cues[1:]):
        end, until = following or (size, None)
        cost = 0 if until is None else round((until - key) * rate)
        group = Group(key if chunks else None, until, size, cost)
        chunks.append(Chunk(start, end - start, (stream.index,), group=group))
    return _Parts(stream.index, chunks, None, None)
