"""Lists the files of zip and tar archives by ranges, and unpacks tar.gz as a stream."""

from __future__ import annotations

import io
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.ports import ByteSource
from autolabel.logs.index import Member, UnreadRange, Within
from autolabel.logs.kinds import HEAD_BYTES, Container, tell_kind
from autolabel.logs.ranges import LOG_CHANGED, WINDOW_BYTES, read_range

# A tar has no directory. Heads of small files are found by reading all, those of large ones by a request for each.
_TAR_WINDOW = 1024 * 1024
_TAR_HEAD = 2048
_SMALL = 512 * 1024
# Long names have some hundred bytes; some versions of tarfile take time that grows with the square.
_MAX_TAR_HEAD = 16 * 1024
# Of a zip as many as a directory of this size has; each takes about a kilobyte of memory.
_MAX_FILES = 300_000
_MAX_DIRECTORY = 32 * 1024 * 1024
# A zip file has a head of 30 bytes, a name and extras of up to 64 KiB each, and up to 24 bytes behind its data.
_ZIP_HEAD = 30
_MAX_NAME = 1024
_MAX_ZIP_HEAD = _ZIP_HEAD + 2 * 65_535 + 24
# One function unpacks all of a tar.gz, twice.
MAX_STREAM_BYTES = 4 * 1024**3
MAX_UNPACKED_BYTES = 16 * 1024**3
# Deflate reaches 1,000; pictures and logs do not reach 100.
MAX_RATIO = 200
_RATIO_FROM = 1024 * 1024
_STREAM_RUN = 4 * 1024 * 1024
_PART = 64 * 1024
# Deflate adds five bytes to each block of 64 KiB that it cannot make smaller.
_DEFLATE_OVERHEAD = 1024
# The time of a file has at most 19 digits of ns.
_MAX_SECONDS = 10**10


class ArchiveFile(NamedTuple):
    """A file in an archive. `start` and `length`: the range that is read for it, in a zip with its head.

    `time`: when it was changed, in ns since the epoch. `crc`: None if the archive has none. `stored`: not compressed.
    """

    name: str
    start: int
    length: int
    size: int
    time: int
    crc: int | None = None
    stored: bool = True


class Listing(NamedTuple):
    """The files of an archive, in the order of their places, and what is refused."""

    files: list[ArchiveFile]
    refused: list[UnreadRange]


class RangeFile(io.RawIOBase):
    """A file that is read by ranges through a window. LogRefused if a read goes beyond the limits.

    `failed`: what the source raised, which the libraries would take for damage of the archive.
    """

    def __init__(self, source: ByteSource, most: int) -> None:
        """`most`: the bytes of one read."""
        self.failed: Exception | None = None
        self.window = WINDOW_BYTES
        self._source = source
        self._most = most
        self._at = 0
        self._from = 0
        self._held = memoryview(b"")

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        if self._at < 0:
            raise OSError("the archive points before its start")
        return self._at

    def read(self, size: int = -1) -> bytes:
        rest = max(0, self._source.size - self._at)
        size = rest if size < 0 else min(size, rest)
        if not size:
            return b""
        if size > self._most:
            raise LogRefused("archive-damaged", f"the archive has a head of {size:,} bytes")
        if self._at < self._from or self._at + size > self._from + len(self._held):
            asked = min(max(size, self.window), rest)
            try:
                self._held, self._from = read_range(self._source, self._at, asked), self._at
            # Of any kind: S3 and disks have errors of their own, and it is raised again.
            except Exception as e:
                self.failed = e
                raise
        body = bytes(self._held[self._at - self._from :][:size])
        self._at += size
        return body

    def read_end(self, at: int) -> bool:
        """Whether a tar archive ends at a place: with a block of zeros, and not with a damaged head."""
        self.seek(at)
        return self.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)


