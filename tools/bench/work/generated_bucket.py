"""A bucket whose objects are generated when they are read, and only counted when they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from autolabel.contracts.ports import ObjectHead, ObjectPart, StoredObject


class NotGenerated(Exception):
    """A measurement reads what its bucket does not generate."""


class GeneratedBucket:
    """A `Bucket` that counts the bytes written to it. A subclass generates what its measurement reads.

    Every other read raises NotGenerated, so that no measurement runs on less than it should.
    """

    name = "bench"

    def __init__(self) -> None:
        self.written = 0

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def write(self, key: str, body: bytes, content_type: str = "application/json") -> None:
        self.written += len(body)

    def write_once(
        self,
        key: str,
        body: bytes,
        content_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        self.write(key, body, content_type)
        return True

    def write_over(
        self,
        key: str,
        body: bytes,
        etag: str,
        content_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        raise NotGenerated(key)

    def head(self, key: str) -> ObjectHead | None:
        raise NotGenerated(key)

    def exists(self, key: str) -> bool:
        return False

    def write_stream(self, key: str, chunks: Iterable[bytes], content_type: str, *, once: bool = False) -> None:
        for chunk in chunks:
            self.written += len(chunk)

    def concatenate(self, key: str, sources: Sequence[tuple[str, int]], content_type: str) -> None:
        self.written += sum(size for _, size in sources)

    def read(self, key: str) -> bytes | None:
        # Runs of the bench have no uncertainty map.
        if key.endswith("/uncertainty.json") or key.startswith("catalogue/uncertainty/"):
            return None
        raise NotGenerated(key)

    def read_tagged(self, key: str, limit: int) -> tuple[bytes, str] | None:
        raise NotGenerated(key)

    def read_range(self, key: str, start: int, count: int, etag: str | None = None) -> ObjectPart:
        raise NotGenerated(key)

    def stream(self, key: str) -> Iterator[bytes]:
        raise NotGenerated(key)

    def lines(self, key: str) -> Iterator[bytes]:
        raise NotGenerated(key)

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        raise NotGenerated(prefix)

    def folders(self, prefix: str) -> Iterator[str]:
        raise NotGenerated(prefix)

    def has_open_uploads(self, prefix: str) -> bool:
        raise NotGenerated(prefix)
