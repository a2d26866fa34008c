"""Frames beside a dataset: the images that its labels were made for, under their keys in the dataset's folder.

A dataset with its frames needs no cloud. Its folder looks as a copy of the drive in S3 does (`drives/<drive>/…`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from autolabel.contracts.errors import FrameChanged, FrameUnreadable, KeyRefused
from autolabel.contracts.frames import MAX_FRAME_BYTES, parse_frame_key
from autolabel.contracts.ports import Bucket
from autolabel.labels import read_line
from autolabel.streams import map_in_order
from autolabel_cli.errors import CommandError

DATASET = "dataset.manifest"
FETCHERS = 8


def copies_of(dataset: Path) -> Path | None:
    """Return the folder that has the frames of a dataset file under their keys; None if they are not beside it."""
    return dataset.parent if (dataset.parent / "drives").is_dir() else None


def fetch_frames(folder: Path, ingest: Bucket, fetched: Callable[[int], None]) -> int:
    """Write the frames of a folder's dataset beside it, several at a time, and return their count.

    Calls `fetched(count)` after each. CommandError when the folder has no dataset, and as `read_frame` raises it.
    """
    dataset = folder / DATASET
    if not dataset.is_file():
        raise CommandError(f"{folder} has no {DATASET}, because the run is not published: fetch it without --images")

    def fetch(numbered: tuple[int, bytes]) -> None:
        number, line = numbered
        try:
            content = read_line(line)
            bucket, _, key = content.source_ref.removeprefix("s3://").partition("/")
            # Keys of frames name files inside the folder.
            path = folder / parse_frame_key(key).key
            etag = content.origin.etag
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyRefused) as e:
            raise CommandError(f"{dataset} cannot be read in line {number}: {e}") from e
        body = read_frame(ingest, bucket, key, etag, "fetch without --images")
        path.parent.mkdir(parents=True, exist_ok=True)
        # An interrupted command leaves no half image under a frame's name.
        part = path.with_suffix(".part")
        part.write_bytes(body)
        part.replace(path)

    count = 0
    with dataset.open("rb") as lines:
        for count, _ in enumerate(map_in_order(fetch, enumerate(lines, start=1), FETCHERS), start=1):
            fetched(count)
    return count


def read_frame(ingest: Bucket, bucket: str, key: str, etag: str, otherwise: str) -> bytes:
    """Read a frame as it was when its labels were made. `otherwise`: what the user can do without its image.

    CommandError names a frame of another bucket, one that changed since, and one that S3 does not give out.
    """
    if bucket != ingest.name:
        raise CommandError(
            f"{key} is in bucket {bucket!r}, but the stack's frames are in {ingest.name!r}: "
            f"give the --stack that labelled it, or {otherwise}"
        )
    try:
        return ingest.read_range(key, 0, MAX_FRAME_BYTES, etag).body
    except FrameChanged as e:
        raise CommandError(f"{e}: relabel its drive, or {otherwise}") from e
    except FrameUnreadable as e:
        raise CommandError(f"{e}; make it readable, or {otherwise}") from e
