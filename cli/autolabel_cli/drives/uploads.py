"""Upload of a recording as a drive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import ClientError

from autolabel.aws import error_code
from autolabel.contracts.drive import Camera, DriveDocument
from autolabel.contracts.frames import DRIVE_DOCUMENT, SOURCE, FrameKey, drive_prefix, encode_source, is_name
from autolabel.contracts.logs import LogDocument
from autolabel.streams import map_in_order
from autolabel_cli.drives.recordings import RecordedFrame
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack

if TYPE_CHECKING:
    from autolabel.logs import Calibrations

UPLOADERS = 8


def check_names(drive: str, camera: str) -> None:
    """Check the names of a drive and a camera. CommandError for one that the contract of keys does not allow."""
    for what, name in (("drive", drive), ("camera", camera)):
        if not is_name(name):
            raise CommandError(
                f"{name!r} is not a valid {what} name: use 1 to 63 letters, digits, _ and -, begin with a letter or "
                "digit, and do not use 'logs'"
            )


def check_closed(stack: Stack, drive: str, *, late: bool) -> bool:
    """Check that the drive is open, or closed for `late` frames; CommandError if it is not.

    Returns whether that is known: uploaders need not be able to read the ledger.
    """
    try:
        latest = stack.ledger.latest_run(drive)
    except ClientError as e:
        if "AccessDenied" not in error_code(e):
            raise
        return False
    if latest and not late:
        raise CommandError(
            f"drive {drive!r} is closed, its latest run is {latest.run}: frames that come now are in no run until it "
            "is relabelled; name another --drive, or give --late to add them"
        )
    if late and not latest:
        raise CommandError(f"drive {drive!r} is not closed, so no frame of it is late: leave out --late")
    return True


def upload_frames(
    stack: Stack, drive: str, camera: str, frames: Iterable[RecordedFrame], uploaded: Callable[[int], None]
) -> dict[str, int]:
    """Upload frames to a drive, several at a time, and return their count by camera.

    `camera`: that of frames whose recording names none. Calls `uploaded(count)` after each frame.
    """

    def upload(frame: RecordedFrame) -> str:
        name = frame.camera or camera
        key = FrameKey(drive, name, f"{frame.timestamp:019d}", frame.extension).key
        metadata = {SOURCE: encode_source(frame.origin)} if frame.origin else {}
        stack.ingest.write(key, frame.body, "image/png" if frame.extension == "png" else "image/jpeg", metadata)
        return name

    counts: Counter[str] = Counter()
    for name in map_in_order(upload, frames, UPLOADERS):
        counts[name] += 1
        uploaded(counts.total())
    return dict(counts)


def close_drive(stack: Stack, drive: str, document: DriveDocument) -> None:
    """Upload drive.json, which closes the drive and starts its run."""
    stack.ingest.write(drive_prefix(drive) + DRIVE_DOCUMENT, msgspec.json.encode(document))


def document_of(
    described: LogDocument, frames: Mapping[str, int], calibrations: Calibrations | None = None
) -> DriveDocument:
    """Make the document of a drive. `frames`: their count by camera; `calibrations`: of a log's cameras."""
    cameras = {}
    for name, count in sorted(frames.items()):
        intrinsics = calibrations.intrinsics.get(name) if calibrations else None
        extrinsics = calibrations.extrinsics.get(name) if calibrations else None
        cameras[name] = Camera(
            count,
            described.ego_masks.get(name),
            intrinsics.as_document() if intrinsics else None,
            extrinsics=extrinsics.as_document() if extrinsics else None,
        )
    return DriveDocument(
        vehicle=described.vehicle,
        cameras=cameras,
        models=described.models,
        verification=described.verification,
        notes=described.notes,
        tracks=described.tracks,
        privacy=described.privacy,
    )
