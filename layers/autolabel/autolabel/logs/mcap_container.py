"""Reads the records of MCAP logs (https://mcap.dev/spec)."""

from __future__ import annotations

import io
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from typing import TypeVar

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, ChunkIndex, Footer, Schema, Statistics

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.ports import ByteSource
from autolabel.logs.compression import decompress
from autolabel.logs.containers import (
    MAX_INDEX_BYTES,
    FoundChunk,
    RawMessage,
    Walk,
    check_chunks,
)
from autolabel.logs.index import Chunk, LogChannel, LogIndex
from autolabel.logs.ranges import LOG_CHANGED, MAX_CHUNK_BYTES, join_ranges, read_range

MAGIC = b"\x89MCAP0\r\n"
# Holds the summary of logs of some hundred chunks.
_TAIL_BYTES = 64 * 1024
# Single messages are read from chunks of at least this size, if they are at most half of the chunk: each costs a
# request, and the chunk's CRC is not checked then.
_LEAST_PICKED = 512 * 1024
# Records outside of chunks are read in runs of this size.
_BARE_BYTES = 4 * 1024 * 1024
_HEAD = struct.Struct("<BQ")
_FOOTER = _HEAD.size + 20
# Start and end time, decompressed size, CRC-32, and the length of the compression's name.
_CHUNK = struct.Struct("<QQQII")
_MESSAGE = struct.Struct("<HIQQ")
_MESSAGE_INDEX = struct.Struct("<HI")
_ENTRY = struct.Struct("<QQ")

Parsed = TypeVar("Parsed", Channel, ChunkIndex, Footer, Schema, Statistics)


class McapReader:
    """Reads MCAP logs: their own index, or one made by a walk."""

    def read_index(self, source: ByteSource) -> LogIndex | str:
        tail_start = max(0, source.size - _TAIL_BYTES)
        tail = read_range(source, tail_start, source.size - tail_start)
        footer_at = source.size - len(MAGIC) - _FOOTER
        if len(tail) < 2 * len(MAGIC) + _FOOTER or tail[-len(MAGIC) :] != MAGIC:
            return "the log is cut off"
        try:
            ((opcode, _, content),) = _records(tail[footer_at - tail_start : -len(MAGIC)])
            if opcode != Opcode.FOOTER:
                return "the log has no footer"
            footer = _parse(Footer, content)
            if not footer.summary_start:
                return "the log has no summary"
            length = footer_at - footer.summary_start
            if footer.summary_start < len(MAGIC) or length < 0:
                return "the log's footer is damaged"
            if length > MAX_INDEX_BYTES:
                raise LogRefused("index-too-large", f"the log's summary has {length:,} bytes")
            # The rest of a long summary; the tail is read already.
            missing = max(0, tail_start - footer.summary_start)
            summary = memoryview(bytes(read_range(source, footer.summary_start, missing)) + bytes(tail))
            summary = summary[max(0, footer.summary_start - tail_start) :]
            checked = summary[: length + _HEAD.size + 16]
            if footer.summary_crc and zlib.crc32(checked) != footer.summary_crc:
                return "the log's summary is damaged"
            return _index_of(summary[:length], source.size, footer.summary_start)
        except LogRefused as e:
            if e.reason in ("index-too-large", LOG_CHANGED):
                raise
            return str(e)

    def walk(self, source: ByteSource, why: str) -> LogIndex:
        walk = _Walk(self, source)
        index = walk.index(why)
        # A schema can be in a chunk that was not read, since all its messages are of known channels.
        return _Walk(self, source, thorough=True).index(why) if walk.lacks_schemas else index

    def unpack(self, chunk: Chunk, body: memoryview) -> memoryview:
        if chunk.bare:
            return body
        opcode, length = _HEAD.unpack_from(body) if len(body) >= _HEAD.size + _CHUNK.size else (0, 0)
        content = body[_HEAD.size :]
        if opcode != Opcode.CHUNK or length != len(content):
            raise LogRefused("chunk-damaged", "no chunk of the indexed length begins here")
        _, _, size, crc, name_length = _CHUNK.unpack_from(content)
        data_at = _CHUNK.size + name_length + 8
        if data_at > len(content) or int.from_bytes(content[data_at - 8 : data_at], "little") != len(content) - data_at:
            raise LogRefused("chunk-damaged", "the chunk's data do not fill it")
        compression = bytes(content[_CHUNK.size : _CHUNK.size + name_length]).decode("ascii", "replace")
        records = decompress(compression, content[data_at:], size)
        # 0: the recorder has made none.
        if crc and zlib.crc32(records) != crc:
            raise LogRefused("chunk-crc-wrong", "the chunk's bytes are damaged: they have not the stated CRC")
        return records

    def messages(self, records: memoryview) -> Iterator[RawMessage]:
        for opcode, at, content in _records(records):
            if opcode == Opcode.MESSAGE:
                yield _message(content, at)

    def pick(self, source: ByteSource, chunk: Chunk, channels: Collection[int]) -> list[RawMessage] | None:
        if chunk.compression != "" or chunk.bare or chunk.length < _LEAST_PICKED:
            return None
        # A message index is shorter than its messages.
        if not 0 < chunk.index_length <= chunk.length:
            return None
        positions = _positions(read_range(source, chunk.index_start, chunk.index_length))
        begin = chunk.start + _HEAD.size + _CHUNK.size + 8
        if not positions or begin + positions[-1][0] > chunk.end:
            return None
        # A message ends before the next one of any channel.
        ends = [*(begin + offset for offset, _ in positions[1:]), chunk.end]
        ranges = [
            (begin + offset, end) for (offset, channel), end in zip(positions, ends, strict=True) if channel in channels
        ]
        if sum(end - start for start, end in ranges) > min(chunk.length / 2, MAX_CHUNK_BYTES):
            return None
        picked = []
        for start, end in join_ranges(ranges):
            records = self.messages(read_range(source, start, end - start))
            picked += [one._replace(offset=one.offset + start - begin) for one in records if one.channel in channels]
        return picked if [begin + one.offset for one in picked] == [start for start, _ in ranges] else None


