"""Fetching the frames that labels were made for."""

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
    """Write each frame's image into its folder, several at a time; `fetched(n)` hears how many there are.

    CommandError names a frame that is not any more what its labels were made for.
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
            f"{frame.key} lies in bucket {frame.bucket!r}, and the stack's frames in {ingest.name!r}: "
            "give the --stack that labelled it, or --no-images"
        )
    try:
        body = ingest.read_first(frame.key, MAX_FRAME_BYTES, frame.etag)
    except FrameChanged as e:
        raise CommandError(f"{e}: label its drive again, or take the labels alone with --no-images") from e
    (folder / f"{frame.name}{frame.extension}").write_bytes(body)
