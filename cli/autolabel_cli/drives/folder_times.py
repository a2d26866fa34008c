"""Times of a folder's images, which stay the same when files are added, replaced or removed.

A receipt in the folder keeps the time of each name: the times of files differ between copies, and their order changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autolabel.logs import spread_times, time_of_name
from autolabel_cli.drives.receipts import read_receipt, write_receipt
from autolabel_cli.errors import CommandError


def frame_times(folder: Path, images: Sequence[Path]) -> dict[str, int]:
    """Return the time of each image by its name, in ns since the epoch.

    It is the receipt's, or the name's own. New names follow at 10 Hz from the oldest file's time, or get times between
    those of their neighbours. CommandError for two images of one time.
    """
    kept = read_receipt(folder).times
    named = {path.name: time for path in images if (time := kept.get(path.name) or time_of_name(path.name))}
    others = [path for path in images if path.name not in named]
    times = dict(named)
    if others or kept:
        oldest = min((path.stat().st_mtime_ns for path in others), default=0)
        times |= spread_times(kept, [path.name for path in others], oldest)
    first: dict[int, str] = {}
    for path in images:
        other = first.setdefault(times[path.name], path.name)
        if other != path.name:
            raise CommandError(
                f"{other} and {path.name} in folder {folder} are the same frame, with the timestamp "
                f"{times[path.name]}: rename or remove one of them"
            )
    return {path.name: times[path.name] for path in images}


def keep_times(folder: Path, times: Mapping[str, int]) -> bool:
    """Write the times of names that hold none into the folder's receipt; False if the folder cannot be written."""
    new = {name: time for name, time in times.items() if time != time_of_name(name)}
    if not new:
        return True
    receipt = read_receipt(folder)
    if new.items() <= receipt.times.items():
        return True
    receipt.times |= new
    return write_receipt(folder, receipt)
