"""A bucket in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from autolabel.contracts.errors import FrameChanged, FrameUnreadable
from autolabel.contracts.ports import ObjectHead, ObjectPart, StoredObject

# Small, so that code that reads in chunks meets their borders.
CHUNK = 1024


class FakeBucket:
    """`Bucket` in a dict. `writes`: keys in the order in which they were written; `now`: its clock.

    `withheld`: S3's code by the key of a frame that is not given out. `metadata`: user metadata by key.
    `open_uploads`: the keys of multipart uploads that are not complete.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.objects: dict[str, bytes] = {}
        self.content_types: dict[str, str] = {}
        self.writes: list[str] = []
        self.modified: dict[str, float] = {}
        self.now = 0.0
        self.withheld: dict[str, str] = {}
        self.metadata: dict[str, dict[str, str]] = {}
        self.open_uploads: set[str] = set()

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def etag(self, key: str) -> str:
        return etag_of(self.objects[key])

    def read(self, key: str) -> bytes | None:
        return self.objects.get(key)

    def read_tagged(self, key: str, limit: int) -> tuple[bytes, str] | None:
        return (self.objects[key][:limit], self.etag(key)) if key in self.objects else None

    def read_range(self, key: str, start: int, count: int, etag: str | None = None) -> ObjectPart:
        if key not in self.objects or (etag is not None and self.etag(key) != etag):
            raise FrameChanged(f"{key} is gone or holds other bytes")
        if etag is not None and key in self.withheld:
            raise FrameUnreadable(self.withheld[key], f"S3 does not give out {key}: {self.withheld[key]}")
        return ObjectPart(self.objects[key][start : start + count], self.metadata.get(key, {}))

    def stream(self, key: str) -> Iterator[bytes]:
        body = self._existing(key)
        return (body[at : at + CHUNK] for at in range(0, len(body), CHUNK))

    def lines(self, key: str) -> Iterator[bytes]:
        return iter(self._existing(key).splitlines())

    def exists(self, key: str) -> bool:
        return key in self.objects

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        # S3 pages through a bucket that changes; callers may rely on no more than a snapshot of the keys.
        names = (k for k in self.objects if k.startswith(prefix) and k.encode() > after.encode())
        for key in sorted(names, key=str.encode):
            if key in self.objects:
                yield StoredObject(key, self.etag(key), len(self.objects[key]), self.modified[key])

    def folders(self, prefix: str) -> Iterator[str]:
        rests = (key.removeprefix(prefix) for key in self.objects if key.startswith(prefix))
        folders = {rest.split("/")[0] for rest in rests if "/" in rest}
        return iter(sorted(folders, key=lambda folder: f"{folder}/".encode()))

    def has_open_uploads(self, prefix: str) -> bool:
        return any(key.startswith(prefix) for key in self.open_uploads)

    def write(self, key: str, body: bytes, content_type: str = "application/json") -> None:
        self.objects[key] = bytes(body)
        self.modified[key] = self.now
        self.content_types[key] = content_type
        self.writes.append(key)

    def head(self, key: str) -> ObjectHead | None:
        if key not in self.objects:
            return None
        return ObjectHead(self.etag(key), len(self.objects[key]), self.metadata.get(key, {}))

    def write_once(
        self,
        key: str,
        body: bytes,
        content_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        return self.write_over(key, body, "", content_type, metadata)

    def write_over(
        self,
        key: str,
        body: bytes,
        etag: str,
        content_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        if etag != (self.etag(key) if key in self.objects else ""):
            return False
        self.write(key, body, content_type)
        self.metadata[key] = dict(metadata or {})
        return True

    def write_stream(self, key: str, chunks: Iterable[bytes], content_type: str, *, once: bool = False) -> None:
        if once and key in self.objects:
            return
        body = b"".join(chunks)
        if once:
            self.write_once(key, body, content_type)
        else:
            self.write(key, body, content_type)

    def concatenate(self, key: str, sources: Sequence[tuple[str, int]], content_type: str) -> None:
        self.write(key, b"".join(self._existing(source) for source, _ in sources), content_type)

    def _existing(self, key: str) -> bytes:
        if key not in self.objects:
            raise KeyError(self.uri(key))
        return self.objects[key]


def etag_of(body: bytes) -> str:
    """The ETag that S3 gives to an object that is put in one piece."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
