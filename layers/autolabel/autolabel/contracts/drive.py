"""Defines the drive document, which closes a drive, and the runs that label the drive."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from autolabel.contracts.errors import DocumentRefused
from autolabel.contracts.frames import is_name
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import (
    BOXES,
    REVIEW_ALL,
    SEGMENTS,
    TRACKS,
    VERIFY,
    BackEnd,
    Cuboids,
    Policy,
    Privacy,
    ReviewChoice,
    Task,
    VerifyAll,
    VerifyKeyFrames,
    VerifyNone,
    VerifyUncertain,
)
from autolabel.streams.json_depth import is_deep

# A document that describes some cameras takes kilobytes. The ledger keeps it, and its items have at most 400 KB.
MAX_DOCUMENT_BYTES = 250_000
# Frames are smaller than this, and areas stay far below the limits of floats.
MAX_COORDINATE = 1_000_000
# Every box of a frame is cut with its camera's mask. The time for it grows with the number of corners.
MAX_MASK_POINTS = 500
# Each model gets every frame, and every reconcile pass reads all its units.
MAX_MODELS = 8
FIRST_RUN = "0001"
_KNOWN = (
    f"the policies {', '.join(str(one.__struct_config__.tag) for one in get_args(Policy))}, "
    f"the back-ends {', '.join(get_args(BackEnd))} and the tasks {', '.join(get_args(Task))}"
)

Point = tuple[float, float]


class Camera(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Describes a camera. `ego_mask`: a polygon over the vehicle's own body, in pixels of the frame."""

    expected_frames: int | None = None
    ego_mask: tuple[Point, ...] | None = None
    intrinsics: dict[str, Any] | None = None
    extrinsics: dict[str, Any] | None = None


