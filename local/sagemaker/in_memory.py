"""The ports without a cloud: dictionaries and lists, for tests."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import IO, Any

from local.sagemaker.names import S3Uri
from local.sagemaker.ports import Access, Cloud, PublishError, StorageError, StoredObject


class MemoryObjects:
    """Objects in a dictionary by URI; `cors`: the methods that browsers may use on a bucket, all on others."""

    def __init__(self) -> None:
        self.contents: dict[str, tuple[bytes, str]] = {}
        self.cors: dict[str, Set[str]] = {}
        self._lock = threading.Lock()

    def put(self, uri: str, body: bytes, content_type: str = "binary/octet-stream") -> None:
        """Place an object for a test."""
        with self._lock:
            self.contents[uri] = (body, content_type)

    def open(self, uri: S3Uri) -> StoredObject:
        with self._lock:
            if str(uri) not in self.contents:
                raise StorageError(f"NoSuchKey: {uri}")
            body, content_type = self.contents[str(uri)]
        return StoredObject(io.BytesIO(body), len(body), content_type)

    def write(self, uri: S3Uri, body: IO[bytes] | bytes, content_type: str, kms_key: str | None = None) -> None:
        self.put(str(uri), body if isinstance(body, bytes) else body.read(), content_type)

    def keys(self, prefix: S3Uri) -> Iterator[str]:
        with self._lock:
            found = sorted(uri for uri in self.contents if uri.startswith(str(prefix)))
        return (S3Uri.parse(uri).key for uri in found)

    def check_exists(self, uri: S3Uri) -> None:
        self.open(uri)

    def allowed(self, bucket: str) -> Set[str]:
        return self.cors.get(bucket, {"GET", "HEAD", "PUT"})


class MemoryTopics:
    """Messages in the order of publishing; topics in `missing` refuse them."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.missing: set[str] = set()
        self._lock = threading.Lock()

    def publish(self, topic: str, message: str) -> None:
        if topic in self.missing:
            raise PublishError(f"topic {topic}: NotFound")
        with self._lock:
            self.messages.append((topic, message))


class MemoryEvents:
    """Events in the order of sending."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any], list[str]]] = []

    def put(self, detail_type: str, detail: Mapping[str, Any], resources: Sequence[str]) -> None:
        self.sent.append((detail_type, dict(detail), list(resources)))


class MemoryRoles:
    """Every role exists, except those in `missing`, and may do everything."""

    def __init__(self, access: Access) -> None:
        self.missing: set[str] = set()
        self._access = access

    def exists(self, role_arn: str) -> bool:
        return role_arn not in self.missing

    def assume(self, role_arn: str) -> Access:
        return self._access


def memory_cloud() -> tuple[Cloud, MemoryObjects, MemoryTopics, MemoryEvents, MemoryRoles]:
    """Make a cloud of the four fakes; return it and the fakes."""
    objects, topics, events = MemoryObjects(), MemoryTopics(), MemoryEvents()
    roles = MemoryRoles(Access(objects, topics))
    return Cloud(objects, events, roles), objects, topics, events, roles
