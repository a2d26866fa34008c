"""Reads ranges of a log: exact ones, and windows for a walk over records."""

from __future__ import annotations

from collections.abc import Sequence

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.ports import ByteSource
from autolabel.logs.index import Chunk

# Recorders write chunks of 0.75 to 16 MiB. A chunk is in memory twice: as it is stored, and decompressed.
MAX_CHUNK_BYTES = 128 * 1024 * 1024
# What a chunk's record has beside its data.
MAX_CHUNK_HEAD = 64 * 1024
# Small neighbours are read together, up to RUN_BYTES: a log can have tens of thousands of chunks of 4 KiB.
JOIN_GAP = 64 * 1024
RUN_BYTES = 1024 * 1024
# A walk reads heads of records and jumps over what is in them.
WINDOW_BYTES = 64 * 1024
# The reason of a refusal that ends all reading of a log.
LOG_CHANGED = "log-changed"


def check_size(size: int) -> None:
    """Refuse a chunk of this many bytes, stored or decompressed, if it exceeds MAX_CHUNK_BYTES."""
    if size > MAX_CHUNK_BYTES:
        raise LogRefused("chunk-too-large", f"the chunk has {size:,} bytes, the limit is {MAX_CHUNK_BYTES:,}")


def read_range(source: ByteSource, start: int, length: int) -> memoryview:
    """Read a range whole. LogRefused if it is not inside the log, or the source gives other bytes than asked for."""
    if start < 0 or length < 0 or start + length > source.size:
        raise LogRefused("range-outside-log", f"bytes {start:,} to {start + length:,} are outside the log")
    body = source.read(start, length) if length else b""
    if len(body) != length:
        raise LogRefused(LOG_CHANGED, f"bytes {start:,} to {start + length:,} of the log have changed or are gone")
    return memoryview(body)


def join_ranges(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ascending ranges (start, end) over gaps of at most JOIN_GAP to runs of at most RUN_BYTES."""
    runs: list[tuple[int, int]] = []
    for start, end in ranges:
        if runs and start - runs[-1][1] <= JOIN_GAP and end - runs[-1][0] <= RUN_BYTES:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def join_chunks(chunks: Sequence[Chunk]) -> list[list[Chunk]]:
    """Group chunks into runs that one request reads, by the same limits. They keep their order."""
    groups: list[list[Chunk]] = []
    for chunk in chunks:
        run = groups[-1] if groups else []
        if run and 0 <= chunk.start - run[-1].end <= JOIN_GAP and chunk.end - run[0].start <= RUN_BYTES:
            run.append(chunk)
        else:
            groups.append([chunk])
    return groups


class Window:
    """Holds the bytes around the place of a walk, so that one request serves many small reads."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._held = memoryview(b"")
        self._from = 0

    def read(self, start: int, length: int) -> memoryview:
        """Read up to `length` bytes from `start`, fewer only at the log's end."""
        length = max(0, min(length, self._source.size - start))
        if start < self._from or start + length > self._from + len(self._held):
            asked = min(max(length, WINDOW_BYTES), self._source.size - start)
            self._held, self._from = read_range(self._source, start, asked), start
        return self._held[start - self._from : start - self._from + length]
