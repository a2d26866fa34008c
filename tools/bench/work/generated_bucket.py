"""Buckets whose objects are generated when they are read and only counted when they are written."""

from __future__ import annotations

from collections.abc import Iterable


class GeneratedBucket:
    """What a measurement writes of `Bucket`; what it reads, a subclass generates.

    Nothing else is there, so that no measurement runs on less than it should.
    """

    name = "bench"

    def __init__(self) -> None:
        self.written = 0

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def write(self, key: str, body: bytes, content_type: str = "application/json") -> None:
        self.written += len(body)

    def write_once(self, key: str, body: bytes, content_type: str = "application/json") -> bool:
        self.write(key, body, content_type)
        return True

    def exists(self, key: str) -> bool:
        return False

    def write_stream(self, key: str, chunks: Iterable[bytes], content_type: str, *, once: bool = False) -> None:
        for chunk in chunks:
            self.written += len(chunk)
