"""Defines the logs of a drive: the document that describes them, what is known of each, and where extractions write."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec

from autolabel.contracts.drive import MAX_DOCUMENT_BYTES, Point
from autolabel.contracts.errors import DocumentRefused
from autolabel.contracts.frames import LOG_DOCUMENT, LogKey, is_log_name, is_name
from autolabel.contracts.verification import Cuboids, Policy, Privacy, VerifyAll

# Keys of the user metadata of an extracted frame: the log that it comes from, and its place in it, which sorts as text.
LOG, PLACE = "log", "place"
# A key has 19 digits.
MAX_TIMESTAMP = 10**19
# The least frames a second, by the median pause, at which boxes are linked into tracks.
LINKED_RATE = 5.0
_START = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FrameSelection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which frames of a camera are kept: at most `rate` in a second, or those that differ, in one of two ways.

    `visual_change`: the mean difference of grey thumbnails, in levels from 0 to 255, from the last frame that was kept;
    `longest_gap`: the seconds after which a frame is kept without a change. ValueError for none or both of the ways.
    """

    rate: Annotated[float, msgspec.Meta(ge=0, le=1_000)] = 0.0
    visual_change: Annotated[float, msgspec.Meta(ge=0, le=255)] = 0.0
    longest_gap: Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None = None

    def __post_init__(self) -> None:
        if (self.rate > 0) == (self.visual_change > 0):
            raise ValueError("give one of `rate` and `visual_change`, above 0")
        if self.rate and self.longest_gap:
            raise ValueError("`longest_gap` belongs to `visual_change`, and there is `rate`")


class LogDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The content of logs/recording.json, which describes the logs of a drive.

    `logs`: the names of all logs; the drive is closed when the last of them was extracted. Without them it is closed
    when nothing came for a while. `cameras`: the topics to extract, and the name of each one's camera; without them all
    topics with pictures are extracted, under names after the topics. A video's topic is its name, and that of one of
    several streams `<name>/<number>`. `lidars`: the topics with points to extract, and the name of each one's LiDAR.
    `poses`: the topics with the vehicle's places and poses to extract. `start`: the time of the first frame of every
    video, or of each by its name: text with a time zone (RFC 3339), or ns since the epoch. `selection`: which frames
    are kept: the fields of a FrameSelection, or one for each camera by its name; cameras that it does not name keep
    every frame. Without it, the stack's own counts. `ego_masks`: by camera. `vehicle`, `models`, `verification`,
    `notes`, `tracks`, `cuboids` and `privacy` are as in drive.json.
    """

    vehicle: str = "unknown"
    logs: tuple[str, ...] = ()
    cameras: dict[str, str] = {}
    lidars: dict[str, str] = {}
    poses: tuple[str, ...] = ()
    start: int | str | dict[str, int | str] = {}
    selection: dict[str, float | FrameSelection] | None = None
    ego_masks: dict[str, tuple[Point, ...]] = {}
    models: tuple[str, ...] | None = None
    verification: Policy = VerifyAll()
    notes: tuple[str, ...] = ()
    tracks: bool = True
    cuboids: Cuboids = False
    privacy: Privacy | None = None

    def start_of(self, name: str) -> int:
        """Return the time of the first frame of the video with this name, in ns since the epoch; 0 if it is not given.

        ValueError if it is not a time.
        """
        start = self.start.get(name, 0) if isinstance(self.start, dict) else self.start
        return parse_start(start) if isinstance(start, str) else start

    def selection_of(self, camera: str, default: FrameSelection | None = None) -> FrameSelection | None:
        """Return the selection of a camera's frames, None for every frame. `default`: for documents without one.

        msgspec.ValidationError if it breaks its schema.
        """
        if self.selection is None:
            return default
        if any(not isinstance(of, FrameSelection) for of in self.selection.values()):
            return msgspec.convert(self.selection, FrameSelection)
        found = self.selection.get(camera)
        return found if isinstance(found, FrameSelection) else None


def parse_selection(text: str) -> FrameSelection | None:
    """Read a selection like `rate=5` or `visual_change=3,longest_gap=5`; None for an empty text.

    ValueError for other texts.
    """
    if not text:
        return None
    fields = dict(field.partition("=")[::2] for field in text.split(","))
    try:
        return msgspec.convert(fields, FrameSelection, strict=False)
    except msgspec.ValidationError as e:
        raise ValueError(f"{text!r} is not a selection, like rate=5 or visual_change=3,longest_gap=5: {e}") from e


def parse_start(text: str) -> int:
    """Read a time with a time zone, like 2026-11-22T10:00:00.25Z, as ns since the epoch. ValueError for other texts."""
    found = _START.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a time with a time zone, like 2026-11-22T10:00:00.25Z")
    whole, fraction, zone = found.groups()
    seconds = (datetime.fromisoformat(whole + zone) - _EPOCH) // timedelta(seconds=1)
    return seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0"))


def parse_log_document(body: bytes, key: str) -> LogDocument:
    """Read logs/recording.json. Raises DocumentRefused, which names the key and what is wrong."""
    if len(body) > MAX_DOCUMENT_BYTES:
        raise DocumentRefused("document-too-large", f"{key} has more than {MAX_DOCUMENT_BYTES:,} bytes")
    try:
        document = msgspec.json.decode(body, type=LogDocument)
    except msgspec.ValidationError as e:
        raise DocumentRefused("document-schema", f"{key} breaks its schema: {e}") from e
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise DocumentRefused("document-not-json", f"{key} is not JSON: {e}") from e
    for name in document.logs:
        if not is_log_name(name):
            raise DocumentRefused("document-schema", f"{key}: {name!r} cannot name a log")
    for name in document.start if isinstance(document.start, dict) else ("",):
        try:
            within = 0 <= document.start_of(name) < MAX_TIMESTAMP
        except ValueError as e:
            raise DocumentRefused("document-schema", f"{key}: the start {e}") from e
        if not within:
            raise DocumentRefused("document-schema", f"{key}: the start of {name or 'all'} is not ns since the epoch")
    try:
        document.selection_of("")
    except msgspec.ValidationError as e:
        raise DocumentRefused("document-schema", f"{key}: the selection breaks its schema: {e}") from e
    for camera, of in (document.selection or {}).items():
        if isinstance(of, FrameSelection) and not is_name(camera):
            raise DocumentRefused("document-schema", f"{key}: the selection names {camera!r}, which cannot be a camera")
    for kind, names in (("camera", document.cameras), ("LiDAR", document.lidars)):
        for topic, name in names.items():
            if not is_name(name):
                raise DocumentRefused(
                    "document-schema",
                    f"{key}: {name!r} cannot name the {kind} of topic {topic!r}: use 1 to 63 letters, digits, - and _, "
                    "the first a letter or digit",
                )
    for name in sorted({*document.cameras.values()} & {*document.lidars.values()}):
        raise DocumentRefused("document-schema", f"{key}: {name!r} names a camera and a LiDAR: rename one of them")
    named = (document.cameras, document.lidars, document.poses)
    uses = Counter(topic for topics in named for topic in {topic.strip("/") for topic in topics})
    for topic in sorted(topic for topic, count in uses.items() if count > 1):
        raise DocumentRefused("document-schema", f"{key} names topic {topic!r} for two uses: keep one of them")
    return document


Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


class Transform(msgspec.Struct, frozen=True):
    """Where a frame is in another one, its `parent`: a point p of `frame` is at rotation(p) + translation in `parent`.

    `translation`: x, y, z in metres. `rotation`: a quaternion of length 1, as x, y, z, w.
    """

    frame: str
    parent: str
    translation: Vector
    rotation: Quaternion

    def as_document(self) -> dict[str, Any]:
        """Return it as drive.json has it, where fleets may write extrinsics of any form."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


