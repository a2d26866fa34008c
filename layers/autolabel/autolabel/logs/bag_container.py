"""Reads the records of ROS 1 bags, version 2.0 (http://wiki.ros.org/Bags/Format/2.0)."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection, Iterator
from typing import NamedTuple

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
from autolabel.logs.ranges import LOG_CHANGED, read_range

MAGIC = b"#ROSBAG V2.0\n"
_MESSAGE, _BAG, _INDEX, _CHUNK, _CHUNK_INFO, _CONNECTION = 2, 3, 4, 5, 6, 7
_LENGTH = struct.Struct("<I")
_PAIR = struct.Struct("<II")
# What a walk reads of a record: its header, which has some fields of some bytes.
_MAX_HEADER = 64 * 1024

Header = dict[str, bytes]


class _Record(NamedTuple):
    op: int
    header: Header
    at: int
    data: memoryview


class BagReader:
    """Reads ROS 1 bags: their own index, or one made by a walk."""

    def read_index(self, source: ByteSource) -> LogIndex | str:
        try:
            head = read_range(source, len(MAGIC), min(_MAX_HEADER, source.size - len(MAGIC)))
            header, _ = _header(head, 0)
            if _number(header, "op") != _BAG:
                return "the bag has no header"
            if header.get("encryptor"):
                raise LogRefused("log-encrypted", "the bag is encrypted: decrypt it with `rosbag decrypt`")
            at = _number(header, "index_pos")
            if not at:
                return "the bag has no index, because its recorder was not ended"
            if not len(MAGIC) < at <= source.size:
                return "the bag is cut off"
            if source.size - at > MAX_INDEX_BYTES:
                raise LogRefused("index-too-large", f"the bag's index has {source.size - at:,} bytes")
            index = _index_of(read_range(source, at, source.size - at), source.size, at)
            found = len(index.channels), len(index.chunks)
            if found != (_number(header, "conn_count"), _number(header, "chunk_count")):
                return "the bag's index does not have all connections and chunks"
            return index
        except LogRefused as e:
            if e.reason in ("index-too-large", LOG_CHANGED, "log-encrypted"):
                raise
            return str(e)

    def walk(self, source: ByteSource, why: str) -> LogIndex:
        return _Walk(self, source, len(MAGIC)).index(why)

    def unpack(self, chunk: Chunk, body: memoryview) -> memoryview:
        header, at = _header(body, 0)
        if _number(header, "op") != _CHUNK:
            raise LogRefused("chunk-damaged", "no chunk begins here")
        length = _unsigned(body, at)
        if at + 4 + length > len(body):
            raise LogRefused("chunk-damaged", "the chunk is longer than its place")
        size = _number(header, "size")
        return decompress(_text(header, "compression"), body[at + 4 : at + 4 + length], size)

    def messages(self, records: memoryview) -> Iterator[RawMessage]:
        for record in _records(records):
            if record.op == _MESSAGE:
                connection = _number(record.header, "conn")
                yield RawMessage(connection, _time(record.header, "time"), record.at, record.data)

    def pick(self, source: ByteSource, chunk: Chunk, channels: Collection[int]) -> list[RawMessage] | None:
        # The index of a bag does not tell where its message indexes are.
        return None


class _Walk(Walk):
    container = "rosbag"

    def step(self, at: int) -> int | None:
        # Only as much as is needed, so that one window serves many records.
        head = self.window.read(at, min(_unsigned(self.window.read(at, 4), 0) + 8, _MAX_HEADER))
        header, length_at = _header(head, 0)
        data_at = at + length_at + 4
        end = self.check_end(data_at + _unsigned(head, length_at))
        op = _number(header, "op")
        if op == _CHUNK:
            self.close_chunk()
            self.found = FoundChunk(at, end - at)
        elif op == _INDEX and self.found:
            self.found.add_index(at, end)
            self.found.count(_number(header, "conn"), _number(header, "count"))
        elif op == _CONNECTION:
            channel = _connection(_Record(op, header, at, self.window.read(data_at, end - data_at)))
            self.channels.setdefault(channel.id, channel)
        elif op not in (_BAG, _INDEX, _CHUNK_INFO):
            raise LogRefused("record-damaged", f"a record of unknown kind {op} begins here")
        return end

    def contents(self, records: memoryview) -> Counter[int]:
        counts: Counter[int] = Counter()
        for record in _records(records):
            if record.op == _MESSAGE:
                counts[_number(record.header, "conn")] += 1
            elif record.op == _CONNECTION:
                channel = _connection(record)
                self.channels.setdefault(channel.id, channel)
        return counts


def _header(view: memoryview, at: int) -> tuple[Header, int]:
    """Read the fields of a header; return them and the place behind it."""
    length = _unsigned(view, at)
    at += 4
    end = at + length
    if end > len(view):
        raise LogRefused("record-damaged", f"no whole record is at offset {at - 4:,}")
    fields: Header = {}
    while at < end:
        size = _unsigned(view, at)
        field = bytes(view[at + 4 : at + 4 + size])
        name, mark, value = field.partition(b"=")
        at += 4 + size
        if at > end or not mark:
            raise LogRefused("record-damaged", f"the header before offset {at:,} is damaged")
        fields[name.decode("latin-1")] = value
    return fields, end


def _records(view: memoryview) -> Iterator[_Record]:
    at = 0
    while at < len(view):
        header, data_at = _header(view, at)
        end = data_at + 4 + _unsigned(view, data_at)
        if end > len(view):
            raise LogRefused("record-damaged", f"no whole record is at offset {at:,}")
        yield _Record(_number(header, "op"), header, at, view[data_at + 4 : end])
        at = end


def _unsigned(view: memoryview, at: int) -> int:
    if at + 4 > len(view):
        raise LogRefused("record-damaged", f"no whole record is at offset {at:,}")
    number: int = _LENGTH.unpack_from(view, at)[0]
    return number


def _number(header: Header, name: str) -> int:
    """Read an unsigned number of 1, 4 or 8 bytes."""
    value = header.get(name, b"")
    if len(value) not in (1, 4, 8):
        raise LogRefused("record-damaged", f"a record has no number {name!r}")
    return int.from_bytes(value, "little")


def _time(header: Header, name: str) -> int:
    value = header.get(name, b"")
    if len(value) != _PAIR.size:
        raise LogRefused("record-damaged", f"a record has no time {name!r}")
    seconds, nanoseconds = _PAIR.unpack(value)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def _text(header: Header, name: str) -> str:
    return header.get(name, b"").decode("utf-8", "replace")


def _connection(record: _Record) -> LogChannel:
    # The header of the connection itself is the data of its record.
    described, _ = _header(memoryview(_LENGTH.pack(len(record.data)) + bytes(record.data)), 0)
    number, topic = _number(record.header, "conn"), _text(record.header, "topic")
    definition = described.get("message_definition", b"")
    return LogChannel(number, topic, _text(described, "type"), "ros1", "ros1msg", definition)


def _index_of(view: memoryview, size: int, data_end: int) -> LogIndex:
    """Read the records behind the chunks: connections, and what each chunk holds."""
    channels: dict[int, LogChannel] = {}
    infos: list[tuple[int, int, int, dict[int, int]]] = []
    for record in _records(view):
        if record.op == _CONNECTION:
            channel = _connection(record)
            channels[channel.id] = channel
        elif record.op == _CHUNK_INFO:
            if len(record.data) % _PAIR.size:
                raise LogRefused("index-damaged", "the index of the bag is damaged")
            counts = {int(number): int(count) for number, count in _PAIR.iter_unpack(record.data)}
            first, last = _time(record.header, "start_time"), _time(record.header, "end_time")
            infos.append((_number(record.header, "chunk_pos"), first, last, counts))
    infos.sort(key=lambda info: info[0])
    ends = [*(start for start, *_ in infos[1:]), data_end][: len(infos)]
    # The index tells no lengths: a chunk is read up to the next one, with the message indexes between.
    chunks = [
        Chunk(start, end - start, tuple(sorted(counts)), first, last)
        for (start, first, last, counts), end in zip(infos, ends, strict=True)
    ]
    total: Counter[int] = Counter(dict.fromkeys(channels, 0))
    for *_, counts in infos:
        total.update(counts)
    ordered = check_chunks(chunks, len(MAGIC), data_end)
    return LogIndex("rosbag", size, tuple(channels[number] for number in sorted(channels)), ordered, dict(total))