class _Walk(Walk):
    container = "mcap"

    def __init__(self, reader: McapReader, source: ByteSource, *, thorough: bool = False) -> None:
        super().__init__(reader, source, len(MAGIC), thorough)
        self._schemas: dict[int, Schema] = {}
        self.lacks_schemas = False

    def step(self, at: int) -> int | None:
        head = self.window.read(at, _HEAD.size)
        opcode, length = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
        start = at + _HEAD.size
        if opcode in (Opcode.DATA_END, Opcode.FOOTER):
            return None
        end = self.check_end(start + length)
        if not opcode:
            raise LogRefused("record-damaged", "no record begins here")
        if opcode == Opcode.MESSAGE:
            self._take_message(_message(self.window.read(start, min(length, _MESSAGE.size)), at), at, end)
        elif opcode == Opcode.CHUNK:
            self.close_chunk()
            self.found = _found_chunk(self.window.read(start, min(length, _CHUNK.size + 8)), at, end)
        elif opcode == Opcode.MESSAGE_INDEX and self.found and not self.found.bare:
            channel, entries = _entries(self.window.read(start, min(length, MAX_INDEX_BYTES)))
            self.found.add_index(at, end)
            if entries:
                self.found.count(channel, len(entries) // _ENTRY.size)
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            self._note(opcode, self.window.read(start, min(length, MAX_INDEX_BYTES)))
        return end

    def contents(self, records: memoryview) -> Counter[int]:
        counts: Counter[int] = Counter()
        for opcode, at, content in _records(records):
            if opcode == Opcode.MESSAGE:
                counts[_message(content, at).channel] += 1
            elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._note(opcode, content)
        return counts

    def _note(self, opcode: int, content: memoryview) -> None:
        """Note a schema or a channel; the first with its number counts."""
        if opcode == Opcode.SCHEMA:
            schema = _parse(Schema, content)
            self._schemas.setdefault(schema.id, schema)
            return
        channel = _parse(Channel, content)
        self.lacks_schemas = self.lacks_schemas or bool(channel.schema_id and channel.schema_id not in self._schemas)
        self.channels.setdefault(channel.id, _channel(channel, self._schemas))

    def _take_message(self, message: RawMessage, at: int, end: int) -> None:
        """Add a message outside of chunks to the run of such messages."""
        run = self.found
        if run is None or not run.bare or end - run.start > _BARE_BYTES:
            self.close_chunk()
            run = self.found = FoundChunk(at, 0, message.log_time, 0, "", True)
        run.length = end - run.start
        run.first, run.last = min(run.first, message.log_time), max(run.last, message.log_time)
        run.count(message.channel, 1)


def _positions(message_index: memoryview) -> list[tuple[int, int]]:
    """Read a chunk's message index: the offset and channel of each message, by offset."""
    found = []
    for opcode, _, content in _records(message_index):
        if opcode == Opcode.MESSAGE_INDEX:
            channel, entries = _entries(content)
            found += [(offset, channel) for _, offset in _ENTRY.iter_unpack(entries)]
    return sorted(found)


def _found_chunk(head: memoryview, at: int, end: int) -> FoundChunk:
    if len(head) < _CHUNK.size:
        raise LogRefused("record-damaged", "the chunk has no head")
    first, last, _, _, length = _CHUNK.unpack_from(head)
    name = bytes(head[_CHUNK.size : _CHUNK.size + length]).decode("ascii", "replace") if length <= 8 else None
    return FoundChunk(at, end - at, first, last, name)


def _records(view: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield the records in a view: opcode, offset and content. LogRefused where no whole record is."""
    at = 0
    while at < len(view):
        opcode, length = _HEAD.unpack_from(view, at) if at + _HEAD.size <= len(view) else (0, 0)
        end = at + _HEAD.size + length
        if not opcode or end > len(view):
            raise LogRefused("record-damaged", f"no whole record is at offset {at:,}")
        yield opcode, at, view[at + _HEAD.size : end]
        at = end


def _message(content: memoryview, at: int) -> RawMessage:
    if len(content) < _MESSAGE.size:
        raise LogRefused("record-damaged", f"the message at offset {at:,} has no head")
    channel, _, log_time, _ = _MESSAGE.unpack_from(content)
    return RawMessage(channel, log_time, at, content[_MESSAGE.size :])


def _entries(content: memoryview) -> tuple[int, memoryview]:
    """Return the channel of a message index and its entries: pairs of log time and offset."""
    if len(content) < _MESSAGE_INDEX.size:
        raise LogRefused("record-damaged", "a message index has no head")
    channel, length = _MESSAGE_INDEX.unpack_from(content)
    if length % _ENTRY.size or _MESSAGE_INDEX.size + length > len(content):
        raise LogRefused("record-damaged", "a message index has not the stated length")
    return channel, content[_MESSAGE_INDEX.size : _MESSAGE_INDEX.size + length]


def _parse(kind: type[Parsed], content: memoryview) -> Parsed:
    try:
        parsed: Parsed = kind.read(ReadDataStream(io.BytesIO(content)))
    except (McapError, struct.error, UnicodeDecodeError) as e:
        raise LogRefused("record-damaged", f"a record of kind {kind.__name__} is damaged: {e!r}") from e
    return parsed


def _channel(channel: Channel, schemas: dict[int, Schema]) -> LogChannel:
    schema = schemas.get(channel.schema_id)
    name, encoding, definition = (schema.name, schema.encoding, schema.data) if schema else ("", "", b"")
    return LogChannel(channel.id, channel.topic, name, channel.message_encoding, encoding, definition)


def _index_of(summary: memoryview, size: int, data_end: int) -> LogIndex | str:
    """Read the records of a summary; or say what it lacks."""
    schemas: dict[int, Schema] = {}
    raw_channels: list[Channel] = []
    chunks: list[Chunk] = []
    statistics: Statistics | None = None
    for opcode, _, content in _records(summary):
        if opcode == Opcode.CHUNK_INDEX:
            chunks.append(_indexed_chunk(_parse(ChunkIndex, content)))
        elif opcode == Opcode.STATISTICS:
            statistics = _parse(Statistics, content)
        elif opcode == Opcode.CHANNEL:
            raw_channels.append(_parse(Channel, content))
        elif opcode == Opcode.SCHEMA:
            schema = _parse(Schema, content)
            schemas[schema.id] = schema
    channels = {channel.id: _channel(channel, schemas) for channel in raw_channels}
    named = {number for chunk in chunks for number in chunk.channels or ()}
    if named - channels.keys() or (statistics and len(channels) < statistics.channel_count):
        return "the log's summary does not have all channels"
    if any(channel.schema_id not in schemas for channel in raw_channels if channel.schema_id):
        return "the log's summary does not have all schemas"
    if not chunks and not (statistics and not statistics.message_count):
        return "the log's summary has no chunks"
    if statistics and len(chunks) < statistics.chunk_count:
        return "the log's summary does not have all chunks"
    counts = None
    if statistics:
        counts = {number: statistics.channel_message_counts.get(number, 0) for number in channels}
        if sum(statistics.channel_message_counts.values()) != statistics.message_count:
            counts = None
    ordered = check_chunks(chunks, len(MAGIC), data_end)
    return LogIndex("mcap", size, tuple(channels[number] for number in sorted(channels)), ordered, counts)


def _indexed_chunk(index: ChunkIndex) -> Chunk:
    start, length = index.chunk_start_offset, index.chunk_length
    return Chunk(
        start,
        length,
        # Without a message index, the chunk may hold any channel.
        tuple(sorted(index.message_index_offsets)) or None,
        index.message_start_time,
        index.message_end_time,
        index.compression,
        start + length,
        index.message_index_length,
    )
