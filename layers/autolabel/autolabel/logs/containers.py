"""What the readers of all containers share: the interface, and the records of a walk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.ports import ByteSource
from autolabel.logs.index import Chunk, Clock, LogChannel, LogIndex, UnreadRange
from autolabel.logs.kinds import Container
from autolabel.logs.ranges import LOG_CHANGED, MAX_CHUNK_HEAD, Window, check_size, read_range

# A million chunks of ten channels. A larger index would fill the memory.
MAX_INDEX_BYTES = 256 * 1024 * 1024


class Place(NamedTuple):
    """The place of a message: the range of its chunk in the log, and the offset of its record in the chunk.

    `name`: what people call the place, where the log is not made of chunks.
    """

    start: int
    end: int
    offset: int
    name: str = ""

    def __str__(self) -> str:
        return self.name or f"chunk at bytes {self.start:,} to {self.end:,}, offset {self.offset:,}"


class LogMessage(NamedTuple):
    """A message of a log, as it is serialised. `log_time`: ns since the epoch, by `clock`."""

    channel: int
    log_time: int
    place: Place
    data: memoryview
    clock: Clock = "log"


class RawMessage(NamedTuple):
    """A message of a chunk. `log_time`: ns since the epoch; `offset`: of its record in the decompressed chunk."""

    channel: int
    log_time: int
    offset: int
    data: memoryview


class ContainerReader(Protocol):
    """Reads one container."""

    def read_index(self, source: ByteSource) -> LogIndex | str:
        """Read the log's own index, or say why it cannot be used."""

    def walk(self, source: ByteSource, why: str) -> LogIndex:
        """Make an index by a walk over the log's records; `why`: the reason for it."""

    def unpack(self, chunk: Chunk, body: memoryview) -> memoryview:
        """Return the records of a chunk, given as it is stored. LogRefused if it is damaged or too large."""

    def messages(self, records: memoryview) -> Iterator[RawMessage]:
        """Yield all messages of a chunk's records. LogRefused where they are damaged."""

    def pick(self, source: ByteSource, chunk: Chunk, channels: Collection[int]) -> list[RawMessage] | None:
        """Read only the messages of the channels, by the chunk's message index; None if the chunk must be read whole.

        LogRefused if the message index is damaged.
        """


class PartReader(Protocol):
    """Reads one container whose parts are not chunks of records."""

    def inspect(self, source: ByteSource, name: str) -> LogIndex:
        """Make the index of a log. LogRefused names the log."""

    def messages(
        self, source: ByteSource, chunks: Sequence[Chunk], channels: Collection[int]
    ) -> Iterator[LogMessage | UnreadRange]:
        """Yield the messages of the channels in chunks, and what is refused. LogRefused if the log changes meanwhile.

        The chunks ascend, but for the images of an archive that can be read at any place.
        """


@dataclass
class FoundChunk:
    """A chunk that a walk has found, and what the message indexes behind it tell."""

    start: int
    length: int
    first: int = 0
    last: int = 0
    compression: str | None = None
    bare: bool = False
    counts: dict[int, int] = field(default_factory=dict)
    index_start: int = 0
    index_end: int = 0

    def count(self, channel: int, messages: int) -> None:
        self.counts[channel] = self.counts.get(channel, 0) + messages

    def add_index(self, start: int, end: int) -> None:
        self.index_start = self.index_start or start
        self.index_end = end

    def as_chunk(self, channels: Iterable[int] | None) -> Chunk:
        return Chunk(
            self.start,
            self.length,
            None if channels is None else tuple(sorted(channels)),
            self.first,
            self.last,
            self.compression,
            self.index_start,
            self.index_end - self.index_start,
            self.bare,
        )


class Walk(ABC):
    """A walk over the records of a log whose own index cannot be used. It ends where no whole record is."""

    container: Container

    def __init__(self, reader: ContainerReader, source: ByteSource, first: int, thorough: bool = False) -> None:
        """Make a walk from `first`. `thorough`: it reads every chunk."""
        self.reader = reader
        self.thorough = thorough
        self.source = source
        self.window = Window(source)
        self.channels: dict[int, LogChannel] = {}
        self.found: FoundChunk | None = None
        self._at = first
        self._chunks: list[Chunk] = []
        self._counts: Counter[int] = Counter()

    @abstractmethod
    def step(self, at: int) -> int | None:
        """Take the record at a place; return the place behind it, None at the end of the data."""

    @abstractmethod
    def contents(self, records: memoryview) -> Counter[int]:
        """Note the channels that a chunk's records define, and count its messages. LogRefused if they are damaged."""

    def index(self, why: str) -> LogIndex:
        """Walk to the log's end, and return the index of what was found."""
        unread: tuple[UnreadRange, ...] = ()
        size = self.source.size
        whole = False
        try:
            while self._at < size:
                end = self.step(self._at)
                if end is None:
                    whole = True
                    break
                self._at = end
        except LogRefused as e:
            if e.reason == LOG_CHANGED:
                raise
            unread = (UnreadRange(self._at, size, e.reason, str(e)),)
        # Where a log is cut off, message indexes of its last chunk may be missing.
        self.close_chunk(indexed=whole)
        channels = tuple(self.channels[number] for number in sorted(self.channels))
        return LogIndex(self.container, size, channels, tuple(self._chunks), dict(self._counts), why, unread)

    def check_end(self, end: int) -> int:
        if end > self.source.size:
            raise LogRefused("log-cut-off", "the log ends inside a record")
        return end

    def close_chunk(self, *, indexed: bool = True) -> None:
        """Finish the chunk that was found last. It is read only if its message indexes do not tell what it holds.

        `indexed`: all its message indexes have been seen.
        """
        found, self.found = self.found, None
        if found is None:
            return
        counts: dict[int, int] | None = found.counts
        told = indexed and not self.thorough and counts and not counts.keys() - self.channels.keys()
        if not (found.bare or told):
            try:
                check_size(found.length - MAX_CHUNK_HEAD)
                body = read_range(self.source, found.start, found.length)
                counts = self.contents(self.reader.unpack(found.as_chunk(None), body))
            except LogRefused as e:
                if e.reason == LOG_CHANGED:
                    raise
                # The chunk is refused by its range when it is read.
                counts = counts or None
        self._counts.update(counts or {})
        self._chunks.append(found.as_chunk(counts))


def check_chunks(chunks: Iterable[Chunk], first: int, end: int) -> tuple[Chunk, ...]:
    """Sort chunks by their places. LogRefused if they overlap or are not between `first` and `end`."""
    ordered = tuple(sorted(chunks, key=lambda chunk: chunk.start))
    at = first
    for chunk in ordered:
        if chunk.start < at or chunk.length <= 0 or chunk.end > end:
            raise LogRefused("index-damaged", f"the index has a chunk at bytes {chunk.start:,} to {chunk.end:,}")
        at = chunk.end
    return ordered