class GzipSource:
    """Unpacks a gzip file as far as it is read; behind its end it reads as zeros, as a tar ends.

    Reading backwards begins again at the start. `size`: that of the content once its end was read, before that a limit.
    LogRefused if the file is damaged, cut off or too large.
    """

    def __init__(self, source: ByteSource) -> None:
        if source.size > MAX_STREAM_BYTES:
            raise LogRefused(
                "archive-too-large",
                f"it has {source.size:,} bytes, and tar.gz is read up to {MAX_STREAM_BYTES:,}: use .tar or .zip",
            )
        self.size = MAX_UNPACKED_BYTES
        self._source = source
        self._at = 0
        self._start()

    def read(self, start: int, length: int) -> bytes:
        if start < self._at:
            self._start()
        found = bytearray()
        while self._at < start + length:
            part = self._next()
            if not part:
                break
            begin, self._at = self._at, self._at + len(part)
            found += part[max(0, start - begin) : start + length - begin]
            rest = self._at - (start + length)
            if rest > 0:
                self._kept, self._at = part[-rest:], start + length
        return bytes(found.ljust(length, b"\0"))

    def _start(self) -> None:
        self._at = 0
        self._from = 0
        self._packed = b""
        self._kept = b""
        self._unpacked = 0
        self._unpack = zlib.decompressobj(31)

    def _next(self) -> bytes:
        """Return the next bytes of the content, empty at its end."""
        if self._kept:
            kept, self._kept = self._kept, b""
            return kept
        while True:
            if not self._packed:
                length = min(_STREAM_RUN, self._source.size - self._from)
                if not length:
                    if part := self._unpack.decompress(b"", _TAR_WINDOW):
                        return part
                    if not self._unpack.eof:
                        raise LogRefused("log-cut-off", "the gzip file is cut off")
                    self.size = self._at
                    return b""
                self._packed = bytes(read_range(self._source, self._from, length))
                self._from += length
            if self._unpack.eof:
                if not self._packed.startswith(b"\x1f\x8b"):
                    # Zeros and other bytes behind the end are ignored, as gzip does.
                    self._packed, self._from = b"", self._source.size
                    continue
                self._unpack = zlib.decompressobj(31)
            try:
                part = self._unpack.decompress(self._packed, _TAR_WINDOW)
            except zlib.error as e:
                raise LogRefused("archive-damaged", f"the gzip file is damaged: {e}") from e
            self._packed = self._unpack.unused_data if self._unpack.eof else self._unpack.unconsumed_tail
            self._unpacked += len(part)
            packed = self._from - len(self._packed)
            if self._unpacked > MAX_UNPACKED_BYTES or self._unpacked > max(64 * _RATIO_FROM, MAX_RATIO * packed):
                raise LogRefused(
                    "archive-bomb", f"{packed:,} bytes of the gzip file unpack to more than {self._unpacked:,}"
                )
            if part:
                return part


class Archive:
    """An archive, read by ranges. `content`: what its places are in, the file itself or what a gzip file unpacks to."""

    def __init__(self, source: ByteSource, container: Container) -> None:
        """Open an archive. LogRefused for a gzip file that is not a tar.gz, or is too large."""
        self.content = source
        self._zipped = container == "zip"
        if container == "gzip":
            self.content = GzipSource(source)
            kind = tell_kind(self.content.read(0, HEAD_BYTES))
            if kind.container != "tar":
                raise LogRefused(
                    "log-compressed", f"it is a gzip file of {kind.name or 'something'}: unpack it, and upload that"
                )

    def list(self) -> Listing:
        """List the files. LogRefused if they cannot be known."""
        return _list_zip(self.content) if self._zipped else _list_tar(self.content)

    def read(self, file: ArchiveFile) -> memoryview:
        """Read a file whole. LogRefused if it is damaged."""
        return self.unpack(file, read_range(self.content, file.start, file.length))

    def head(self, file: ArchiveFile) -> bytes:
        """Read the first bytes of a file, fewer if it is compressed."""
        start = self.data_start(file)
        body = bytes(read_range(self.content, start, min(file.start + file.length - start, HEAD_BYTES)))
        if file.stored:
            return body
        try:
            return zlib.decompressobj(-15).decompress(body, HEAD_BYTES)
        except zlib.error:
            return b""

    def place_of(self, log: ArchiveFile) -> Within:
        """Return where a log is. LogRefused if it is compressed and too large to unpack it."""
        start = self.data_start(log)
        deflated = 0 if log.stored else log.start + log.length - start
        within = Within(start, log.size, deflated, isinstance(self.content, GzipSource))
        if within.compressed and log.size > MAX_STREAM_BYTES:
            raise LogRefused(
                "log-compressed",
                f"{_shown(log.name)} has {log.size:,} bytes and is compressed, which is read up to "
                f"{MAX_STREAM_BYTES:,}: unpack it and upload the log as it is",
            )
        return within

    def data_start(self, file: ArchiveFile) -> int:
        """Return where the data of a file begin. In a zip, the head before them tells."""
        if not self._zipped:
            return file.start
        return file.start + min(_data_at(read_range(self.content, file.start, _ZIP_HEAD)), file.length)

    def unpack(self, file: ArchiveFile | Member, body: memoryview) -> memoryview:
        """Return the content of a file from the bytes of its range. LogRefused if it is not as its archive states."""
        if not self._zipped:
            return body
        begin = _data_at(body)
        content: bytes | memoryview = body[begin : begin + file.size]
        if not file.stored:
            try:
                # One byte more shows data that are longer than stated.
                content = zlib.decompressobj(-15).decompress(body[begin:], file.size + 1)
            except zlib.error as e:
                raise LogRefused("member-damaged", f"{_shown(file.name)} cannot be unpacked: {e}") from e
        if len(content) != file.size or zlib.crc32(content) != file.crc:
            raise LogRefused("member-crc-wrong", f"{_shown(file.name)} has another size or CRC than its archive says")
        return memoryview(content)


