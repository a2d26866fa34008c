"""Defines the index of a log: its channels and chunks; and cuts it into slices."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import Literal

import msgspec

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.ports import ByteSource
from autolabel.logs.kinds import Container

# What tells the time of a frame: the message's own header, the recorder, the file's name or a list of times beside it,
# or only its place among the others; of a video, the start that was given, or its time of creation.
Clock = Literal["header", "log", "name", "assumed", "start", "creation"]
# The encoding of a channel that is a stream of a video file.
VIDEO_STREAM = "video"
# The types of messages that are the pictures of a video: in Foxglove's protobuf, in ROS 2 and in ROS 1.
MESSAGE_VIDEOS = frozenset(
    {"foxglove.CompressedVideo", "foxglove_msgs/msg/CompressedVideo", "foxglove_msgs/CompressedVideo"}
)
# A core decodes and encodes a hundred million pixels a second, and the work of a slice is measured in bytes: at this
# rate the default of 128 MiB takes about two minutes.
PIXELS_PER_BYTE = 100
# An index does not tell the size of the pictures in messages.
_ASSUMED_PIXELS = 1920 * 1080
# The reason of a refusal that ends when the start of a video is given.
START_MISSING = "start-missing"


# The most cost of a slice whose frames are selected: of messages, and of videos and images. A selection begins anew
# with each slice, so slices are as large as one call can extract: of 100 MB of messages a second, ten seconds.
SELECTED_BYTES, SELECTED_PICTURE_BYTES = 1024 * 1024 * 1024, 256 * 1024 * 1024


class LogChannel(msgspec.Struct, frozen=True):
    """A channel of MCAP, a connection of a ROS 1 bag or a stream of a video. Several channels can have one topic.

    `schema`: the name of its messages' type; `definition`: the type's text or descriptor, in `schema_encoding`.
    `encoding`: the serialisation of its messages.
    """

    id: int
    topic: str
    schema: str
    encoding: str
    schema_encoding: str
    definition: bytes


class Group(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker needs to read a chunk of a video, which begins with a key frame.

    `key`: the key frame's tick, by which it is found, None at the video's start; `until`: that of the next chunk, None
    for the last one. `reach`: the end of the bytes that its frames may need. `cost`: of reading and decoding it, as the
    bytes of a log that would take as long.
    """

    key: int | None = None
    until: int | None = None
    reach: int = 0
    cost: int = 0


