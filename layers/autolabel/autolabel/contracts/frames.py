"""Defines frames and the object keys that name them."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, unquote_plus

import msgspec

from autolabel.contracts.errors import KeyRefused, printable

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
# The extension of a point cloud.
POINT_CLOUD = "bin"
# \Z and never $, which would accept a newline behind the key.
_NAME = re.compile(NAME + r"\Z")
_FRAME = re.compile(rf"drives/({NAME})/({NAME})/([0-9]{{19}})\.(png|jpg|jpeg)\Z")
_POINT_CLOUD = re.compile(rf"drives/({NAME})/({NAME})/([0-9]{{19}})\.{POINT_CLOUD}\Z")
_IN_DRIVE = re.compile(rf"drives/({NAME})/")
RESERVED = frozenset({"logs"})
DRIVE_DOCUMENT = "drive.json"
LOG_DOCUMENT = "recording.json"
_LOG = re.compile(rf"drives/({NAME})/logs/(.*)\Z", re.DOTALL)
# Bytes of a log's name: a sort key of the ledger and a key of S3 hold it.
_MAX_LOG_NAME = 255
# Joins the parts of a split ROS 2 bag; it is not a log itself.
_BAG_METADATA = "metadata.yaml"

# S3's limit.
MAX_KEY_BYTES = 1_024
# Ground Truth takes files of at most 40 MB (input-data-limits).
MAX_FRAME_BYTES = 40_000_000

# The key of a frame's user metadata that holds the name of its source file.
SOURCE = "source"
MAX_SOURCE = 300
# S3 takes 2 KB of user metadata, and an encoded byte takes up to three.
_MAX_SOURCE_BYTES = 600


class FrameKey(msgspec.Struct, frozen=True):
    """The identity of a frame: drive, camera and timestamp (ns, 19 digits); and the extension of its object's key."""

    drive: str
    camera: str
    timestamp: str
    extension: str

    @property
    def position(self) -> str:
        """Return `camera/timestamp`, the frame's place in its drive. It sorts as S3 lists keys, by bytes."""
        return f"{self.camera}/{self.timestamp}"

    @property
    def key(self) -> str:
        return f"drives/{self.drive}/{self.camera}/{self.timestamp}.{self.extension}"


class PointCloudKey(msgspec.Struct, frozen=True):
    """The key of a LiDAR's point cloud, which is not a frame: models and reviewers do not get it."""

    drive: str
    lidar: str
    timestamp: str

    @property
    def key(self) -> str:
        return f"drives/{self.drive}/{self.lidar}/{self.timestamp}.{POINT_CLOUD}"


class DriveDocumentKey(msgspec.Struct, frozen=True):
    """The key of the document that closes a drive."""

    drive: str


class LogKey(msgspec.Struct, frozen=True):
    """The key of a drive log."""

    drive: str
    name: str

    @property
    def key(self) -> str:
        return f"{logs_prefix(self.drive)}{self.name}"

    @property
    def is_log(self) -> bool:
        """Whether the object is a log: not the document of the logs, nor another file that describes them."""
        return self.name not in (LOG_DOCUMENT, _BAG_METADATA)


class ListedFrame(msgspec.Struct, frozen=True, omit_defaults=True):
    """One object of a run's frozen listing; `refused` and `detail` say why it is not a frame of the run."""

    key: str
    etag: str
    size: int
    refused: str = ""
    detail: str = ""


def is_name(text: str) -> bool:
    """Check whether the text may name a drive, a camera or a LiDAR."""
    return _NAME.match(text) is not None and text not in RESERVED


def drive_prefix(drive: str) -> str:
    return f"drives/{drive}/"


def logs_prefix(drive: str) -> str:
    return f"drives/{drive}/logs/"


def is_log_name(name: str) -> bool:
    """Check whether the text may name a log: printable, without a slash."""
    return 0 < len(name.encode(errors="replace")) <= _MAX_LOG_NAME and "/" not in name and name.isprintable()


def encode_source(name: str) -> str:
    """Encode the name of a source file for S3's metadata, which are ASCII: its last 600 bytes, percent-encoded."""
    return quote(name.encode(errors="surrogateescape")[-_MAX_SOURCE_BYTES:])


