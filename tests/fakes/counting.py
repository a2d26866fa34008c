"""Source of bytes that counts what is read of it."""

from __future__ import annotations


class Counting:
    """Source of bytes in memory. `reads`: start and length of each request."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.size = len(body)
        self.reads: list[tuple[int, int]] = []

    def read(self, start: int, length: int) -> bytes:
        assert length > 0
        assert start >= 0
        assert start + length <= self.size
        self.reads.append((start, length))
        return self.body[start : start + length]

    @property
    def bytes_read(self) -> int:
        return sum(length for _, length in self.reads)