class UnpackedLog:
    """The bytes of a log that is compressed in an archive, unpacked into a temporary file as far as they are whole.

    `damage`: what could not be unpacked.
    """

    def __init__(self, source: ByteSource, within: Within) -> None:
        """Unpack the log. LogRefused if the disk is full."""
        self.size = 0
        self.damage: tuple[UnreadRange, ...] = ()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with this object)
        try:
            for part in _inflated(source, within) if within.deflated else _streamed(source, within):
                self._file.write(part)
                self.size += len(part)
        except (LogRefused, zlib.error) as e:
            if isinstance(e, LogRefused) and e.reason not in ("log-cut-off", "archive-damaged"):
                raise
            why = f"the archive is damaged behind byte {self.size:,} of the log: {e}"
            self.damage = (UnreadRange(self.size, within.length, "archive-damaged", why),)
        except OSError as e:
            raise LogRefused("disk-full", f"the log cannot be unpacked here ({e}): unpack it, and upload that") from e

    def read(self, start: int, length: int) -> bytes:
        self._file.seek(start)
        return self._file.read(length)


def _inflated(source: ByteSource, within: Within) -> Iterator[bytes]:
    """Yield the content of a deflated file, at most as many bytes as it states."""
    unpack, left, end = zlib.decompressobj(-15), within.length, within.start + within.deflated
    for at in range(within.start, end, _STREAM_RUN):
        run = read_range(source, at, min(_STREAM_RUN, end - at))
        # In small parts, since damage takes all of its part.
        for start in range(0, len(run), _PART):
            packed: bytes | memoryview = run[start : start + _PART]
            while packed and left and not unpack.eof:
                part = unpack.decompress(packed, min(_STREAM_RUN, left))
                packed, left = unpack.unconsumed_tail, left - len(part)
                yield part
    if left:
        raise LogRefused("log-cut-off", "it ends there")


def _streamed(source: ByteSource, within: Within) -> Iterator[bytes]:
    content = GzipSource(source)
    for at in range(within.start, within.start + within.length, _TAR_WINDOW):
        yield content.read(at, min(_TAR_WINDOW, within.start + within.length - at))


def _list_zip(source: ByteSource) -> Listing:
    """List a zip archive by its directory. LogRefused if it has none that can be read."""
    file = RangeFile(source, _MAX_DIRECTORY)
    try:
        archive = zipfile.ZipFile(file)
        entries = archive.infolist()
    except LogRefused:
        raise
    # zipfile raises errors of many kinds for damaged directories.
    except Exception as e:
        if file.failed:
            raise file.failed from e
        raise LogRefused(
            "archive-damaged", f"the directory at the zip archive's end cannot be read ({e}): repair it with `zip -FF`"
        ) from e
    if len(entries) > _MAX_FILES:
        raise LogRefused("index-too-large", f"the archive has more than {_MAX_FILES:,} files")
    entries.sort(key=lambda entry: entry.header_offset)
    ends = [*(entry.header_offset for entry in entries[1:]), archive.start_dir][: len(entries)]
    listing = Listing([], [])
    for entry, end in zip(entries, ends, strict=True):
        start, least = entry.header_offset, entry.header_offset + _ZIP_HEAD + entry.compress_size
        if start < 0 or least > end:
            # Archives that unpack to far more than they seem let files share bytes.
            raise LogRefused(
                "archive-damaged", f"{_shown(entry.filename)} shares bytes with another file of the archive"
            )
        end = min(end, entry.header_offset + _MAX_ZIP_HEAD + entry.compress_size)
        if entry.is_dir():
            continue
        stored = entry.compress_type == zipfile.ZIP_STORED
        found = ArchiveFile(entry.filename, start, end - start, entry.file_size, _zip_time(entry), entry.CRC, stored)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if entry.flag_bits & 1:
            _refuse(listing, found, "member-encrypted", "is encrypted")
        elif kind not in (0, stat.S_IFREG):
            _refuse(listing, found, "member-special", "is a link or a device")
        elif entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            _refuse(listing, found, "compression-unknown", "is neither stored nor deflated")
        elif stored and entry.file_size != entry.compress_size:
            _refuse(listing, found, "archive-damaged", "has two sizes")
        elif entry.compress_size > entry.file_size + entry.file_size // 100 + _DEFLATE_OVERHEAD:
            _refuse(listing, found, "archive-damaged", f"has {entry.compress_size:,} bytes for {entry.file_size:,}")
        elif entry.file_size > max(_RATIO_FROM, MAX_RATIO * entry.compress_size):
            _refuse(listing, found, "archive-bomb", f"has {entry.compress_size:,} bytes and states {entry.file_size:,}")
        else:
            listing.files.append(found)
    return _checked(listing)


