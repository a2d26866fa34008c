"""Narrow interfaces to the rest of the cloud, as far as the stand-in needs it.

`gateway` implements them with boto3 against the embedded cloud; `in_memory` implements them for tests, without a cloud.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import IO, Any, Protocol

from local.sagemaker.names import S3Uri


class StorageError(Exception):
    """An object could not be read or written; the message gives its URI and the reason."""


class PublishError(Exception):
    """A notification could not be published; the message names the topic."""


class Readable(Protocol):
    """A stream of bytes that is read once."""

    def read(self, amount: int = ..., /) -> bytes: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class StoredObject:
    """An object opened for reading: its stream, its length in bytes and its content type."""

    body: Readable
    length: int
    content_type: str


class ObjectStore(Protocol):
    """The operations of S3 that the stand-in uses."""

    def open(self, uri: S3Uri) -> StoredObject:
        """Open an object for one pass; raises StorageError."""

    def write(self, uri: S3Uri, body: IO[bytes] | bytes, content_type: str, kms_key: str | None = None) -> None:
        """Write a whole object; raises StorageError."""

    def keys(self, prefix: S3Uri) -> Iterator[str]:
        """Iterate over the keys that begin with a prefix; raises StorageError."""

    def check_exists(self, uri: S3Uri) -> None:
        """Raise StorageError unless the object exists."""


class Topics(Protocol):
    """The operations of SNS that the stand-in uses."""

    def publish(self, topic: str, message: str) -> None:
        """Publish to a topic; raises PublishError."""


class EventBus(Protocol):
    """The default event bus, with the rights of an AWS service."""

    def put(self, detail_type: str, detail: Mapping[str, Any], resources: Sequence[str]) -> None:
        """Send one event with the source aws.sagemaker."""


class Browsers(Protocol):
    """The rights of workers' browsers, which do not depend on roles."""

    def allowed(self, bucket: str) -> Set[str]:
        """Return the methods that the bucket's CORS rules let any origin use; raises StorageError."""


@dataclass(frozen=True)
class Access:
    """S3 and SNS with the rights of one role."""

    objects: ObjectStore
    topics: Topics


class Roles(Protocol):
    """The operations of IAM that the stand-in uses."""

    def exists(self, role_arn: str) -> bool:
        """Tell whether the account has this role."""

    def assume(self, role_arn: str) -> Access:
        """Return the role's access; missing permissions show only when it is used."""


@dataclass(frozen=True)
class Cloud:
    """The rest of the cloud in one value."""

    browsers: Browsers
    events: EventBus
    roles: Roles
