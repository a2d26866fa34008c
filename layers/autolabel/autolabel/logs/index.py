"""Defines the index of a log: its channels and chunks; and cuts it into slices."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from autolabel.logs.kinds import Container


class LogChannel(msgspec.Struct, frozen=True):
    """A channel of MCAP, or a connection of a ROS 1 bag. Several channels can have one topic.

    `schema`: the name of its messages' type; `definition`: the type's text or descriptor, in `schema_encoding`.
    `encoding`: the serialisation of its messages.
    """

    id: int
    topic: str
    schema: str
    encoding: str
    schema_encoding: str
    definition: bytes


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """A range of a log that is read at once: `length` bytes from `start`.

    `channels`: those with messages in it; None if that is unknown. `first` and `last`: log times in ns, 0 if unknown.
    `compression`: None if it is unknown. `index_start` and `index_length`: the range of its message index; 0 without
    one. `bare`: a run of records outside of chunks.
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

    @property
    def end(self) -> int:
        return self.start + self.length

    def may_hold(self, channels: Collection[int]) -> bool:
        return self.channels is None or any(channel in channels for channel in self.channels)


class UnreadRange(msgspec.Struct, frozen=True):
    """The bytes of a log from `start` to before `end` that cannot be read; `reason` is a stable word."""

    start: int
    end: int
    reason: str
    detail: str


class LogIndex(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a log holds. The chunks are in the order of their places.

    `counts`: the messages of each channel; None if the log tells no counts. `rebuilt`: why the index was made by a
    walk through the log; empty if it is the log's own. `unread`: what the walk could not read.
    """

    container: Container
    size: int
    channels: tuple[LogChannel, ...]
    chunks: tuple[Chunk, ...]
    counts: dict[int, int] | None = None
    rebuilt: str = ""
    unread: tuple[UnreadRange, ...] = ()


class LogSlice(msgspec.Struct, frozen=True):
    """A part of a log that one worker reads: the chunks of a run that may hold the chosen channels."""

    number: int
    chunks: tuple[Chunk, ...]


def plan_slices(index: LogIndex, channels: Collection[int], max_bytes: int) -> tuple[LogSlice, ...]:
    """Cut the chunks that may hold the channels into runs of at most `max_bytes`, or of one larger chunk."""
    runs: list[list[Chunk]] = []
    room = 0
    for chunk in index.chunks:
        if not chunk.may_hold(channels):
            continue
        if not runs or chunk.length > room:
            runs.append([])
            room = max_bytes
        runs[-1].append(chunk)
        room -= chunk.length
    return tuple(LogSlice(number, tuple(run)) for number, run in enumerate(runs))
