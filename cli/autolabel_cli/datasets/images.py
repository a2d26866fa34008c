"""Images of an export: copies the frames that the labels were made for, from beside a dataset or from a stack."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from autolabel.contracts.ports import Bucket
from autolabel.streams import map_in_order
from autolabel_cli.datasets.staging import StagedFrame
from autolabel_cli.drives.frame_copies import FETCHERS, read_frame
from autolabel_cli.errors import CommandError

_WITHOUT = "export without images (--no-images)"


def copy_images(
    frames: Iterable[tuple[StagedFrame, Path]], ingest: Bucket | None, copied: Callable[[int], None]
) -> None:
    """Write each frame's image to its path, several at a time. Calls `copied(count)` after each.

    `ingest`: None when all frames are beside their datasets. CommandError names a frame that is missing there, that
    changed after its labels were made, or that S3 does not give out.
    """
    for count, _ in enumerate(map_in_order(lambda place: _copy(*place, ingest), frames, FETCHERS), start=1):
        copied(count)


def _copy(frame: StagedFrame, image: Path, ingest: Bucket | None) -> None:
    if ingest is not None and not frame.copies:
        image.write_bytes(read_frame(ingest, frame.bucket, frame.key, frame.etag, _WITHOUT))
        return
    origin = Path(frame.copies, frame.key)
    try:
        shutil.copyfile(origin, image)
    except FileNotFoundError as e:
        raise CommandError(
            f"{origin} is missing, though other frames are beside the dataset: fetch it again with --images, "
            f"or {_WITHOUT}"
        ) from e
