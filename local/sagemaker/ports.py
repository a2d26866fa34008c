"""What the stand-in needs from the rest of the cloud, as narrow interfaces.

`gateway` implements them with boto3 against the embedded cloud, `in_memory` without any cloud for tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

from local.sagemaker.names import S3Uri


class StorageError(Exception):
    """An object could not be read or written; the message says which and why."""


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
    """S3, as far as the stand-in uses it."""

    def open(self, uri: S3Uri) -> StoredObject:
        """Open an object for one pass; raises StorageError."""

    def write(self, uri: S3Uri, body: IO[bytes] | bytes, content_type: str, kms_key: str | None = None) -> None:
        """Write an object whole; raises StorageError."""

    def check_exists(self, uri: S3Uri) -> None:
        """Raise StorageError unless the object is there."""


class Topics(Protocol):
    """SNS, as far as the stand-in uses it."""

    def publish(self, topic: str, message: str) -> None:
        """Publish to a topic; raises PublishError."""


class EventBus(Protocol):
    """The default event bus, written to as AWS services write to it."""

    def put(self, detail_type: str, detail: Mapping[str, Any], resources: Sequence[str]) -> None:
        """Send one event whose source is aws.sagemaker."""


class Browsers(Protocol):
    """What the browsers of workers may do, whatever any role may."""

    def may_get(self, bucket: str) -> bool:
        """Whether the bucket's CORS rules let any origin GET its objects; raises StorageError."""


@dataclass(frozen=True)
class Access:
    """S3 and SNS with the rights of one role."""

    objects: ObjectStore
    topics: Topics


class Roles(Protocol):
    """IAM, as far as the stand-in uses it."""

    def exists(self, role_arn: str) -> bool:
        """Whether the account has this role."""

    def assume(self, role_arn: str) -> Access:
        """What the role may do; that it may do nothing shows only when it is used."""


@dataclass(frozen=True)
class Cloud:
    """The rest of the cloud in one value."""

    browsers: Browsers
    events: EventBus
    roles: Roles
