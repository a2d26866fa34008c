"""Times of a folder's images, which stay the same when files are added, replaced or removed.

A receipt in the folder keeps the time of each name: the times of files differ between copies, and their order changes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from autolabel_cli.drives.receipts import read_receipt, write_receipt
from autolabel_cli.errors import CommandError

# Assumed rate of images whose names hold no timestamp.
FOLDER_RATE_HZ = 10
_STEP = 1_000_000_000 // FOLDER_RATE_HZ
# The first time of 19 digits, in 2001: some archives and images give files the time 0, and names may get earlier ones.
_EARLIEST = 10**18
_TIMESTAMP = re.compile(r"[0-9]{19}")


def natural_order(name: str) -> tuple[list[str | int], str]:
    """Return a key that sorts file names as people count: `2.png` before `10.png`."""
    parts = re.split("([0-9]+)", Path(name).stem)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def frame_times(folder: Path, images: Sequence[Path]) -> dict[str, int]:
    """Return the time of each image by its name, in ns since the epoch.

    It is the name's own, if that is 19 digits, or the receipt's. New names follow at 10 Hz from the oldest file's
    time, or get times between those of their neighbours. CommandError for two images of one time.
    """
    named = {path.name: int(path.stem) for path in images if _TIMESTAMP.fullmatch(path.stem)}
    others = [path for path in images if path.name not in named]
    times = named | (_spread(read_receipt(folder).times, others) if others else {})
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
    new = {name: time for name, time in times.items() if not _TIMESTAMP.fullmatch(Path(name).stem)}
    if not new:
        return True
    receipt = read_receipt(folder)
    if new.items() <= receipt.times.items():
        return True
    receipt.times |= new
    return write_receipt(folder, receipt)


def _spread(kept: Mapping[str, int], images: Sequence[Path]) -> dict[str, int]:
    """Return the kept times, and times for the other images between those of their neighbours in natural order."""
    new = {path.name: path for path in images if path.name not in kept}
    times = dict(kept)
    names = sorted(kept.keys() | new.keys(), key=natural_order)
    groups = [(is_new, list(group)) for is_new, group in itertools.groupby(names, key=new.__contains__)]
    for index, (is_new, group) in enumerate(groups):
        if not is_new:
            continue
        span = (len(group) + 1) * _STEP
        after = kept[groups[index + 1][1][0]] if index + 1 < len(groups) else None
        if index:
            before = kept[groups[index - 1][1][-1]]
        elif after is not None:
            before = after - span
        else:
            before = max(_EARLIEST, min(path.stat().st_mtime_ns for path in images)) - _STEP
        gap = span if after is None else after - before
        times |= {name: before + gap * place // (len(group) + 1) for place, name in enumerate(group, start=1)}
    return times