class EgoPose(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of an extraction's poses.jsonl: where the vehicle was at a time, as one message of `topic` says.

    `timestamp`: ns since the epoch, by the message's header or the recorder's `log` (`clock`). A `location` has
    `latitude` and `longitude` in degrees (WGS 84) and, where it is known, the `altitude` above the ellipsoid in metres;
    `frame` is the antenna's. A `pose` or an `odometry` has the `position` in `frame`, in metres, and, where it is
    given, the `orientation` as a quaternion x, y, z, w; `child` is the frame that is there, where it is named.
    """

    kind: Literal["location", "pose", "odometry"]
    topic: str = ""
    timestamp: int = 0
    clock: Literal["header", "log"] = "header"
    frame: str = ""
    child: str = ""
    position: Vector | None = None
    orientation: Quaternion | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude: float | None = None


class CameraIntrinsics(msgspec.Struct, frozen=True, rename={"d": "D", "k": "K", "r": "R", "p": "P"}):
    """A camera's calibration, as ROS defines it, for pictures of `width` x `height` pixels.

    `d`: the distortion; `k`, `r` (3x3) and `p` (3x4): matrices, row by row.
    """

    width: int
    height: int
    distortion_model: str
    d: tuple[float, ...]
    k: tuple[float, ...]
    r: tuple[float, ...]
    p: tuple[float, ...]

    def as_document(self) -> dict[str, Any]:
        """Return it as drive.json has it, where fleets may write calibrations of any form."""
        # `Any`: the field of drive.json takes any JSON.
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


LogState = Literal["extracting", "extracted", "refused", "replaced", "waiting"]


class LogRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the ledger has of a log; `etag`: of the object that is or was extracted.

    `at`: when the state began, in seconds since the epoch. Once it is `extracted`: `cameras` has the number of frames
    by camera, `lidars` that of point clouds by LiDAR, `poses` that of poses, and `messages`, `skipped` and `left` count
    the messages of its topics, those skipped on purpose and those refused. It is `replaced` if the object had other
    bytes before the extraction ended; if these bytes come again, they get another `attempt`. `detail`: why the log was
    refused, or what of it was. `note`: what readers of the drive's summary should know of it. `intrinsics`: by camera,
    `extrinsics`: by camera or LiDAR, where the log has them. `by`: the person who left the log out; it is `refused`
    then, and has no `etag` if it did not come.
    """

    drive: str
    name: str
    etag: str
    state: LogState
    at: float
    attempt: int = 1
    cameras: dict[str, int] = {}
    messages: int = 0
    skipped: int = 0
    left: int = 0
    detail: str = ""
    intrinsics: dict[str, CameraIntrinsics] = {}
    by: str = ""
    document: str = ""
    note: str = ""
    lidars: dict[str, int] = {}
    extrinsics: dict[str, Transform] = {}
    poses: int = 0

    @property
    def key(self) -> LogKey:
        return LogKey(self.drive, self.name)

    @property
    def ended(self) -> bool:
        return self.state in ("extracted", "refused")

    @property
    def execution(self) -> str:
        """Derive the name of the execution, so that `ExecutionAlreadyExists` means that it was started."""
        again = f"-{self.attempt}" if self.attempt > 1 else ""
        return f"{self.drive}-{LogFolder(self.drive, self.name, self.etag).id}{again}"


class LogFolder(msgspec.Struct, frozen=True):
    """Names what an extraction keeps in the label bucket. `etag`: of the log."""

    drive: str
    name: str
    etag: str

    @property
    def id(self) -> str:
        """Return 12 hex digits that stand for the log and its bytes."""
        return hashlib.sha256(f"{self.name}\0{self.etag}".encode()).hexdigest()[:12]

    @property
    def prefix(self) -> str:
        return f"extractions/{self.drive}/{self.id}/"

    @property
    def index(self) -> str:
        """What the log holds, and the camera of each chosen channel."""
        return self.prefix + "index.json"

    @property
    def slice_list(self) -> str:
        """The numbers of the slices, one in each line."""
        return self.prefix + "slices.jsonl"

    @property
    def slices(self) -> str:
        """The prefix of the parts of all slices."""
        return self.prefix + "slices/"

    def slice(self, number: int, part: str) -> str:
        """A part of a slice: chunks.json, frames.jsonl, poses.jsonl, left.jsonl or result.json."""
        return f"{self.slices}{number:06d}.{part}"

    @property
    def left(self) -> str:
        """The messages that did not become frames, with their reasons, one in each line."""
        return self.prefix + "left.jsonl"

    @property
    def poses(self) -> str:
        """The poses of the vehicle, an EgoPose in each line, in the order of the log."""
        return self.prefix + "poses.jsonl"

    @property
    def summary(self) -> str:
        """The counts of the extraction by topic."""
        return self.prefix + "summary.json"


def log_document_key(drive: str) -> str:
    return f"drives/{drive}/logs/{LOG_DOCUMENT}"
