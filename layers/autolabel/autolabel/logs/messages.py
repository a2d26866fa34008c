"""Reads the index of a log, and the messages of slices of logs that have messages."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.ports import ByteSource
from autolabel.logs.containers import ContainerReader, LogMessage, PartReader, Place, RawMessage
from autolabel.logs.index import Chunk, LogIndex, LogSlice, PartOfSource, UnreadRange
from autolabel.logs.kinds import HEAD_BYTES, VIDEOS, Container, container_of
from autolabel.logs.ranges import LOG_CHANGED, MAX_CHUNK_HEAD, check_size, join_chunks, read_range


def inspect_log(source: ByteSource, name: str) -> LogIndex:
    """Read the index of a log: its own, or one made by a walk if that is missing or damaged.

    LogRefused, which names the log, for a file of another kind, or an index too large.
    """
    head = bytes(read_range(source, 0, min(source.size, HEAD_BYTES)))
    container = container_of(head, name)
    if container in VIDEOS:
        from autolabel.logs.videos import inspect_video

        return inspect_video(source, container, name)
    if parts := _part_reader(container):
        return parts.inspect(source, name)
    reader = _reader(container)
    index = reader.read_index(source)
    return index if isinstance(index, LogIndex) else reader.walk(source, index)


def read_messages(
    source: ByteSource, container: Container, part: LogSlice, channels: Collection[int]
) -> Iterator[LogMessage | UnreadRange]:
    """Yield the messages of the channels in a slice, in the order of their places, and the chunks that are refused.

    A chunk is read with one request, small neighbours together. Of a large chunk without compression, the messages are
    read alone if they are a small part of it. LogRefused if the log changes meanwhile.
    """
    if parts := _part_reader(container):
        yield from parts.messages(source, part.chunks, channels)
        return
    reader = _reader(container)
    for run in join_chunks(part.chunks):
        if len(run) == 1:
            yield from _read_chunk(source, reader, run[0], channels, None)
        else:
            start = run[0].start
            body = read_range(source, start, run[-1].end - start)
            for chunk in run:
                yield from _read_chunk(source, reader, chunk, channels, body[chunk.start - start : chunk.end - start])


def log_source(source: ByteSource, index: LogIndex) -> ByteSource:
    """Return the bytes of a log: the source itself, or what an archive holds, which is unpacked if it is compressed."""
    if index.within is None:
        return source
    if not index.within.compressed:
        return PartOfSource(source, index.within)
    from autolabel.logs.archive_files import UnpackedLog

    return UnpackedLog(source, index.within)


def _part_reader(container: Container) -> PartReader | None:
    if container == "sqlite3":
        from autolabel.logs.sqlite_container import SqliteReader

        return SqliteReader()
    if container in ("zip", "tar", "gzip"):
        from autolabel.logs.archive_container import ArchiveReader

        return ArchiveReader(container)
    return None


def _reader(container: Container) -> ContainerReader:
    # What reads the containers is imported for logs only: the command is installed without it.
    if container == "mcap":
        from autolabel.logs.mcap_container import McapReader

        return McapReader()
    from autolabel.logs.bag_container import BagReader

    return BagReader()


def _read_chunk(
    source: ByteSource, reader: ContainerReader, chunk: Chunk, channels: Collection[int], body: memoryview | None
) -> Iterator[LogMessage | UnreadRange]:
    """Yield the messages of a chunk. All of it is checked before its first message is given out."""
    messages: list[RawMessage] = []
    try:
        picked = _pick(source, reader, chunk, channels) if body is None else None
        if picked is None:
            if body is None:
                check_size(chunk.length - MAX_CHUNK_HEAD)
                body = read_range(source, chunk.start, chunk.length)
            messages = [one for one in reader.messages(reader.unpack(chunk, body)) if one.channel in channels]
        else:
            messages = picked
    except LogRefused as e:
        if e.reason == LOG_CHANGED:
            raise
        yield UnreadRange(chunk.start, chunk.end, e.reason, str(e))
        return
    for message in messages:
        place = Place(chunk.start, chunk.end, message.offset)
        yield LogMessage(message.channel, message.log_time, place, message.data)


def _pick(
    source: ByteSource, reader: ContainerReader, chunk: Chunk, channels: Collection[int]
) -> list[RawMessage] | None:
    try:
        return reader.pick(source, chunk, channels)
    except LogRefused as e:
        if e.reason == LOG_CHANGED:
            raise
        # The chunk itself may be whole.
        return None