class Member(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file of an archive. `clock`: of its time; `crc`: None if there is none; `stored`: it is not compressed."""

    name: str
    size: int
    clock: Clock
    crc: int | None = None
    stored: bool = True


class Within(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a log is in the archive that holds it: at `start`, with `length` bytes.

    `deflated`: its bytes there, if a zip compresses it; `gzip`: it is in what the gzip file unpacks to.
    """

    start: int
    length: int
    deflated: int = 0
    gzip: bool = False

    @property
    def compressed(self) -> bool:
        return self.gzip or self.deflated > 0


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """A range of a log that is read at once: `length` bytes from `start`.

    `channels`: those with messages in it; None if that is unknown. `first` and `last`: log times in ns, 0 if unknown.
    `compression`: None if it is unknown. `index_start` and `index_length`: the range of its message index; 0 without
    one. `bare`: a run of records outside of chunks. `group`: of a video. `member`: of an archive.

    `size`: the bytes of the log that reading it takes, where `start` and `length` count rows.
    """

    start: int
    length: int
    channels: tuple[int, ...] | None = None
    first: int = 0
    last: int = 0
    compression: str | None = None
    index_start: int = 0
    index_length: int = 0
    bare: bool = False
    group: Group | None = None
    size: int = 0
    member: Member | None = None

    @property
    def end(self) -> int:
        return self.start + self.length

    @property
    def cost(self) -> int:
        """The bytes of a log that take as long to read."""
        return max(self.length, self.group.cost) if self.group else self.size or self.length

    def may_hold(self, channels: Collection[int]) -> bool:
        return self.channels is None or any(channel in channels for channel in self.channels)


class UnreadRange(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is in a log from `start` to before `end`, and cannot be read; `reason` is a stable word.

    `unit`: what is counted, bytes or rows.
    """

    start: int
    end: int
    reason: str
    detail: str
    unit: str = "bytes"


class VideoTimes(msgspec.Struct, frozen=True, omit_defaults=True):
    """The times of a video's frames: `start` at the first frame that is shown, at `origin` seconds (a fraction).

    `created`: the time of creation that the file tells; 0 if it tells none. `start` is 0 until it is known, and
    `verified` if it does not come from `created`. Both are ns since the epoch. `head`: the end of what a fragmented
    file has before its first fragment; 0 for other files.
    """

    origin: tuple[int, int]
    created: int = 0
    start: int = 0
    verified: bool = False
    head: int = 0


class LogIndex(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a log holds. The chunks are in the order of their places.

    `counts`: the messages of each channel; None if the log tells no counts. `rebuilt`: why the index was made by a
    walk through the log; empty if it is the log's own. `unread`: what could not be read. `video`: of a video.
    `within`: where the log is, if an archive holds it; all places are in the log. `others`: the files of an archive
    that are neither images nor the log.
    """

    container: Container
    size: int
    channels: tuple[LogChannel, ...]
    chunks: tuple[Chunk, ...]
    counts: dict[int, int] | None = None
    rebuilt: str = ""
    unread: tuple[UnreadRange, ...] = ()
    video: VideoTimes | None = None
    within: Within | None = None
    others: int = 0


class LogSlice(msgspec.Struct, frozen=True):
    """A part of a log that one worker reads: the chunks of a run that may hold the chosen channels."""

    number: int
    chunks: tuple[Chunk, ...]


class PartOfSource:
    """The bytes of a log in an archive."""

    def __init__(self, source: ByteSource, within: Within) -> None:
        """LogRefused if the range is not in the source."""
        self.size = within.length
        self._start = within.start
        self._source = source
        if within.start + within.length > source.size:
            raise LogRefused("log-cut-off", "the archive is cut off inside the log")

    def read(self, start: int, length: int) -> bytes:
        return self._source.read(self._start + start, length)


def plan_slices(
    index: LogIndex, channels: Collection[int], max_bytes: int, *, selected: bool = False
) -> tuple[LogSlice, ...]:
    """Cut the chunks that may hold the channels into runs of at most `max_bytes`, or of one larger chunk.

    A chunk that takes longer than its bytes counts as more of them. Messages that are pictures of a video do, if the
    log counts them. `selected`: there is a selection of frames, so the slices have a size of their own, and images of
    an archive come by camera and time.
    """
    videos = {channel.id for channel in index.channels if channel.id in channels and channel.schema in MESSAGE_VIDEOS}
    pictures = sum((index.counts or {}).get(channel, 0) for channel in videos)
    holding = sum(chunk.may_hold(videos) for chunk in index.chunks)
    decoding = pictures * _ASSUMED_PIXELS // PIXELS_PER_BYTE // max(1, holding)
    chunks: Sequence[Chunk] = index.chunks
    if selected:
        images = bool(chunks and chunks[0].member)
        max_bytes = SELECTED_PICTURE_BYTES if index.video or images or videos else SELECTED_BYTES
        # Tools pack files in any order. A compressed tar can only be read from its start.
        if images and index.container != "gzip":
            chunks = sorted(chunks, key=lambda chunk: (chunk.channels or (), chunk.first, chunk.start))
    if index.container == "gzip" or (index.within and index.within.compressed):
        # It is read from its start, so each slice would unpack it again.
        max_bytes = sys.maxsize
    runs: list[list[Chunk]] = []
    room = 0
    for chunk in chunks:
        if not chunk.may_hold(channels):
            continue
        cost = max(chunk.cost, decoding) if chunk.may_hold(videos) else chunk.cost
        if not runs or cost > room:
            runs.append([])
            room = max_bytes
        runs[-1].append(chunk)
        room -= cost
    return tuple(LogSlice(number, tuple(run)) for number, run in enumerate(runs))


def set_start(index: LogIndex, start: int, name: str, else_start: int = 0) -> LogIndex:
    """Set the time of a video's first frame: `start`, in ns since the epoch, or else the file's own, or `else_start`.

    LogRefused with the reason START_MISSING if neither is known. Other logs have their times.
    """
    if index.video is None:
        return index
    at = start or index.video.created or else_start
    if not at:
        raise LogRefused(
            START_MISSING, f"{name} does not tell when it was recorded: give the time of its first frame as its start"
        )
    return msgspec.structs.replace(index, video=msgspec.structs.replace(index.video, start=at, verified=bool(start)))
