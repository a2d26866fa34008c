"""Reads ROS 2 bags in SQLite files, as rosbag2's storage sqlite3 writes them.

A chunk is a range of row ids, and a message's place is its row id. What a bag counts is not known without a scan, so an
index has no counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.ports import ByteSource
from autolabel.logs.compression import ZSTD, decompress_zstd
from autolabel.logs.containers import MAX_INDEX_BYTES, LogMessage, Place
from autolabel.logs.index import Chunk, LogChannel, LogIndex, UnreadRange
from autolabel.logs.ranges import LOG_CHANGED, check_size, read_range
from autolabel.logs.schemas import BY_NAME
from autolabel.logs.sqlite_pages import Database, open_database

ROWS = "rows"
# A chunk is about this part of the file, but at least 1/64, so that small bags can be cut too.
_CHUNK_BYTES = 4 * 1024 * 1024
_LEAST_CHUNKS = 64
_LEAST_BYTES = 4096
_MAX_TOPICS = 10_000
_WAL = b"\2"
# Only tables have a root page: views and virtual tables, which run what the file says, have none. Columns that are
# calculated or hidden do not count either.
_TABLE = (
    "SELECT c.name FROM sqlite_schema AS s, pragma_table_xinfo(s.name) AS c "
    "WHERE s.name = ? AND s.type = 'table' AND s.rootpage > 0 AND c.hidden = 0 LIMIT 100"
)
_TOPICS = "SELECT id, name, type, serialization_format FROM main.topics"
_DEFINITIONS = "SELECT topic_type, encoding, encoded_message_definition FROM main.message_definitions"
_FIRST = "SELECT _rowid_ FROM main.messages NOT INDEXED ORDER BY _rowid_ LIMIT 1"
_LAST = "SELECT _rowid_ FROM main.messages NOT INDEXED ORDER BY _rowid_ DESC LIMIT 1"
# The length of a blob is known without reading it; other values would have to be read for it.
_ROWS = (
    "SELECT _rowid_, topic_id, timestamp, CASE typeof(data) WHEN 'blob' THEN length(data) END "
    "FROM main.messages NOT INDEXED WHERE _rowid_ BETWEEN ? AND ? ORDER BY _rowid_"
)
_COLUMNS = {
    "topics": {"id", "name", "type", "serialization_format"},
    "messages": {"id", "topic_id", "timestamp", "data"},
    "message_definitions": {"topic_type", "encoding", "encoded_message_definition"},
}


class SqliteReader:
    """Reads ROS 2 bags in SQLite files."""

    def inspect(self, source: ByteSource, name: str) -> LogIndex:
        try:
            with open_database(source) as database:
                _check_tables(source, database)
                channels = tuple(_channels(database))
                first = next(database.rows(_FIRST), None)
                last = next(database.rows(_LAST), None)
                chunks = _cut(first[0], last[0], source.size) if first and last else ()
                return LogIndex("sqlite3", source.size, channels, tuple(chunks))
        except LogRefused as e:
            raise e if e.reason == LOG_CHANGED else LogRefused(e.reason, f"{name}: {e}") from e

    def messages(
        self, source: ByteSource, chunks: Sequence[Chunk], channels: Collection[int]
    ) -> Iterator[LogMessage | UnreadRange]:
        with open_database(source) as database:
            for chunk in chunks:
                yield from _read_rows(database, chunk, channels)


def _read_rows(database: Database, chunk: Chunk, channels: Collection[int]) -> Iterator[LogMessage | UnreadRange]:
    at = chunk.start
    try:
        for row, topic, time, length in database.rows(_ROWS, chunk.start, chunk.end - 1):
            # A damaged tree of pages can have circles.
            if not isinstance(row, int) or row < at:
                raise LogRefused("log-damaged", f"row {at:,} is followed by row {row}")
            at = row + 1
            if isinstance(topic, int) and topic in channels:
                yield _read_row(database, row, topic, time, length)
    except LogRefused as e:
        if e.reason == LOG_CHANGED:
            raise
        yield UnreadRange(at, chunk.end, "chunk-damaged", str(e), ROWS)


def _read_row(database: Database, row: int, topic: int, time: object, length: object) -> LogMessage | UnreadRange:
    try:
        if not isinstance(time, int) or not isinstance(length, int):
            raise LogRefused("message-damaged", "its time is not a number, or its data are not bytes")
        check_size(length)
        data = database.blob("messages", "data", row, length)
        # rosbag2 can compress each message; the file does not say so.
        data = decompress_zstd(data) if data[: len(ZSTD)] == ZSTD else data
    except LogRefused as e:
        if e.reason == LOG_CHANGED:
            raise
        return UnreadRange(row, row + 1, e.reason, str(e), ROWS)
    return LogMessage(topic, time, Place(row, row + 1, 0, f"row {row:,}"), data)


def _check_tables(source: ByteSource, database: Database) -> None:
    """Check that the tables are rosbag2's. LogRefused says what is missing."""
    for table in ("topics", "messages"):
        missing = _COLUMNS[table] - _columns(database, table)
        if not missing:
            continue
        if bytes(read_range(source, 18, 1)) == _WAL and len(missing) == len(_COLUMNS[table]):
            raise LogRefused(
                "log-without-wal",
                f"it has no table {table}, because its messages are in its -wal file: put that beside the .db3 file, "
                "run `sqlite3 <file> 'PRAGMA wal_checkpoint(TRUNCATE)'`, and upload the .db3 file again",
            )
        raise LogRefused(
            "log-kind",
            f"it is an SQLite database, and its table {table} lacks {', '.join(sorted(missing))}: give a ROS 2 bag, "
            "as `ros2 bag record` writes it",
        )