def decode_source(encoded: str) -> str:
    """Read the name of a source file, which any uploader may have written: printable, its last MAX_SOURCE characters.

    The end of a name tells more than its beginning: it has the number.
    """
    return printable(unquote(encoded)[-MAX_SOURCE:])[-MAX_SOURCE:]


def decode_event_key(encoded: str) -> str:
    """Decode a key of an S3 notification, which is form-encoded; call it exactly once."""
    return unquote_plus(encoded, errors="strict")


def is_point_cloud(key: str) -> bool:
    """Check whether the key is that of a point cloud."""
    match = _POINT_CLOUD.match(key)
    return match is not None and not RESERVED.intersection(match.groups())


def parse_key(key: str) -> FrameKey | PointCloudKey | DriveDocumentKey | LogKey:
    """Read an object key. Raises KeyRefused, which names the key and the rule that it breaks."""
    match = _FRAME.match(key)
    if match:
        drive, camera, timestamp, extension = match.groups()
        for name in (drive, camera):
            if name in RESERVED:
                raise KeyRefused("key-outside-contract", f"{_shown(key)}: the name {name!r} is reserved")
        return FrameKey(drive, camera, timestamp, extension)
    cloud = _POINT_CLOUD.match(key)
    if cloud and is_point_cloud(key):
        return PointCloudKey(*cloud.groups())
    in_drive = _IN_DRIVE.match(key)
    if in_drive and key == drive_prefix(in_drive[1]) + DRIVE_DOCUMENT and in_drive[1] not in RESERVED:
        return DriveDocumentKey(in_drive[1])
    log = _LOG.match(key)
    if log and log[1] not in RESERVED:
        if is_log_name(log[2]):
            return LogKey(log[1], log[2])
        raise KeyRefused(
            "key-outside-contract",
            f"{_shown(key)} is not drives/<drive>/logs/<name> with a name of at most {_MAX_LOG_NAME} printable bytes, "
            "without a slash",
        )
    raise KeyRefused(
        "key-outside-contract",
        f"{_shown(key)} is not drives/<drive>/<camera>/<19 digits of ns>.<png|jpg|jpeg> nor drives/<drive>/drive.json",
    )


def parse_frame_key(key: str) -> FrameKey:
    """Read the key of a frame. Raises KeyRefused for any other key."""
    parsed = parse_key(key)
    if isinstance(parsed, FrameKey):
        return parsed
    what = {LogKey: "a drive log", PointCloudKey: "a point cloud"}.get(type(parsed), "the drive's document")
    raise KeyRefused("key-outside-contract", f"{_shown(key)} is {what}, not a frame")


def drive_of(key: str) -> str | None:
    """Return the drive whose folder holds a key, also if the rest of the key breaks the contract."""
    match = _IN_DRIVE.match(key)
    return match[1] if match and match[1] not in RESERVED else None


def list_frame(
    key: str, etag: str, size: int, *, previous: FrameKey | None, cameras: frozenset[str]
) -> tuple[ListedFrame, FrameKey | None]:
    """Judge one object of a drive for the frozen listing.

    `previous` is the last good frame before it in key order; a second object of the same frame is refused.
    `cameras` are the cameras that the drive document names. Returns the line, and the frame's key if it is a frame.
    """
    try:
        frame = parse_frame_key(key)
    except KeyRefused as e:
        return ListedFrame(key, etag, size, e.reason, str(e)), None
    refusal = _refusal(frame, size, previous, cameras)
    if refusal:
        return ListedFrame(key, etag, size, *refusal), None
    return ListedFrame(key, etag, size), frame


def _refusal(frame: FrameKey, size: int, previous: FrameKey | None, cameras: frozenset[str]) -> tuple[str, str] | None:
    if previous is not None and previous.position == frame.position:
        return "second-object", f"{frame.key}: {previous.key} is the same frame already"
    if frame.camera not in cameras:
        return "unknown-camera", f"{frame.key}: the drive's document names no camera {frame.camera!r}"
    if size == 0:
        return "empty-object", f"{frame.key} has no bytes"
    if size > MAX_FRAME_BYTES:
        return "object-too-large", f"{frame.key} has {size:,} bytes, the limit is {MAX_FRAME_BYTES:,}"
    return None


def _shown(key: str) -> str:
    return repr(key if len(key) <= 200 else key[:200] + "…")
