"""Images of an export: fetches the frames that the labels were made for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from autolabel.contracts.errors import FrameChanged, FrameUnreadable
from autolabel.contracts.frames import MAX_FRAME_BYTES
from autolabel.contracts.ports import Bucket
from autolabel.streams import map_in_order
from autolabel_cli.datasets.staging import StagedFrame
from autolabel_cli.errors import CommandError

FETCHERS = 8


def fetch_images(frames: Iterable[tuple[StagedFrame, Path]], ingest: Bucket, fetched: Callable[[int], None]) -> None:
    """Write each frame's image into its folder, several at a time. Calls `fetched(count)` after each.

    CommandError names a frame that changed after its labels were made, or that S3 does not give out.
    """
    for count, _ in enumerate(map_in_order(lambda place: _fetch(*place, ingest), frames, FETCHERS), start=1):
        fetched(count)


def _fetch(frame: StagedFrame, folder: Path, ingest: Bucket) -> None:
    if frame.bucket != ingest.name:
        raise CommandError(
            f"{frame.key} is in bucket {frame.bucket!r}, but the stack's frames are in {ingest.name!r}: "
            "give the --stack that labelled it, or --no-images"
        )
    try:
        body = ingest.read_range(frame.key, 0, MAX_FRAME_BYTES, frame.etag)
    except FrameChanged as e:
        raise CommandError(f"{e}: relabel its drive, or export without images (--no-images)") from e
    except FrameUnreadable as e:
        raise CommandError(f"{e}; make it readable, or export without images (--no-images)") from e
    (folder / f"{frame.name}{frame.extension}").write_bytes(body)