def _list_tar(source: ByteSource) -> Listing:
    """List a tar archive by a walk over its heads. What it does not reach is refused."""
    listing = Listing([], [])
    file = RangeFile(source, _MAX_TAR_HEAD)
    at = 0
    why: LogRefused | None = None
    try:
        for entry, end in _tar_entries(file):
            at = end
            if len(listing.files) + len(listing.refused) >= _MAX_FILES:
                raise LogRefused("index-too-large", f"the archive has more than {_MAX_FILES:,} files")
            file.window = _TAR_WINDOW if entry.size < _SMALL else _TAR_HEAD
            name = entry.name.removeprefix("./")
            found = ArchiveFile(name, entry.offset_data, entry.size, entry.size, _tar_time(entry))
            if entry.isreg() and not entry.issparse():
                listing.files.append(found)
            elif not entry.isdir():
                _refuse(listing, found, "member-special", "is a link, a device or sparse")
        if not file.read_end(at):
            why = LogRefused("log-cut-off", f"the archive has no end mark at byte {at:,}")
    except LogRefused as e:
        if e.reason == LOG_CHANGED:
            raise
        why = e
    if listing.files and listing.files[-1].start + listing.files[-1].length > source.size:
        last = listing.files.pop()
        at, why = last.start, LogRefused("log-cut-off", f"the archive ends inside {_shown(last.name)}")
    if why:
        if not listing.files:
            raise why
        listing.refused.append(UnreadRange(at, max(at, source.size), why.reason, str(why)))
    return _checked(listing)


def _tar_entries(file: RangeFile) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """Yield the entries, and where the next one begins."""
    try:
        archive = tarfile.TarFile(fileobj=file, errorlevel=2)
        last = -1
        # Not an iteration over the archive, which would keep all entries.
        while (entry := archive.next()) is not None:
            # The types of tarfile lack its list.
            archive.members.clear()  # type: ignore[attr-defined]
            if entry.offset_data <= last or entry.size < 0:
                raise LogRefused("archive-damaged", "the archive points backwards")
            last = entry.offset_data
            yield entry, archive.offset
    except (LogRefused, GeneratorExit):
        raise
    # tarfile raises errors of many kinds for damaged heads.
    except Exception as e:
        if file.failed:
            raise file.failed from e
        raise LogRefused("archive-damaged", f"the tar archive is damaged: {e}") from e


def _data_at(head: memoryview) -> int:
    """Return where the data of a file begin in its range: behind the head, the name and extras."""
    if bytes(head[:4]) != b"PK\x03\x04":
        raise LogRefused("member-damaged", "a file is not where the directory says")
    return _ZIP_HEAD + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:_ZIP_HEAD], "little")


def _tar_time(entry: tarfile.TarInfo) -> int:
    """Return when a file was changed, in ns."""
    return int(entry.mtime * 1_000_000_000) if 0 < entry.mtime < _MAX_SECONDS else 0


def _zip_time(entry: zipfile.ZipInfo) -> int:
    """Return when a file was changed, in ns. A zip has no zone: UTC."""
    try:
        return int(datetime(*entry.date_time, tzinfo=UTC).timestamp()) * 1_000_000_000
    except ValueError:
        return 0


def _checked(listing: Listing) -> Listing:
    """Refuse files whose names point out of the archive, or are there twice."""
    counts = Counter(file.name for file in listing.files)
    kept = Listing([], listing.refused)
    for file in listing.files:
        parts = file.name.replace("\\", "/").split("/")
        if not file.name.isprintable() or len(file.name) > _MAX_NAME:
            _refuse(kept, file, "member-unnamed", "has a name that cannot be printed, or a very long one")
        elif not parts[0] or ".." in parts or file.name[1:2] == ":":
            _refuse(kept, file, "member-outside", "points out of the archive")
        elif counts[file.name] > 1:
            _refuse(kept, file, "member-doubled", "is there twice, and it is not known which one counts")
        else:
            kept.files.append(file)
    return kept


def refusal(file: ArchiveFile, reason: str, why: str) -> UnreadRange:
    """Refuse a file of an archive by its name."""
    return UnreadRange(file.start, file.start + max(1, file.length), reason, f"{_shown(file.name)} {why}")


def _refuse(listing: Listing, file: ArchiveFile, reason: str, why: str) -> None:
    listing.refused.append(refusal(file, reason, why))


def _shown(name: str) -> str:
    return repr(name if len(name) <= 200 else "…" + name[-200:])
