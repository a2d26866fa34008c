"""Opens SQLite databases by ranges: SQLite asks for pages, and few requests fetch them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.ports import ByteSource
from autolabel.logs.ranges import read_range

_HEADER_BYTES = 100
# Pages are held in blocks of at least this size. Recorders write pages of 4 KiB.
_BLOCK = 4096
# The first request: most bags have their tables of topics and definitions in it.
_FIRST_BYTES = 64 * 1024
_RUN_BYTES = 4 * 1024 * 1024
_HELD_BLOCKS = 16 * 1024 * 1024 // _BLOCK
# Bytes are read ahead while they are at most this part of those that SQLite asked for.
_AHEAD_PART = 20
_MOST_AHEAD = 1024 * 1024
# The largest value in a row that SQLite itself may hold. Messages are read otherwise, and may be larger.
_MAX_VALUE = 1024 * 1024
# Bytes 18 and 19 of the header are 2 for a database with a -wal file, which is not here, and 1 for others.
_FORMAT = slice(18, 20)
_NUMBERS = itertools.count()


class Pages:
    """Gives out the bytes of a database, and holds some of them.

    `expected`: the bytes that will be asked for, one after the other, from the next page that is not held.
    """

    def __init__(self, source: ByteSource) -> None:
        self.size = source.size
        self.expected = 0
        self._source = source
        self._held: dict[int, bytes] = {}
        self._read = 0
        self._asked = 0

    def read(self, start: int, length: int) -> bytes:
        """Return the bytes from `start`, fewer at the database's end."""
        if start % _BLOCK == 0 < start and length == _BLOCK and (block := self._held.get(start // _BLOCK)):
            # A page of the usual size, as nearly all are.
            self._asked += length
            return block
        end = min(start + length, self.size)
        found = []
        for number in range(start // _BLOCK, -(-end // _BLOCK)):
            if number not in self._held:
                self._fetch(number, end)
            at = number * _BLOCK
            found.append(self._held[number][max(0, start - at) : end - at])
        self._asked += length
        body = b"".join(found)
        if start <= _FORMAT.start and end >= _FORMAT.stop:
            at = _FORMAT.start - start
            return body[:at] + b"\1\1" + body[at + 2 :]
        return body

    def _fetch(self, number: int, end: int) -> None:
        """Fetch the blocks from `number` with one request, up to the first one that is held."""
        start = number * _BLOCK
        ahead = (
            min(_MOST_AHEAD, self._asked // _AHEAD_PART - (self._read - self._asked)) if self._read else _FIRST_BYTES
        )
        wanted = max(end - start, min(self.expected, _RUN_BYTES)) + max(0, ahead)
        last = -(-min(start + wanted, self.size) // _BLOCK)
        last = next((block for block in range(number + 1, last) if block in self._held), last)
        body = read_range(self._source, start, min(last * _BLOCK, self.size) - start)
        self._read += len(body)
        self.expected = max(0, self.expected - len(body))
        for block in range(number, last):
            at = (block - number) * _BLOCK
            self._held[block] = bytes(body[at : at + _BLOCK])
        for oldest in list(itertools.islice(self._held, max(0, len(self._held) - _HELD_BLOCKS))):
            del self._held[oldest]


class Database:
    """A database of someone else, open for reading: what it says is data, and none of it is run."""

    def __init__(self, pages: Pages, connection: apsw.Connection) -> None:
        self._pages = pages
        self._connection = connection
        header = pages.read(0, _HEADER_BYTES)
        self._page_size = _page_size(header)
        self._usable = self._page_size - header[20]

    def rows(self, query: str, *values: str | int) -> Iterator[tuple[apsw.SQLiteValue, ...]]:
        """Run a query of this project. LogRefused if the database is damaged."""
        try:
            yield from self._connection.execute(query, values)
        except (apsw.Error, UnicodeDecodeError) as e:
            raise LogRefused("log-damaged", _damage(e)) from e

    def blob(self, table: str, column: str, row: int, length: int) -> memoryview:
        """Read a value of `length` bytes, its pages at once. LogRefused if it is damaged."""
        self._pages.expected = self._beside(length)
        try:
            with self._connection.blob_open("main", table, column, row, False) as blob:
                if blob.length() != length:
                    raise LogRefused("message-damaged", "it has two lengths")
                body = bytearray(length)
                blob.read_into(body)
        except (apsw.Error, UnicodeDecodeError) as e:
            raise LogRefused("message-damaged", _damage(e)) from e
        finally:
            self._pages.expected = 0
        return memoryview(body)

    def _beside(self, length: int) -> int:
        """Return the bytes of a row's pages beside its first one, in which its start is.

        https://www.sqlite.org/fileformat2.html#b_tree_pages has the rule. A row of rosbag2 has about 16 bytes more.
        """
        row, room = length + 16, self._usable - 4
        if row <= self._usable - 35:
            return 0
        least = (self._usable - 12) * 32 // 255 - 23
        pages, rest = divmod(row - least, room)
        return (pages + (least + rest > self._usable - 35)) * self._page_size


@contextmanager
def open_database(source: ByteSource) -> Iterator[Database]:
    """Open a database for reading. LogRefused if it is cut off or is none, or if the source changes."""
    pages = Pages(source)
    header = pages.read(0, _HEADER_BYTES)
    count = int.from_bytes(header[28:32], "big")
    # The count is out of date if a program of before 2010 wrote the file last.
    told = header[24:28] == header[92:96]
    size = count * _page_size(header)
    if len(header) < _HEADER_BYTES or (told and source.size < size):
        raise LogRefused("log-cut-off", f"it is cut off at {source.size:,} of {size:,} bytes: {_RECOVER}")
    files = _Files(pages)
    try:
        connection = apsw.Connection(
            "file:/log?immutable=1", apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI, files.name
        )
        try:
            # https://www.sqlite.org/security.html: what is advised for databases that others made.
            connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
            connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_VIEW, 0)
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
            connection.limit(apsw.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
            connection.limit(apsw.SQLITE_LIMIT_SQL_LENGTH, _MAX_VALUE)
            connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
            connection.execute("PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON")
            yield Database(pages, connection)
        finally:
            connection.close()
    except apsw.Error as e:
        raise LogRefused("log-damaged", _damage(e)) from e
    finally:
        files.unregister()


# apsw calls the methods of the next two classes by these names (N802).
class _Files(apsw.VFS):
    """A file system for SQLite with one file."""

    def __init__(self, pages: Pages) -> None:
        self.name = f"log-{next(_NUMBERS)}"
        self._pages = pages
        super().__init__(self.name, "")

    def xOpen(self, name: object, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(self._pages)


class _File(apsw.VFSFile):
    # All methods are here, since there is no file below that would have them.
    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        return self._pages.read(offset, amount)

    def xFileSize(self) -> int:  # noqa: N802
        return self._pages.size

    def xClose(self) -> None:  # noqa: N802
        pass

    def xLock(self, level: int) -> None:  # noqa: N802
        pass

    def xUnlock(self, level: int) -> None:  # noqa: N802
        pass

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        return 0

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return 0

    def xFileControl(self, op: int, pointer: int) -> bool:  # noqa: N802
        return False


_RECOVER = "recover what is left with `sqlite3 <file> .recover | sqlite3 <new file>`, and upload that"


def _page_size(header: bytes) -> int:
    stated = int.from_bytes(header[16:18], "big")
    return 65_536 if stated == 1 else stated


def _damage(error: Exception) -> str:
    return f"{error}: {_RECOVER}"
