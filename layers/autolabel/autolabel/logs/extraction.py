"""Extracts the frames of a log's cameras, and accounts for every message of their topics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.ports import ByteSource
from autolabel.logs.containers import LogMessage, Place
from autolabel.logs.index import Clock, LogChannel, LogIndex, LogSlice, UnreadRange
from autolabel.logs.messages import log_source, read_messages
from autolabel.logs.schemas import DEPTH, Decoded, Decoder, decoder_of
from autolabel.logs.selection import EVERY_FRAME, NOT_SELECTED, SAME_TIMESTAMP, Selection, Selector, Timestamps

# Left out on purpose. All other reasons are refusals.
SKIPPED = frozenset({DEPTH, SAME_TIMESTAMP, NOT_SELECTED})
# The reason of messages that the log counts, in chunks that cannot be read.
IN_UNREAD_CHUNKS = "chunk-unread"
MISSING = "message-missing"


class ExtractedFrame(NamedTuple):
    """A frame of a camera, extracted from one message, or from one picture of a video.

    `timestamp`: ns since the epoch, by `clock`. `note`: what was done to the picture, empty if its bytes were copied or
    its pixels only packed. `where`: the time in a video, for people.
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

    @property
    def origin(self) -> str:
        """Return what of the log it comes from, for people: its topic, its file in an archive, or a time in a video."""
        return self.where or (self.place.name if self.clock in ("name", "assumed") else self.topic)


class LeftMessage(NamedTuple):
    """A message that is not a frame; `reason` is a stable word, in SKIPPED if it was left out on purpose."""

    topic: str
    reason: str
    detail: str
    place: Place


Extracted = ExtractedFrame | LeftMessage | UnreadRange


def extract_frames(
    source: ByteSource,
    index: LogIndex,
    part: LogSlice,
    cameras: Mapping[int, str],
    taken: Timestamps,
    selection: Selection = EVERY_FRAME,
) -> Iterator[Extracted]:
    """Yield a frame or a reason for each message of the cameras' channels in a slice, and the chunks that are refused.

    They come in the order of their places. Of two frames of a camera with one timestamp the first in the log counts, so
    slices that share `taken` must come in their order. The selection begins anew with each slice. LogRefused if the log
    changes meanwhile.
    """
    selector = Selector(selection, taken)
    if index.video:
        # Stacks without videos lack its library.
        from autolabel.logs.video_frames import extract_video

        yield from extract_video(log_source(source, index), index, index.video, part, cameras, selector)
        return
    channels = {channel.id: _Channel(channel) for channel in index.channels if channel.id in cameras}
    for message in read_messages(log_source(source, index), index.container, part, cameras.keys()):
        if isinstance(message, UnreadRange):
            yield message
            continue
        channel, camera = channels[message.channel], cameras[message.channel]
        try:
            frame = _frame(message, channel, camera, selector)
        except LogRefused as e:
            yield LeftMessage(channel.topic, e.reason, str(e), message.place)
        else:
            yield frame


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


def _frame(message: LogMessage, channel: _Channel, camera: str, selector: Selector) -> ExtractedFrame:
    decoded = channel.decode(message.data)
    clock: Clock = "header" if decoded.stamp else message.clock
    timestamp = decoded.stamp or message.log_time
    # numpy takes tenths of a second to import, and the command is often run for something else.
    from autolabel.logs.pictures import image_file, thumbnail

    selector.check(camera, timestamp, partial(thumbnail, decoded.picture))
    image = image_file(decoded.picture)
    selector.take(camera, timestamp)
    place = message.place
    return ExtractedFrame(camera, timestamp, image.extension, image.body, channel.topic, place, clock, image.note)


@dataclass
class TopicTally:
    """What became of a topic's messages. `skipped` and `refused`: by reason; `examples`: the first one of each reason.

    `clocks`: the frames by what tells their times; `notes`: by their text.
    """

    camera: str
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


class Tally:
    """Counts what becomes of the messages of a log's chosen topics. `topics`: the camera of each one."""

    def __init__(self, topics: Mapping[str, str]) -> None:
        self.topics = {topic: TopicTally(camera) for topic, camera in topics.items()}
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
            (topic.skipped if item.reason in SKIPPED else topic.refused)[item.reason] += 1
            topic.examples.setdefault(item.reason, f"{item.place}: {item.detail}")
        else:
            topic.extracted += 1
            topic.clocks[item.clock] += 1
            topic.notes.update([item.note] if item.note else [])

    def settle(self, index: LogIndex, cameras: Mapping[int, str]) -> None:
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
            if channel.id in cameras:
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