def _columns(database: Database, table: str) -> set[object]:
    return {name for (name,) in database.rows(_TABLE, table)}


def _channels(database: Database) -> Iterator[LogChannel]:
    definitions: dict[str, tuple[str, str]] = {}
    # Recorders of before 2023 (Humble) wrote none.
    if _COLUMNS["message_definitions"] <= _columns(database, "message_definitions"):
        for schema, kind, text in _texts(database, _DEFINITIONS):
            definitions.setdefault(str(schema), (str(kind), str(text)))
    for number, topic, schema, encoding in _texts(database, _TOPICS):
        if not isinstance(number, int):
            raise LogRefused("log-damaged", "the number of a topic is not a number")
        kind, text = definitions.get(str(schema), ("", ""))
        yield LogChannel(number, str(topic), str(schema), str(encoding), kind or BY_NAME, text.encode())


def _texts(database: Database, query: str) -> Iterator[tuple[object, ...]]:
    """Yield rows of short texts. LogRefused if they would fill the memory."""
    size = 0
    for number, row in enumerate(database.rows(query), start=1):
        size += sum(len(value) for value in row if isinstance(value, (str, bytes)))
        if number > _MAX_TOPICS or size > MAX_INDEX_BYTES // 16:
            raise LogRefused("index-too-large", f"it has more than {number - 1:,} topics or definitions")
        yield row


def _cut(first: object, last: object, size: int) -> Iterator[Chunk]:
    """Cut the rows into ranges of equal numbers of ids. They are about as large as each other."""
    if not isinstance(first, int) or not isinstance(last, int) or not 0 <= first <= last:
        raise LogRefused("log-damaged", f"its messages have the ids {first} to {last}")
    rows = last + 1 - first
    count = min(rows, -(-size // min(_CHUNK_BYTES, max(_LEAST_BYTES, size // _LEAST_CHUNKS))))
    each = -(-rows // count)
    for start in range(first, last + 1, each):
        length = min(each, last + 1 - start)
        yield Chunk(start, length, size=max(1, size * length // rows))
