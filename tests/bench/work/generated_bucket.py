"""Buckets whose objects are generated when they are read and only counted when they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from autolabel.ports import StoredObject


class GeneratedBucket:
    """`autolabel.ports.Bucket` that is empty; what a measurement reads of it, a subclass generates.

    Reading what no subclass generates raises, so that no measurement runs on less than it should.
    """

    name = "bench"

    def __init__(self) -> None:
        self.written = 0

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def read(self, key: str) -> bytes | None:
        raise NotImplementedError(key)

    def read_first(self, key: str, count: int, etag: str | None = None) -> bytes:
        raise NotImplementedError(key)

    def stream(self, key: str) -> Iterator[bytes]:
        raise NotImplementedError(key)

    def lines(self, key: str) -> Iterator[bytes]:
        raise NotImplementedError(key)

    def exists(self, key: str) -> bool:
        raise NotImplementedError(key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        raise NotImplementedError(prefix)

    def write(self, key: str, body: bytes, content_type: str = "application/json") -> None:
        self.written += len(body)

    def write_once(self, key: str, body: bytes, content_type: str = "application/json") -> bool:
        raise NotImplementedError(key)

    def write_stream(self, key: str, chunks: Iterable[bytes], content_type: str, *, once: bool = False) -> None:
        for chunk in chunks:
            self.written += len(chunk)

    def concatenate(self, key: str, sources: Sequence[tuple[str, int]], content_type: str) -> None:
        raise NotImplementedError(key)
