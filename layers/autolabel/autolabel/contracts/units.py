"""Defines units, one frame for one model each, and the names that are derived from them.

An answer belongs to the frame's bytes and the model's revision, never to a run. So all names below hold the frame's
place, a hash of its ETag, and the revision: the same unit has the same name in every run.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import Annotated

import msgspec

from autolabel.contracts.frames import NAME, FrameKey

ANSWERS = "inference"
# The prefix of the inference ids of test pictures that an ML engineer sends by hand. They belong to no drive.
TRIAL = "trial-"
# One DynamoDB partition takes about 1,000 writes a second; so a drive's pending units are spread over this number.
PENDING_PARTITIONS = 4
MODEL_NAME = r"[a-z0-9](?:[a-z0-9-]{0,22}[a-z0-9])?"
REVISION = r"[0-9]{4}"
# S3's ETags are 32 hex digits, some with a number of parts behind; a DynamoDB item and a header can hold this pattern.
ETag = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,128}\Z")]
_ANSWER = re.compile(
    rf"{ANSWERS}/({NAME})/({MODEL_NAME}\.{REVISION})/({NAME})/([0-9]{{19}})/([0-9a-f]{{12}})-([0-9]{{1,6}})\.out\Z"
)
_INFERENCE_ID = re.compile(rf"({MODEL_NAME}\.{REVISION})-[0-9a-f]{{32}}\Z")


class Unit(msgspec.Struct, frozen=True):
    """One (frame, model) pair, which is submitted, answered and counted. `token` stands for the frame's bytes."""

    drive: str
    camera: str
    timestamp: str
    token: str
    model: Annotated[str, msgspec.Meta(pattern=rf"^{MODEL_NAME}\.{REVISION}\Z")]

    @classmethod
    def of(cls, frame: FrameKey, etag: str, model: str) -> Unit:
        """Make the unit of a frame with this ETag for `model`, a `name.revision`."""
        return cls(frame.drive, frame.camera, frame.timestamp, bytes_token(etag), model)

    @property
    def position(self) -> str:
        """Return `camera/timestamp`, as FrameKey.position does."""
        return f"{self.camera}/{self.timestamp}"

    @property
    def place(self) -> str:
        """Return the unit's place in its drive: `model.revision/camera/timestamp/token`."""
        return f"{self.model}/{self.camera}/{self.timestamp}/{self.token}"

    @property
    def partition(self) -> int:
        return pending_partition(self.position)

    def inference_id(self, attempt: int) -> str:
        """Make at most 64 printable characters: the model, readable in logs, and a hash of unit and attempt."""
        digest = hashlib.sha256(f"{self.drive}/{self.place}-{attempt}".encode()).hexdigest()
        return f"{self.model}-{digest[:32]}"

    @property
    def output_extension(self) -> str:
        """Return what S3OutputPathExtension appends to `s3://<label bucket>/inference`."""
        return f"{self.drive}/{self.model}/{self.camera}/{self.timestamp}"

    def filename(self, attempt: int) -> str:
        """Make a name of at most 32 characters with one dot, as Filename of InvokeEndpointAsync demands."""
        return f"{self.token}-{attempt}.out"

    def answer_key(self, attempt: int) -> str:
        """Return the key in the label bucket at which the answer of an attempt is expected."""
        return f"{ANSWERS}/{self.output_extension}/{self.filename(attempt)}"


class UnitRequest(msgspec.Struct, frozen=True, tag_field="kind", tag="unit"):
    """The pipeline's own message on the submit queue that asks to submit this unit."""

    unit: Unit
    key: str
    etag: ETag


class CloseRequest(msgspec.Struct, frozen=True, tag_field="kind", tag="close"):
    """The pipeline's own message on the submit queue that asks to close this drive: its document's event was lost."""

    drive: Annotated[str, msgspec.Meta(pattern=rf"^{NAME}\Z")]


class LogsRequest(msgspec.Struct, frozen=True, tag_field="kind", tag="logs"):
    """The pipeline's own message on the submit queue that asks to look at the logs of this drive."""

    drive: Annotated[str, msgspec.Meta(pattern=rf"^{NAME}\Z")]


def bytes_token(etag: str) -> str:
    """Make 12 hex digits that stand for a frame's bytes, from its ETag with or without quotes."""
    return hashlib.sha256(etag.strip('"').encode()).hexdigest()[:12]


def view_key(frame: FrameKey, etag: str, model: str, suffix: str) -> str:
    """Return the key in the label bucket of a frame's view; it belongs to the frame's bytes and to `name.revision`."""
    return f"{views_prefix(frame.drive)}{model}/{frame.position}-{bytes_token(etag)}{suffix}"


def views_prefix(drive: str) -> str:
    """Return the prefix of a drive's views in the label bucket."""
    return f"views/{drive}/"


def pending_partition(position: str) -> int:
    """Return the drive's partition that holds the pending units of a frame."""
    return zlib.crc32(position.encode()) % PENDING_PARTITIONS


def answers_prefix(drive: str, model: str) -> str:
    return f"{ANSWERS}/{drive}/{model}/"


def answers_prefix_after(drive: str, model: str, position: str) -> str:
    """Return a key behind all answers of a position and before those of the next; a tilde sorts behind tokens."""
    return f"{answers_prefix(drive, model)}{position}/~"


def parse_answer_key(key: str) -> tuple[Unit, int] | None:
    """Read the unit and attempt that an answer's key names; None if the key does not name an answer."""
    match = _ANSWER.match(key)
    if not match:
        return None
    drive, model, camera, timestamp, token, attempt = match.groups()
    return Unit(drive, camera, timestamp, token, model), int(attempt)


def model_of_inference_id(inference_id: str) -> str | None:
    """Read the `name.revision` in an inference id; None if the pipeline did not make the id."""
    match = _INFERENCE_ID.match(inference_id)
    return match[1] if match else None
