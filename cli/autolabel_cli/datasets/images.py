"""Images of an export: fetches the frames that the labels were made for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from autolabel.contracts.errors import FrameChanged
from autolabel.contracts.frames import MAX_FRAME_BYTES
from autolabel.contracts.ports import Bucket
from autolabel_cli.datasets.staging import StagedFrame
from autolabel_cli.errors import CommandError

FETCHERS = 8


def fetch_images(frames: Iterable[tuple[StagedFrame, Path]], ingest: Bucket, fetched: Callable[[int], None]) -> None:
    """Write each frame's image into its folder, several at a time. Calls `fetched(count)` after each.

    CommandError names a frame that changed after its labels were made.
    """
    under_way: deque[Future[None]] = deque()
    count = 0
    with ThreadPoolExecutor(FETCHERS) as pool:
        for frame, folder in frames:
            under_way.append(pool.submit(_fetch, frame, ingest, folder))
            if len(under_way) >= 2 * FETCHERS:
                under_way.popleft().result()
                count += 1
                fetched(count)
        while under_way:
            under_way.popleft().result()
            count += 1
            fetched(count)


def _fetch(frame: StagedFrame, ingest: Bucket, folder: Path) -> None:
    if frame.bucket != ingest.name:
        raise CommandError(
            f"{frame.key} is in bucket {frame.bucket!r}, but the stack's frames are in {ingest.name!r}: "
            "give the --stack that labelled it, or --no-images"
        )
    try:
        body = ingest.read_first(frame.key, MAX_FRAME_BYTES, frame.etag)
    except FrameChanged as e:
        raise CommandError(f"{e}: relabel its drive, or export without images (--no-images)") from e
    (folder / f"{frame.name}{frame.extension}").write_bytes(body)
