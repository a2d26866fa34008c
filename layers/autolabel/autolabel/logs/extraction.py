"""Extracts the frames of a log's cameras and the point clouds of its LiDARs, and accounts for every message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.frames import POINT_CLOUD
from autolabel.contracts.logs import EgoPose
from autolabel.contracts.ports import ByteSource
from autolabel.logs.containers import LogMessage, Place
from autolabel.logs.index import Chunk, Clock, LogChannel, LogIndex, LogSlice, UnreadRange
from autolabel.logs.messages import log_source, read_messages
from autolabel.logs.ranges import RUN_BYTES
from autolabel.logs.schemas import (
    DEPTH,
    NO_FIX,
    NO_POINTS,
    Decoded,
    Decoder,
    PackedPicture,
    RawPicture,
    RawPoints,
    decoder_of,
    holds_video,
)
from autolabel.logs.selection import (
    EVERY_FRAME,
    NOT_SELECTED,
    SAME_TIMESTAMP,
    Selection,
    Selector,
    Timestamps,
    check_timestamp,
)

if TYPE_CHECKING:
    from autolabel.logs.message_videos import MessageVideo

# Left out on purpose. All other reasons are refusals.
SKIPPED = frozenset({DEPTH, NO_FIX, NO_POINTS, SAME_TIMESTAMP, NOT_SELECTED})
# The reason of messages that the log counts, in chunks that cannot be read.
IN_UNREAD_CHUNKS = "chunk-unread"
MISSING = "message-missing"
_DROPPED = "points dropped, which are not finite"
# What the first slice reads of the next ones to find the beginning of a video in messages.
_MOST_AHEAD = 2 * 1024 * 1024 * 1024


class ExtractedFrame(NamedTuple):
    """A frame of a camera, or a point cloud of a LiDAR, from one message or one picture of a video.

    `camera`: the name of the camera or LiDAR. `timestamp`: ns since the epoch, by `clock`. `note`: what was done to the
    picture or points, empty if they were only copied or packed. `where`: the time in a video, for people. `dropped`:
    points that are left out.
    """

    camera: str
    timestamp: int
    extension: str
    body: bytes
    topic: str
    place: Place
    clock: Clock
    note: str = ""
    where: str = ""
    dropped: int = 0

    @property
    def origin(self) -> str:
        """Return what of the log it comes from, for people: its topic, its file in an archive, or a time in a video."""
        return self.where or (self.place.name if self.clock in ("name", "assumed") else self.topic)


class LeftMessage(NamedTuple):
    """A message that was not extracted; `reason` is a stable word, in SKIPPED if it was left out on purpose."""

    topic: str
    reason: str
    detail: str
    place: Place


Extracted = ExtractedFrame | EgoPose | LeftMessage | UnreadRange


def extract_frames(
    source: ByteSource,
    index: LogIndex,
    part: LogSlice,
    names: Mapping[int, str],
    taken: Timestamps,
    selection: Selection = EVERY_FRAME,
    following: Iterable[Chunk] = (),
) -> Iterator[Extracted]:
    """Yield a frame, a point cloud, a pose or a reason for each message of the chosen channels in a slice, and the
    chunks that are refused. `names`: of the cameras and LiDARs, by channel.

    They come in the order of their places, but for videos in messages: these frames come when they are complete.
    `following`: the chunks behind the slice, which are asked for while such a video goes on into them. Of two frames of
    a camera with one timestamp the first in the log counts, so slices that share `taken` must come in their order. The
    selection begins anew with each slice. LogRefused if the log changes meanwhile.
    """
    selector = Selector(selection, taken)
    if index.video:
        # Stacks without videos lack its library.
        from autolabel.logs.video_frames import extract_video

        yield from extract_video(log_source(source, index), index, index.video, part, names, selector)
        return
    source = log_source(source, index)
    channels = {channel.id: _Channel(channel) for channel in index.channels if channel.id in names}
    videos = _videos(index.channels, channels, names, selector, first=part.number == 0)
    for message in read_messages(source, index.container, part, names.keys()):
        if isinstance(message, UnreadRange):
            yield message
            yield from _lose(message, part.chunks, videos)
            continue
        if message.channel in videos:
            yield from videos[message.channel].take(message, ahead=False)
            continue
        channel, name = channels[message.channel], names[message.channel]
        try:
            extracted = _extracted(message, channel, name, selector)
        except LogRefused as e:
            yield LeftMessage(channel.topic, e.reason, str(e), message.place)
        else:
            yield extracted
    yield from _read_on(source, index, part, videos, iter(following))
    for video in videos.values():
        yield from video.end()


def _videos(
    channels: Iterable[LogChannel],
    decoders: Mapping[int, _Channel],
    names: Mapping[int, str],
    selector: Selector,
    *,
    first: bool,
) -> dict[int, MessageVideo]:
    """Make the videos in the messages of a slice, by channel."""
    chosen = [channel for channel in channels if channel.id in names and holds_video(channel)]
    if not chosen:
        return {}
    from autolabel.logs.message_videos import MessageVideo

    return {
        one.id: MessageVideo(one.topic, names[one.id], decoders[one.id].decode, selector, first=first) for one in chosen
    }


def _read_on(
    source: ByteSource, index: LogIndex, part: LogSlice, videos: Mapping[int, MessageVideo], following: Iterator[Chunk]
) -> Iterator[Extracted]:
    """Read the chunks behind a slice until no video of the slice goes on in them."""
    read = 0
    while waiting := {number for number, video in videos.items() if video.waits}:
        run = _next_run(following, waiting)
        if not run:
            return
        for message in read_messages(source, index.container, LogSlice(part.number, run), waiting):
            # What cannot be read is told by the slice that has the chunk.
            if isinstance(message, UnreadRange):
                yield from _lose(message, run, videos)
            elif videos[message.channel].waits:
                yield from videos[message.channel].take(message, ahead=True)
        read += sum(chunk.cost for chunk in run)
        for video in videos.values():
            # A topic can be without any message, and an index need not tell.
            if read > _MOST_AHEAD and not video.begun:
                video.give_up()


def _next_run(chunks: Iterator[Chunk], channels: Collection[int]) -> tuple[Chunk, ...]:
    """Take some chunks that may hold the channels, to be read together."""
    run: list[Chunk] = []
    size = 0
    for chunk in chunks:
        if chunk.may_hold(channels):
            run.append(chunk)
            size += chunk.cost
            if size >= RUN_BYTES:
                break
    return tuple(run)


def _lose(lost: UnreadRange, chunks: Sequence[Chunk], videos: Mapping[int, MessageVideo]) -> Iterator[Extracted]:
    """Tell the videos that a range of the log, in one of the chunks, cannot be read."""
    if not videos:
        return
    chunk = next(chunk for chunk in chunks if chunk.start <= lost.start <= chunk.end)
    for number, video in videos.items():
        if chunk.may_hold({number}):
            yield from video.lose("a part of the log before it cannot be read")


class _Channel:
    """A channel with its decoder, which is made for its first message."""

    def __init__(self, channel: LogChannel) -> None:
        self.topic = channel.topic
        self._channel = channel
        self._decode: Decoder | LogRefused | None = None

    def decode(self, data: memoryview) -> Decoded:
        if self._decode is None:
            try:
                self._decode = decoder_of(self._channel)
            except LogRefused as e:
                self._decode = e
        if isinstance(self._decode, LogRefused):
            raise LogRefused(self._decode.reason, str(self._decode))
        return self._decode(data)


def _extracted(message: LogMessage, channel: _Channel, name: str, selector: Selector) -> ExtractedFrame | EgoPose:
    decoded = channel.decode(message.data)
    place, topic = message.place, channel.topic
    clock: Clock = "header" if decoded.stamp else message.clock
    timestamp = decoded.stamp or message.log_time
    # numpy takes tenths of a second to import, and the command is often run for something else.
    match decoded.content:
        case EgoPose():
            check_timestamp(timestamp)
            return msgspec.structs.replace(
                decoded.content,
                topic=topic,
                timestamp=timestamp,
                clock="header" if decoded.stamp else "log",
                frame=decoded.frame,
            )
        case RawPoints():
            from autolabel.logs.point_clouds import point_file

            cloud = point_file(decoded.content)
            # Selections are of cameras, so this only looks at the time.
            selector.take(name, timestamp)
            return ExtractedFrame(
                name, timestamp, POINT_CLOUD, cloud.body, topic, place, clock, cloud.note, dropped=cloud.dropped
            )
        case RawPicture() | PackedPicture():
            from autolabel.logs.pictures import image_file, thumbnail

            selector.check(name, timestamp, partial(thumbnail, decoded.content))
            image = image_file(decoded.content)
            selector.take(name, timestamp)
            return ExtractedFrame(name, timestamp, image.extension, image.body, topic, place, clock, image.note)
    raise LogRefused("topic-not-pictures", f"the messages of {topic} have neither pictures, points nor poses")


@dataclass
class TopicTally:
    """What became of a topic's messages. `skipped` and `refused`: by reason; `examples`: the first one of each reason.

    `name`: of its camera or LiDAR, empty for poses. `clocks`: the frames by what tells their times; `notes`: by their
    text.
    """

    name: str
    extracted: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    clocks: Counter[Clock] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def messages(self) -> int:
        """Return the messages that are accounted for: extracted, skipped and refused."""
        return self.extracted + self.skipped.total() + self.refused.total()

    def leave(self, reason: str, example: str) -> None:
        """Count a message that was skipped or refused."""
        (self.skipped if reason in SKIPPED else self.refused)[reason] += 1
        self.examples.setdefault(reason, example)

    def extract(self, clock: Clock, note: str = "", dropped: int = 0) -> None:
        """Count a message that was extracted."""
        self.extracted += 1
        self.clocks[clock] += 1
        self.notes.update([note] if note else [])
        self.notes.update({_DROPPED: dropped} if dropped else {})


class Tally:
    """Counts what becomes of the messages of a log's chosen topics. `topics`: the camera or LiDAR of each one."""

    def __init__(self, topics: Mapping[str, str]) -> None:
        self.topics = {topic: TopicTally(name) for topic, name in topics.items()}
        self.unread: Counter[str] = Counter()
        self.first_unread: dict[str, UnreadRange] = {}
        self.complete = True

    def add(self, item: Extracted) -> None:
        if isinstance(item, UnreadRange):
            self.unread[item.reason] += 1
            self.first_unread.setdefault(item.reason, item)
            return
        topic = self.topics[item.topic]
        if isinstance(item, LeftMessage):
            topic.leave(item.reason, f"{item.place}: {item.detail}")
        elif isinstance(item, EgoPose):
            topic.extract(item.clock)
        else:
            topic.extract(item.clock, item.note, item.dropped)

    def settle(self, index: LogIndex, chosen: Collection[int]) -> None:
        """Compare with the log's own counts, after all slices: messages that did not come are refused.

        `complete` tells whether every message of the topics is accounted for: it is not where the log tells no counts,
        and a part of it could not be read.
        """
        for item in index.unread:
            self.add(item)
        counts = index.counts
        # A walk cannot count the messages of a chunk that it cannot read.
        uncounted = index.unread or any(chunk.channels is None for chunk in index.chunks)
        self.complete = not self.unread or not (counts is None or (index.rebuilt and uncounted))
        if counts is None:
            return
        told: Counter[str] = Counter()
        for channel in index.channels:
            if channel.id in chosen:
                told[channel.topic] += counts.get(channel.id, 0)
        for name, topic in self.topics.items():
            missing = told[name] - topic.messages
            if missing > 0:
                reason = IN_UNREAD_CHUNKS if self.unread else MISSING
                topic.refused[reason] += missing
                topic.examples[reason] = f"the log counts {told[name]:,} messages"
            elif missing < 0:
                topic.notes["more messages than the log counts"] = -missing

    @property
    def refused(self) -> bool:
        """Whether a message was refused, or a part of the log could not be read."""
        return bool(self.unread) or any(topic.refused.total() for topic in self.topics.values())
