"""Freezes and reads a run's listing: the objects of the drive at the run's first reconcile pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from autolabel.contracts.drive import DriveDocument
from autolabel.contracts.frames import (
    DRIVE_DOCUMENT,
    FrameKey,
    ListedFrame,
    drive_prefix,
    is_point_cloud,
    list_frame,
    logs_prefix,
    parse_frame_key,
)
from autolabel.contracts.ports import Bucket, StoredObject
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.wording import counted


class ListingSummary(msgspec.Struct, frozen=True):
    """Counts of a frozen listing. `cameras`: good frames by camera; `refused`: refused objects by reason."""

    objects: int
    frames: int
    cameras: dict[str, int]
    refused: dict[str, int]

    def notes(self, document: DriveDocument) -> list[str]:
        """Say which cameras have more or fewer frames in the listing than the drive document expects."""
        return [
            f"camera {name}: {self.cameras.get(name, 0)} of {counted(camera.expected_frames, 'expected frame')} arrived"
            for name, camera in sorted(document.cameras.items())
            if camera.expected_frames is not None and camera.expected_frames != self.cameras.get(name, 0)
        ]


def frozen_listing(label_bucket: Bucket, folder: RunFolder) -> ListingSummary | None:
    """Read the counts of the run's frozen listing; None if it is not frozen yet."""
    counts = label_bucket.read(folder.listing_counts)
    return None if counts is None else msgspec.json.decode(counts, type=ListingSummary)


def freeze_listing(ingest: Bucket, label_bucket: Bucket, folder: RunFolder, cameras: frozenset[str]) -> ListingSummary:
    """Freeze the drive's objects as the run's listing at its first reconcile pass; later passes get this listing.

    All counts of the run refer to this listing. A frame that arrives later does not belong to this run.
    """
    known = frozen_listing(label_bucket, folder)
    if known is not None:
        return known
    judged = judge_objects(ingest.list(drive_prefix(folder.drive)), folder.drive, cameras)
    # If two first passes run at once, only one listing is kept, and both count that one.
    label_bucket.write_stream(
        folder.listing,
        (msgspec.json.encode(line) + b"\n" for line in judged),
        "application/jsonl",
        once=True,
    )
    counted = _count(read_listing(label_bucket, folder))
    label_bucket.write(folder.listing_counts, msgspec.json.encode(counted))
    return counted


def missing_frames(ingest: Bucket, drive: str, document: DriveDocument) -> int:
    """Count the frames that the drive document expects and that have not arrived."""
    expected = {name: camera.expected_frames for name, camera in document.cameras.items() if camera.expected_frames}
    if not expected:
        return 0
    # A refused object has arrived as well.
    lines = judge_objects(ingest.list(drive_prefix(drive)), drive, frozenset(document.cameras))
    arrived = Counter(line.key.split("/")[2] for line in lines)
    return sum(max(0, count - arrived[name]) for name, count in expected.items())


def judge_objects(objects: Iterable[StoredObject], drive: str, cameras: frozenset[str]) -> Iterator[ListedFrame]:
    """Judge a drive's uploads for the listing, in key order."""
    previous: FrameKey | None = None
    for thing in uploads(objects, drive):
        line, frame = list_frame(thing.key, thing.etag, thing.size, previous=previous, cameras=cameras)
        previous = frame or previous
        yield line


def uploads(objects: Iterable[StoredObject], drive: str) -> Iterator[StoredObject]:
    """Yield a drive's objects without its document, its logs, its point clouds and the markers of folders."""
    document, logs = drive_prefix(drive) + DRIVE_DOCUMENT, logs_prefix(drive)
    for thing in objects:
        if thing.key == document or thing.key.startswith(logs) or is_point_cloud(thing.key):
            continue
        if not (thing.size == 0 and thing.key.endswith("/")):
            yield thing


def _count(lines: Iterable[ListedFrame]) -> ListingSummary:
    cameras: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for line in lines:
        if line.refused:
            refused[line.refused] += 1
        else:
            cameras[parse_frame_key(line.key).camera] += 1
    return ListingSummary(cameras.total() + refused.total(), cameras.total(), dict(cameras), dict(refused))


_line = msgspec.json.Decoder(ListedFrame)


def read_listing(label_bucket: Bucket, folder: RunFolder) -> Iterator[ListedFrame]:
    """Read the lines of the frozen listing, in key order, with refused objects."""
    return map(_line.decode, label_bucket.lines(folder.listing))
