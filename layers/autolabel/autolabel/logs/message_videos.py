"""Reads the videos in messages: each message is one picture of H.264 or H.265, in the order of decoding (Annex B).

Every group of pictures is decoded on its own, from the message with its key frame on, as those of video files are. An
index does not tell where key frames are. So a slice owns the groups whose key frames are in its chunks, and reads on
behind them up to the next key frame; the messages before its first one belong to the slice before. Any number of slices
gives the same frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from autolabel.contracts.errors import LogRefused
from autolabel.logs.containers import LogMessage, Place
from autolabel.logs.extraction import Extracted, ExtractedFrame, LeftMessage
from autolabel.logs.index import Clock, UnreadRange
from autolabel.logs.ranges import MAX_CHUNK_BYTES
from autolabel.logs.schemas import Decoded, PackedPicture
from autolabel.logs.selection import Selector
from autolabel.logs.video_decoder import (
    GROUP_PIXELS,
    Damage,
    GroupDecoder,
    Photos,
    check_reader,
    set_strict,
    video_thumbnail,
)

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.stream import Stream
    from av.video.codeccontext import VideoCodecContext

# The most bytes of messages that are read for a group, or in search of the first key frame.
_MOST_BYTES = MAX_CHUNK_BYTES
_START_CODE = b"\0\0\1"


class _Codec(NamedTuple):
    """How a codec numbers its units. `sets`: the parameter sets, without which a key frame cannot be decoded.

    `leading`: pictures behind a key frame that need the group before it.
    """

    name: Literal["h264", "hevc"]
    shift: int
    mask: int
    pictures: range
    keys: range
    sets: frozenset[int]
    leading: range


# ITU-T H.264 table 7-1 (IDR; SPS and PPS) and H.265 table 7-1 (BLA, IDR and CRA; VPS, SPS and PPS; RASL).
_CODECS: Mapping[str, _Codec] = {
    "h264": _Codec("h264", 0, 31, range(1, 6), range(5, 6), frozenset({7, 8}), range(0)),
    "h265": _Codec("hevc", 1, 63, range(32), range(16, 22), frozenset({32, 33, 34}), range(8, 10)),
}


class _Picture(NamedTuple):
    """A message of a video. `key`: a group can begin with it; `leading`: it needs the group before its key frame."""

    codec: _Codec
    data: bytes
    key: bool
    leading: bool
    place: Place
    timestamp: int
    clock: Clock
    ahead: bool


@dataclass
class _Group:
    """A group that is decoded. `messages`: those without a frame yet, by their numbers, which are their pts."""

    codec: _Codec
    context: VideoCodecContext
    waiting: dict[int, list[int]] = field(default_factory=dict)
    damage: Damage = field(default_factory=Damage)
    messages: dict[int, _Picture] = field(default_factory=dict)
    count: int = 0
    latest: int = -1
    decoder: GroupDecoder = field(init=False)

    def __post_init__(self) -> None:
        set_strict(self.context)
        self.decoder = GroupDecoder(self.context, self.waiting, self.damage)

    @property
    def pixels(self) -> int:
        return self.count * self.context.width * self.context.height

    def packet(self, picture: _Picture) -> tuple[int, Packet[Stream]]:
        """Number a picture, and make its packet."""
        import av

        packet = av.Packet(picture.data)
        packet.pts = self.count
        self.count += 1
        return packet.pts, packet


class MessageVideo:
    """The video of one channel in a slice.

    `first`: the slice is the log's first one. `begun`: it has had a message of the video.
    """

    def __init__(
        self, topic: str, camera: str, decode: Callable[[memoryview], Decoded], selector: Selector, *, first: bool
    ) -> None:
        self._topic = topic
        self._camera = camera
        self._decode = decode
        self._selector = selector
        # Whether messages before a key frame are refused here.
        self._first = first
        self._photos = Photos()
        self._group: _Group | None = None
        # Pictures that need the group before may follow a key frame, so that waits for the message behind it.
        self._key: _Picture | None = None
        self._referred = False
        self._bytes = 0
        self.begun = False

    @property
    def waits(self) -> bool:
        """Whether messages behind the slice may belong to it."""
        return self._first or self._group is not None or self._key is not None

    def take(self, message: LogMessage, *, ahead: bool) -> Iterator[Extracted]:
        """Take the next message. Yield the frames that are complete, and the reasons for messages that are none.

        `ahead`: the message is behind the slice.
        """
        self.begun = True
        self._bytes += len(message.data)
        try:
            check_reader(f"{self._topic} holds a video")
            decoded = self._decode(message.data)
            picture = _picture(message, decoded, ahead=ahead)
        except LogRefused as e:
            if e.reason == "message-damaged":
                yield from self.lose("a message before it is damaged")
            else:
                # All other messages of the topic are refused as well.
                self.give_up()
            if not ahead:
                yield LeftMessage(self._topic, e.reason, str(e), message.place)
            return
        if self._key and not picture.leading:
            yield from self._begin()
        if picture.key:
            self._key = picture
            if not picture.codec.leading:
                yield from self._begin()
        elif self._group:
            yield from self._feed(self._group, picture)
        elif self._first:
            detail = "it needs pictures before the log's first key frame that has its parameter sets"
            yield LeftMessage(self._topic, "no-key-frame", detail, picture.place)
        long = self._bytes > _MOST_BYTES or (self._group and self._group.pixels > GROUP_PIXELS)
        if long and self.waits and not self._key:
            yield from self._break_off(message.place)

    def lose(self, why: str) -> Iterator[Extracted]:
        """Take note that messages were lost: those up to the next key frame may need them."""
        if self._key:
            yield from self._begin()
        if self._group:
            self._group.damage.add(self._group.count, why)

    def give_up(self) -> None:
        """Stop to look for the log's first key frame."""
        self._first = False

    def end(self) -> Iterator[Extracted]:
        """Yield what is left of the last group."""
        if self._key:
            yield from self._begin()
        yield from self._close()

    def _begin(self) -> Iterator[Extracted]:
        """End the group before, and begin that of the key frame, if it is in the slice."""
        key, self._key, self._referred = self._key, None, False
        yield from self._close()
        self._first = False
        if key and not key.ahead:
            from av import CodecContext

            self._group = _Group(key.codec, CodecContext.create(key.codec.name, "r"))
            self._bytes = len(key.data)
            yield from self._feed(self._group, key)

    def _feed(self, group: _Group, picture: _Picture) -> Iterator[Extracted]:
        if self._key and not self._referred:
            # The decoder needs the key frame for what follows. Its own frame comes from its own group.
            self._referred = True
            for shown, frame in group.decoder.feed(*group.packet(self._key)):
                yield self._frame(group, shown, frame)
        number, packet = group.packet(picture)
        group.messages[number] = picture
        group.waiting[number] = [number]
        if picture.codec != group.codec:
            group.damage.add(number, "it is of another codec than the key frame before it")
        if number < group.damage.first:
            for shown, frame in group.decoder.feed(number, packet):
                yield self._frame(group, shown, frame)
        for damaged in [n for n in group.messages if n >= group.damage.first]:
            yield self._left(group, damaged)

    def _close(self) -> Iterator[Extracted]:
        group, self._group = self._group, None
        if group is None:
            return
        for number, frame in group.decoder.feed(group.count, None):
            yield self._frame(group, number, frame)
        for number in sorted(group.messages):
            yield self._left(group, number)

    def _break_off(self, at: Place) -> Iterator[Extracted]:
        """End a group that is too long, or the search for the first key frame. What is left is counted by the log."""
        reason = "group-too-long" if self._group else "no-key-frame"
        yield from self._close()
        self._first = False
        detail = f"{self._topic} goes on from {at} without a key frame for longer than is read"
        yield UnreadRange(at.start, at.end, reason, detail, "rows" if at.name else "bytes")

    def _frame(self, group: _Group, number: int, frame: VideoFrame) -> Extracted:
        picture = group.messages.pop(number)
        # Shown in another order than decoded. Foxglove forbids it, and some recorders do it.
        late, group.latest = number < group.latest, max(number, group.latest)
        try:
            self._selector.check(self._camera, picture.timestamp, partial(video_thumbnail, frame))
            image = self._photos.file(frame)
            self._selector.take(self._camera, picture.timestamp)
        except LogRefused as e:
            return LeftMessage(self._topic, e.reason, str(e), picture.place)
        note = ", ".join(filter(None, (image.note, "B-frames" if late or picture.leading else "")))
        return ExtractedFrame(
            self._camera,
            picture.timestamp,
            image.extension,
            image.body,
            self._topic,
            picture.place,
            picture.clock,
            note,
        )

    def _left(self, group: _Group, number: int) -> LeftMessage:
        return LeftMessage(self._topic, *group.damage.why(number), group.messages.pop(number).place)


