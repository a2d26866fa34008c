"""Images and point clouds of an export: copies those that labels were made for, from beside a dataset or a stack."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from autolabel.contracts.errors import FrameChanged, FrameUnreadable
from autolabel.contracts.frames import MAX_FRAME_BYTES, PointCloudKey
from autolabel.contracts.ports import Bucket
from autolabel.streams import map_in_order
from autolabel_cli.datasets.nuscenes import five_columns, point_cloud_path
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


def copy_clouds(
    frames: Iterable[StagedFrame], folder: Path, ingest: Bucket | None, copied: Callable[[int], None]
) -> None:
    """Write the point clouds of frames into an export of nuScenes, each once. Calls `copied(count)` after each.

    CommandError names a point cloud that is missing.
    """
    for count, _ in enumerate(
        map_in_order(lambda one: _copy_cloud(*one, ingest), _clouds(frames, folder), FETCHERS), 1
    ):
        copied(count)


def _clouds(frames: Iterable[StagedFrame], folder: Path) -> Iterator[tuple[StagedFrame, PointCloudKey, Path]]:
    for frame in frames:
        drive = frame.video.partition(".")[0]
        for lidar, time in (frame.scene.clouds if frame.scene else {}).items():
            path = folder / point_cloud_path(drive, lidar, int(time))
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                yield frame, PointCloudKey(drive, lidar, time), path


def _copy_cloud(frame: StagedFrame, cloud: PointCloudKey, path: Path, ingest: Bucket | None) -> None:
    origin = Path(frame.copies, cloud.key)
    if frame.copies and origin.is_file():
        path.write_bytes(five_columns(origin.read_bytes()))
        return
    try:
        thing = ingest.head(cloud.key) if ingest else None
        if ingest is None or thing is None:
            raise CommandError(
                f"the point cloud {cloud.key} is missing beside the dataset and in the stack: {_WITHOUT}"
            )
        path.write_bytes(five_columns(ingest.read_range(cloud.key, 0, MAX_FRAME_BYTES, thing.etag).body))
    except (FrameChanged, FrameUnreadable) as e:
        raise CommandError(f"{e}; make it readable, or {_WITHOUT}") from e


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