class Lidar(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Describes a LiDAR."""

    extrinsics: dict[str, Any] | None = None


class Sensors(msgspec.Struct, frozen=True):
    """The cameras and LiDARs of a run, with their calibrations, as drive.json had them."""

    cameras: dict[str, Camera]
    lidars: dict[str, Lidar]


class DriveDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The content of drive.json, which closes a drive and describes the recording.

    `models`: names from the catalogue, default: all active ones. `verification`: which frames reviewers get, and
    where. `notes`: remarks for the readers of the summary and the report. `tracks`: link the boxes of neighbouring
    frames. `lidars`: the LiDARs with point clouds. `cuboids`: lift the labels' boxes to cuboids with their points;
    `verify`: and let reviewers correct these. `privacy`: people see views of the frames; None: as the stack says.
    """

    vehicle: str
    cameras: dict[str, Camera]
    models: tuple[str, ...] | None = None
    verification: Policy = VerifyAll()
    notes: tuple[str, ...] = ()
    tracks: bool = True
    lidars: dict[str, Lidar] = {}
    cuboids: Cuboids = False
    privacy: Privacy | None = None

    @property
    def verifies_cuboids(self) -> bool:
        """Whether reviewers get the cuboids of the labels."""
        return self.cuboids == VERIFY


class ViewsModel(msgspec.Struct, frozen=True):
    """The model of a run that finds what views cover: its `name.revision`, and the one whose answers it reads."""

    model: str
    answers_of: str


class Run(msgspec.Struct, frozen=True, omit_defaults=True):
    """One labelling of one drive, fixed when it is allocated. `models` are `name.revision`.

    `answers_of`: for each model the `name.revision` whose answers it reads; empty: each model reads its own.
    `since`: when it was allocated. `retry_failed_before`: units that failed before this time are tried once more. Both
    are seconds since the epoch. `review`: which frames with a person's label from an earlier run reviewers get again.
    `views`: the `name.revision` of the model that finds what views cover, and the one whose answers it reads; None:
    people see the frames themselves.
    """

    drive: str
    run: str
    document: DriveDocument
    document_etag: str
    models: tuple[str, ...]
    taxonomy: str
    labels: tuple[str, ...]
    since: float = 0.0
    retry_failed_before: float = 0.0
    answers_of: tuple[str, ...] = ()
    review: ReviewChoice = REVIEW_ALL
    views: ViewsModel | None = None

    @property
    def folder(self) -> RunFolder:
        """Return the keys of the run in the label bucket."""
        return RunFolder(self.drive, self.run)

    @property
    def asked(self) -> tuple[str, ...]:
        """Return what the run's units are named by: for each model the `name.revision` whose answers it reads.

        The model of views, if there is one, is the last.
        """
        return (self.answers_of or self.models) + ((self.views.answers_of,) if self.views else ())


def next_run(run: str) -> str:
    """Return the name of the run after `run`, as four digits."""
    return f"{int(run) + 1:04d}"


def parse_drive_document(body: bytes, key: str) -> DriveDocument:
    """Read drive.json. Raises DocumentRefused, which names the key and what is wrong."""
    if len(body) > MAX_DOCUMENT_BYTES:
        raise DocumentRefused("document-too-large", f"{key} has more than {MAX_DOCUMENT_BYTES:,} bytes")
    try:
        document = msgspec.json.decode(body, type=DriveDocument)
    except msgspec.ValidationError as e:
        # The schema's error names only the wrong word, not the words that are allowed.
        known = f"; known are {_KNOWN}" if "$.verification" in str(e) else ""
        raise DocumentRefused("document-schema", f"{key} breaks its schema: {e}{known}") from e
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise DocumentRefused("document-not-json", f"{key} is not JSON: {e}") from e
    _check(document, key)
    return document


def _check(document: DriveDocument, key: str) -> None:
    def refuse(why: str) -> None:
        raise DocumentRefused("document-schema", f"{key}: {why}")

    if (size := len(msgspec.json.encode(document))) > MAX_DOCUMENT_BYTES:
        # The document is stored as it is written out here: `[1,1]` becomes `[1.0,1.0]`.
        refuse(f"it takes {size:,} bytes when written out; the limit is {MAX_DOCUMENT_BYTES:,}")
    if not document.cameras:
        refuse("`cameras` names no camera")
    for name, camera in document.cameras.items():
        if not is_name(name):
            refuse(f"{name!r} cannot name a camera: use 1 to 63 letters, digits, - and _, the first a letter or digit")
        if camera.ego_mask is not None and len(camera.ego_mask) < 3:
            refuse(f"the ego mask of camera {name!r} has fewer than 3 points")
        if len(camera.ego_mask or ()) > MAX_MASK_POINTS:
            refuse(f"the ego mask of camera {name!r} has more than {MAX_MASK_POINTS} points")
        if is_deep(camera.intrinsics) or is_deep(camera.extrinsics):
            refuse(f"the calibration of camera {name!r} is nested too deeply")
        if any(abs(coordinate) > MAX_COORDINATE for point in camera.ego_mask or () for coordinate in point):
            refuse(f"the ego mask of camera {name!r} has coordinates beyond {MAX_COORDINATE:,} pixels")
        if camera.expected_frames is not None and camera.expected_frames < 0:
            refuse(f"camera {name!r} expects {camera.expected_frames} frames; give 0 or more")
    for name, lidar in document.lidars.items():
        if not is_name(name) or name in document.cameras:
            refuse(f"{name!r} cannot name a LiDAR: it names a camera, or has other signs than letters, digits, - and _")
        if is_deep(lidar.extrinsics):
            refuse(f"the calibration of LiDAR {name!r} is nested too deeply")
    if document.cuboids and not document.lidars:
        refuse("`cuboids` needs a LiDAR: name it in `lidars`, with its extrinsics")
    if document.verifies_cuboids and document.verification.back_end == "label-studio":
        refuse(
            "`cuboids`: reviewers correct cuboids in Ground Truth only, since Label Studio has no point clouds: leave "
            'out `"back_end": "label-studio"`, or set `cuboids` to true'
        )
    if document.models is not None and not 1 <= len(document.models) <= MAX_MODELS:
        refuse(f"`models` names {len(document.models)} models; name 1 to {MAX_MODELS}")
    if len(set(document.models or ())) < len(document.models or ()):
        refuse("`models` names a model twice")
    if (task := document.verification.task) != BOXES:
        if document.verification.vigilance and task != TRACKS:
            refuse(f"`verification`: vigilance needs the task `boxes` or `tracks`: {task} have no seeded errors")
        if not isinstance(document.verification, VerifyAll if task == SEGMENTS else VerifyAll | VerifyUncertain):
            known = (
                "`all`: uncertainty is of boxes" if task == SEGMENTS else "`all` or `doubtful`: key frames have boxes"
            )
            refuse(f"`verification`: {task} need the policy {known}")
        if not isinstance(document.verification, VerifyAll) and (
            document.verification.vigilance or document.verification.reviewers > 1
        ):
            refuse(f"`verification`: {task} with vigilance or several `reviewers` need the policy `all`")
        if document.verification.back_end == "label-studio":
            refuse(f"`verification`: {task} need the back-end `ground-truth`: Label Studio verifies boxes only")
        if document.verification.reviewers > 1 and task != TRACKS:
            refuse(f"`verification`: {task} need `reviewers` 1: segments of several reviewers are not consolidated")
        if task == TRACKS and not document.tracks:
            refuse('`verification`: the task `tracks` needs linked boxes: remove `"tracks": false`')
    if isinstance(document.verification, VerifyNone) and document.verification != VerifyNone():
        refuse("`verification`: the policy `none` has no other fields: leave them out")
    everybody = document.verification.reviewers > 1 and document.verification.reviewers_share == 1
    if document.verification.vigilance and everybody:
        refuse("`verification`: vigilance needs frames with one reviewer: make `reviewers_share` less than 1")
    if isinstance(document.verification, VerifyKeyFrames) and not document.tracks:
        refuse("`verification`: the policy `key-frames` needs tracks: leave out `tracks` or set it to true")


def execution_name(drive: str, run: str) -> str:
    """Derive the name of a run's execution, so that `ExecutionAlreadyExists` means that the run was started."""
    return f"{drive}-{run}"
