"""The pictures and point clouds of a drive: in a stack, or in a folder with a copy of its objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from autolabel.contracts.drive import DriveDocument, parse_drive_document
from autolabel.contracts.errors import DocumentRefused, KeyRefused
from autolabel.contracts.frames import DRIVE_DOCUMENT, MAX_FRAME_BYTES, FrameKey, PointCloudKey, drive_prefix, parse_key
from autolabel.contracts.ports import Bucket
from autolabel_cli.drives.existence import check_drive
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack


class SensorFile(NamedTuple):
    """A picture or a point cloud. `time`: in ns since the epoch."""

    key: str
    time: int


class DriveFiles(Protocol):
    """The files of a drive."""

    drive: str
    document: DriveDocument

    def list(self, sensor: str, after: int = 0) -> Iterator[SensorFile]:
        """List the pictures of a camera or the clouds of a LiDAR from a time on, in the order of time."""

    def read(self, key: str) -> bytes | None:
        """Read a file; None if it is gone or too large."""


class StackFiles:
    """The files of a drive in the ingest bucket of a stack."""

    def __init__(self, stack: Stack, drive: str) -> None:
        """CommandError for a drive that does not exist, or has no drive.json."""
        check_drive(stack, drive)
        self.drive, self._bucket = drive, stack.ingest
        run = stack.ledger.latest_run(drive)
        self.document = run.document if run else _stored_document(stack.ingest, drive)

    def list(self, sensor: str, after: int = 0) -> Iterator[SensorFile]:
        prefix = f"{drive_prefix(self.drive)}{sensor}/"
        start = f"{prefix}{after - 1:019d}" if after > 0 else ""
        for one in self._bucket.list(prefix, after=start):
            if (found := _sensor_file(one.key)) and found.time >= after and one.size <= MAX_FRAME_BYTES:
                yield found

    def read(self, key: str) -> bytes | None:
        return self._bucket.read(key)


class FolderFiles:
    """The files of a drive in a folder: drive.json, `<camera>/<timestamp>.png` or `.jpg`, `<lidar>/<timestamp>.bin`."""

    def __init__(self, folder: Path) -> None:
        """CommandError for a folder without a good drive.json."""
        self._folder, self.drive = folder, folder.resolve().name
        document = folder / DRIVE_DOCUMENT
        try:
            self.document = parse_drive_document(document.read_bytes(), str(document))
        except OSError as e:
            raise CommandError(
                f"{document} cannot be read: {e.strerror}; name a drive, or a folder with its {DRIVE_DOCUMENT}"
            ) from e
        except DocumentRefused as e:
            raise CommandError(str(e)) from e

    def list(self, sensor: str, after: int = 0) -> Iterator[SensorFile]:
        folder = self._folder / sensor
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        for name in names:
            # The folder may have any name: only the rest of the key counts.
            found = _sensor_file(f"{drive_prefix('drive')}{sensor}/{name}", f"{sensor}/{name}")
            if found and found.time >= after:
                yield found

    def read(self, key: str) -> bytes | None:
        path = self._folder / key
        return path.read_bytes() if path.is_file() and path.stat().st_size <= MAX_FRAME_BYTES else None


def open_drive(name: str, stack_name: str) -> DriveFiles:
    """Open a drive: a folder of this name, else the drive of a stack. CommandError if there is neither."""
    folder = Path(name)
    if folder.is_dir() or "/" in name:
        return FolderFiles(folder)
    return StackFiles(Stack.find(stack_name), name)


def _stored_document(bucket: Bucket, drive: str) -> DriveDocument:
    key = drive_prefix(drive) + DRIVE_DOCUMENT
    body = bucket.read(key)
    if body is None:
        raise CommandError(f"drive {drive!r} has no {DRIVE_DOCUMENT} yet, which says where its sensors are: close it")
    return parse_drive_document(body, key)


def _sensor_file(key: str, name: str = "") -> SensorFile | None:
    """Read a key of a picture or cloud; None for other keys. `name`: what to read it by, if not by the key."""
    try:
        parsed = parse_key(key)
    except KeyRefused:
        return None
    if isinstance(parsed, FrameKey | PointCloudKey):
        return SensorFile(name or key, int(parsed.timestamp))
    return None