def _picture(message: LogMessage, decoded: Decoded, *, ahead: bool) -> _Picture:
    """Look at the units of a message. LogRefused for another codec, and for data that are not in Annex B's form."""
    packed = decoded.content
    told, data = (packed.format, bytes(packed.data)) if isinstance(packed, PackedPicture) else ("", b"")
    codec = _CODECS.get(told)
    if codec is None:
        raise LogRefused("encoding-unknown", f"its format is {told[:40]!r}; h264 and h265 are read")
    sets = set[int]()
    first: int | None = None
    at = data.find(_START_CODE)
    if at < 0 or data[:at].strip(b"\0"):
        raise LogRefused("message-damaged", f"its {len(data):,} bytes do not begin with a start code (Annex B)")
    while 0 <= at < len(data) - len(_START_CODE) and first is None:
        kind = data[at + len(_START_CODE)] >> codec.shift & codec.mask
        if kind in codec.pictures:
            first = kind
        sets.add(kind)
        at = data.find(_START_CODE, at + len(_START_CODE))
    key = first in codec.keys and codec.sets <= sets
    clock: Clock = "header" if decoded.stamp else message.clock
    stamp = decoded.stamp or message.log_time
    return _Picture(codec, data, key, first in codec.leading, message.place, stamp, clock, ahead)
