"""Times of the images in folders, which stay the same when files are added, replaced or removed.

A receipt in each folder keeps the times that were assumed by its names: the times of files differ between copies, and
their order changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from autolabel.logs import TIMESTAMPS, FrameTime, frame_times, parse_timestamps
from autolabel_cli.drives.receipts import read_receipt, write_receipt
from autolabel_cli.errors import CommandError


def camera_times(folder: str, images: Sequence[Path], oldest: int) -> dict[Path, FrameTime]:
    """Return the times of one camera's images. `folder`: what stands for the camera; its list of times is there.

    The rules are those of archives. `oldest`: of new times, in ns since the epoch. CommandError for an image that the
    list lacks.
    """
    kept = {
        str(parent / name): time
        for parent in sorted({path.parent for path in images})
        for name, time in read_receipt(parent).times.items()
    }
    listed = Path(folder, TIMESTAMPS)
    lines = parse_timestamps(listed.read_bytes()) if listed.is_absolute() and listed.is_file() else None
    times = frame_times([str(path) for path in images], lines, kept, oldest)
    for path in images:
        if str(path) not in times:
            raise CommandError(f"{path} has no time in {listed}: add its line, or move the image away")
    return {path: times[str(path)] for path in images}


def keep_times(times: Mapping[Path, int]) -> Path | None:
    """Write times of images into the receipts of their folders. Returns a folder that cannot be written, if any."""
    by_folder = defaultdict[Path, dict[str, int]](dict)
    for path, time in times.items():
        by_folder[path.parent][path.name] = time
    for folder, new in by_folder.items():
        receipt = read_receipt(folder)
        if new.items() <= receipt.times.items():
            continue
        receipt.times |= new
        if not write_receipt(folder, receipt):
            return folder
    return None
