"""Walks the parts of PNG and JPEG files by their lengths: chunks and segments, read in few windows.

Formats: W3C PNG, 5 (chunks) and 13.2 (errors); ITU-T T.81, annex B (markers and segments). Where files break them, the
walk goes on as libpng and libjpeg-turbo do.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from autolabel.contracts.errors import ImageRefused

# Returns up to `count` bytes from `start`, fewer only at the file's end: read(start, count).
Read = Callable[[int, int], bytes]

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
# The first window holds the header of most frames, the second one a preview in EXIF data. The largest frame, of 40 MB,
# fits into the allowed windows.
WINDOWS = (16 * 1024, 256 * 1024, 4 * 1024 * 1024)
MAX_READS = 16
# A frame of 40 MB in JPEG's largest segments has 640. A walk of this length takes half a second.
MAX_PARTS = 250_000
APP0, APP1, APP14, COMMENT = 0xE0, 0xE1, 0xEE, 0xFE
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
# Those that a decoder reads: baseline, extended, progressive and lossless, with Huffman or arithmetic coding.
FRAME_HEADERS = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA})
# Tables (DHT, DAC, DQT, DNL, DRI), application data and comments.
_WITH_LENGTH = FRAME_HEADERS | {0xC4, 0xCC, 0xDB, 0xDC, 0xDD, START_OF_SCAN, COMMENT, *range(0xE0, 0xF0)}
# Markers that are more than a byte of pixels: not a stuffed zero, a fill byte, TEM or a restart of the decoder.
_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")


class Chunk(NamedTuple):
    """A chunk of a PNG. `kind`: four letters; `at`: where its `size` bytes begin."""

    kind: bytes
    at: int
    size: int

    @property
    def is_critical(self) -> bool:
        """Whether the picture needs it: a decoder may leave out all others."""
        return self.kind[:1].isupper()


class Segment(NamedTuple):
    """A segment of a JPEG. `kind`: its marker's second byte; `at`: where its `size` bytes begin, behind its length."""

    kind: int
    at: int
    size: int


class Source:
    """Reads a file in windows: a header takes one small read, and a file without one a bounded number of reads.

    Raises ImageRefused (`metadata-too-large`) beyond MAX_READS.
    """

    def __init__(self, read: Read, name: str) -> None:
        self._read = read
        self.name = name
        self._held = b""
        self._from = 0
        self._ends = False
        self._reads = 0

    @classmethod
    def of(cls, body: bytes, name: str) -> Source:
        """Make a source of a file that is read already."""
        source = cls(lambda start, count: body[start : start + count], name)
        source._held, source._ends = body, True
        return source

    def holds(self, end: int) -> bool:
        """Check whether the bytes before `end` are read."""
        return end <= self._from + len(self._held)

    def read(self, start: int, count: int) -> bytes:
        """Return `count` bytes from `start`, fewer only at the file's end."""
        if start < self._from or not (self._ends or self.holds(start + count)):
            self._fetch(start, count)
        at = start - self._from
        return self._held[at : at + count]

    def find_marker(self, start: int) -> int:
        """Return the place of JPEG's next marker, behind anything else; -1 if there is none."""
        while self.read(start, 2):
            found = _MARKER.search(self._held, start - self._from)
            if found:
                return self._from + found.start()
            if self._ends:
                break
            # The last byte may be the first half of a marker.
            start = self._from + len(self._held) - 1
        return -1

    def _fetch(self, start: int, count: int) -> None:
        if self._reads == MAX_READS:
            raise ImageRefused(
                "metadata-too-large",
                f"{self.name} has its size or pixels behind too much metadata: {MAX_READS} reads did not find them; "
                "leave out metadata",
            )
        window = max(count, WINDOWS[min(self._reads, len(WINDOWS) - 1)])
        self._held, self._from = self._read(start, window), start
        self._ends = len(self._held) < window
        self._reads += 1

    def unusable(self, why: str) -> ImageRefused:
        """Make the refusal of a file that no decoder reads."""
        return ImageRefused("not-an-image", f"{self.name} {why}")


def png_chunks(source: Source) -> Iterator[Chunk]:
    """Yield the chunks behind a PNG's signature, up to its end or IEND. Raises ImageRefused where libpng stops."""
    at = len(PNG)
    for _ in range(MAX_PARTS):
        head = source.read(at, 8)
        if len(head) < 8:
            return
        size, kind = struct.unpack(">I4s", head)
        if not kind.isalpha() or size >= 2**31:
            raise source.unusable(f"is a broken PNG: no chunk begins at byte {at:,}")
        yield Chunk(kind, at + 8, size)
        if kind == b"IEND":
            return
        at += size + 12
    raise _too_many(source)


def png_data(source: Source, chunk: Chunk) -> bytes | None:
    """Return a chunk's bytes; None if the file ends before, or the checksum is wrong."""
    data = source.read(chunk.at, chunk.size + 4)
    data, crc = data[: chunk.size], data[chunk.size :]
    return data if crc == struct.pack(">I", zlib.crc32(data, zlib.crc32(chunk.kind))) else None


def jpeg_segments(source: Source) -> Iterator[Segment]:
    """Yield the segments of a JPEG, up to its end or EOI. Raises ImageRefused where libjpeg-turbo stops.

    Pixels, and bytes that belong to nothing, are skipped.
    """
    at = 2
    for _ in range(MAX_PARTS):
        at = source.find_marker(at)
        if at < 0:
            return
        marker = source.read(at + 1, 1)[0]
        if marker == END_OF_IMAGE:
            yield Segment(marker, at + 2, 0)
            return
        if marker not in _WITH_LENGTH:
            raise source.unusable(f"is a JPEG that no decoder reads: byte {at:,} begins a segment of type {marker:#x}")
        # A length counts its own two bytes. libjpeg-turbo takes a smaller one for them alone.
        size = max(2, int.from_bytes(source.read(at + 2, 2)))
        yield Segment(marker, at + 4, size - 2)
        at += 2 + size
    raise _too_many(source)


def _too_many(source: Source) -> ImageRefused:
    return ImageRefused("metadata-too-large", f"{source.name} has more than {MAX_PARTS:,} parts; leave out metadata")
