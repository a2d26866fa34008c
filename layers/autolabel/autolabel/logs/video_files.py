"""Shows a video in a bucket to the library that reads it as a file, with few requests; and reads the boxes of MP4."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.ports import ByteSource
from autolabel.logs.ranges import LOG_CHANGED, WINDOW_BYTES, read_range

# The most that one request reads.
_PIECE_BYTES = 4 * 1024 * 1024
# One for the head or the index, one for the frames, one for what is between.
_PIECES_HELD = 3
_FREE_HEAD = 16
# A box tells its size in 4 bytes, or in 8 behind its name.
_LARGE, _TO_THE_END = 1, 0


class RangedFile:
    """A file of `size` bytes over a source, as the library av reads files.

    A read inside a planned range takes the range's rest with one request, up to 4 MiB. Other reads take 64 KiB, and
    twice as much each time that they go on behind the last one.
    """

    def __init__(self, source: ByteSource, size: int | None = None) -> None:
        self.size = source.size if size is None else min(size, source.size)
        self._source = source
        self._planned: list[tuple[int, int]] = []
        self._patches: list[tuple[int, bytes]] = []
        self._held: deque[tuple[int, bytes]] = deque(maxlen=_PIECES_HELD)
        self._window = (-1, WINDOW_BYTES)
        self._at = 0
        # What the source has raised.
        self.failed: Exception | None = None

    def plan(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Plan ranges (start, end), in place of those that were planned before."""
        self._planned = list(ranges)

    def hide(self, start: int, end: int) -> None:
        """Show the bytes of whole boxes as one free box, which readers of MP4 jump over."""
        if end - start >= _FREE_HEAD:
            self._held.clear()
            self._patches.append((start, b"\0\0\0\1free" + (end - start).to_bytes(8, "big")))

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes; none only at the end."""
        if size <= 0 or self._at >= self.size:
            return b""
        try:
            start, piece = self._piece()
        except Exception as e:
            self.failed = e
            raise
        part = piece[self._at - start : self._at - start + size]
        self._at += len(part)
        return part

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, self.size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def _piece(self) -> tuple[int, bytes]:
        at = self._at
        for start, piece in reversed(self._held):
            if start <= at < start + len(piece):
                return start, piece
        planned = next((end for start, end in self._planned if start <= at < end), None)
        if planned is None:
            expected, length = self._window
            length = min(2 * length, _PIECE_BYTES) if at == expected else WINDOW_BYTES
            self._window = (at + length, length)
        else:
            length = min(planned - at, _PIECE_BYTES)
        piece = self._patched(at, bytes(read_range(self._source, at, min(length, self.size - at))))
        self._held.append((at, piece))
        return at, piece

    def _patched(self, start: int, piece: bytes) -> bytes:
        for at, patch in self._patches:
            if at < start + len(piece) and start < at + len(patch):
                shown = bytearray(piece)
                for number, byte in enumerate(patch):
                    if 0 <= at + number - start < len(shown):
                        shown[at + number - start] = byte
                piece = bytes(shown)
        return piece


class Box(NamedTuple):
    """A box at the top of an MP4 file; `end` is behind the file's end if the file was cut."""

    kind: bytes
    start: int
    end: int


def read_boxes(file: RangedFile) -> Iterator[Box]:
    """Yield the boxes at the top of an MP4 file. LogRefused where there is none."""
    at = 0
    while at < file.size:
        file.seek(at)
        head = file.read(_FREE_HEAD)
        while len(head) < _FREE_HEAD and (more := file.read(_FREE_HEAD - len(head))):
            head += more
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if size == _LARGE:
            size = int.from_bytes(head[8:16], "big")
        elif size == _TO_THE_END:
            size = file.size - at
        if size < 8 or len(kind) < 4 or not all(32 <= byte < 127 or byte == 0xA9 for byte in kind):
            raise LogRefused("record-damaged", f"no whole box is at byte {at:,}")
        yield Box(kind, at, at + size)
        at += size


class Boxes(NamedTuple):
    """The boxes of an MP4 file. `damage`: why they end at the byte `end`, or None; the last one can be cut off."""

    found: list[Box]
    end: int
    damage: LogRefused | None

    def of(self, kind: bytes) -> list[Box]:
        return [box for box in self.found if box.kind == kind]


def walk_boxes(file: RangedFile) -> Boxes:
    """Read the boxes at the top of an MP4 file up to its end, or up to where it is damaged or cut."""
    found: list[Box] = []
    try:
        for box in read_boxes(file):
            if box.end > file.size:
                damage = LogRefused("log-cut-off", f"the file ends inside a box {box.kind.decode('latin-1')!r}")
                # The data of whole frames in it can be read.
                found += [box] if box.kind in (b"mdat", b"moov") else []
                return Boxes(found, box.start, damage)
            found.append(box)
    except LogRefused as e:
        if e.reason == LOG_CHANGED:
            raise
        return Boxes(found, found[-1].end if found else 0, e)
    return Boxes(found, file.size, None)
