"""Reads cameras and times from the names of image files: in folders, in archives, and in well-known data sets."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import NamedTuple

import msgspec

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.frames import is_name

IMAGES = {".png": "png", ".jpg": "jpg", ".jpeg": "jpeg"}
# Keeps the times of a folder's images, where names hold none.
RECEIPT = ".autolabel-upload.json"
# Has the times of a folder's images by their numbers (KITTI raw).
TIMESTAMPS = "timestamps.txt"
# Assumed rate of images whose names hold no timestamp.
FOLDER_RATE_HZ = 10
_MAX_NAME = 1024
_STEP = 1_000_000_000 // FOLDER_RATE_HZ
# The first time of 19 digits, in 2001: some archives and images give files the time 0, and names may get earlier ones.
_EARLIEST = 10**18
# The camera of images that are in no folder.
DEFAULT_CAMERA = "front"
# nuScenes: <log>__<camera>__<microseconds>; its folders samples and sweeps have the same cameras.
_NUSCENES = re.compile(r".+__([A-Za-z0-9_-]+)__([1-9][0-9]{15})")
# Ford Multi-AV: <date>-V2-Log1-<camera>.
_FORD = re.compile(r".+-V[0-9]+-Log[0-9]+-([A-Za-z]+)")
# Microseconds (Ford, nuScenes) since 2001, or nanoseconds; 18 digits are those of Argoverse 2, whose epoch is GPS's.
_MICROSECONDS = re.compile(r"[1-9][0-9]{15}")
_NANOSECONDS = re.compile(r"[1-9][0-9]{17}|[0-9]{19}")
_LINE = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?\s*")
_OTHERS_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


class FrameTime(NamedTuple):
    """The time of an image, in ns since its data set's epoch. `assumed`: it follows from its place among the others."""

    time: int
    assumed: bool = False


class _Receipt(msgspec.Struct):
    times: dict[str, int] = {}


def natural_order(name: str) -> tuple[list[str | int], str]:
    """Return a key that sorts file names as people count: `2.png` before `10.png`."""
    parts = re.split("([0-9]+)", PurePosixPath(name).stem)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def time_of_name(name: str) -> int | None:
    """Return the time that a file's name tells, in ns since its data set's epoch; None if it tells none."""
    stem = PurePosixPath(name).stem
    if match := _NUSCENES.fullmatch(stem):
        return int(match[2]) * 1000
    if _MICROSECONDS.fullmatch(stem):
        return int(stem) * 1000
    return int(stem) if _NANOSECONDS.fullmatch(stem) else None


def camera_folder(path: str) -> str:
    """Return what stands for the camera of an image: its folder, or the camera in its name; `.` without a folder.

    KITTI's folder `data` is left out, since the camera is the one above.
    """
    file = PurePosixPath(path)
    if match := _NUSCENES.fullmatch(file.stem):
        return match[1]
    folder = file.parent
    return str(folder.parent if folder.name == "data" and folder.parent.name else folder)


def folder_camera(folder: str) -> str:
    """Name the camera of a folder: by its last part, without what Ford puts before it. LogRefused for no name."""
    last = PurePosixPath(folder).name
    if not last:
        return DEFAULT_CAMERA
    match = _FORD.fullmatch(last)
    name = match[1] if match else _OTHERS_IN_NAMES.sub("_", last).lstrip("_-")
    if not is_name(name):
        raise LogRefused("camera-unnamed", f"folder {folder!r} gives no name of a camera: {name!r} is not allowed")
    return name


def frame_times(
    names: Sequence[str], lines: Sequence[int] | None, kept: Mapping[str, int], oldest: int
) -> dict[str, FrameTime]:
    """Return the time of each image of a camera by its name, which may be a path.

    It is the one that a receipt has `kept`, or that of the image's number in `lines`, the camera's list of times; of
    the list, those without a time are left out. Without a list (None) it is the name's own. Other images get times
    between those of the receipt, or from `oldest` on, the time of the oldest file.
    """
    told = {name: kept.get(name) or (time_of_name(name) if lines is None else _listed(name, lines)) for name in names}
    others = [name for name, time in told.items() if time is None] if lines is None else []
    assumed = spread_times(kept, others, oldest) if others else {}
    found = {name: FrameTime(time) for name, time in told.items() if time}
    return found | {name: FrameTime(assumed[name], assumed=True) for name in others}


def _listed(name: str, lines: Sequence[int]) -> int | None:
    number = PurePosixPath(name).stem
    return lines[int(number)] if number.isascii() and number.isdigit() and int(number) < len(lines) else None


def spread_times(kept: Mapping[str, int], names: Collection[str], oldest: int) -> dict[str, int]:
    """Return the kept times, and times for the other names between those of their neighbours in natural order.

    `kept`: times by name; without them, the names follow `oldest` at 10 Hz. All in ns since the epoch.
    """
    new = {name for name in names if name not in kept}
    times = dict(kept)
    ordered = sorted(kept.keys() | new, key=natural_order)
    groups = [(is_new, list(group)) for is_new, group in itertools.groupby(ordered, key=new.__contains__)]
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
            before = max(_EARLIEST, oldest) - _STEP
        gap = span if after is None else after - before
        times |= {name: before + gap * place // (len(group) + 1) for place, name in enumerate(group, start=1)}
    return times


def parse_receipt(body: bytes) -> dict[str, int]:
    """Read the times by name that a folder's receipt keeps. ValueError if it is damaged."""
    try:
        # Not msgspec, which refuses names that are not UTF-8.
        times = msgspec.convert(json.loads(body), _Receipt).times
    except (msgspec.ValidationError, RecursionError) as e:
        raise ValueError(str(e)) from e
    if any(not 0 < time < 10**19 or len(name) > _MAX_NAME for name, time in times.items()):
        raise ValueError("it has times that are not of 19 digits, or very long names")
    return times


def parse_timestamps(body: bytes) -> list[int]:
    """Read KITTI's timestamps.txt: the time of each line in ns, 0 for a line without one. It has no zone: UTC."""
    times = []
    for line in body.decode("ascii", "replace").splitlines():
        match = _LINE.fullmatch(line)
        try:
            second = datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp() if match else 0
        except ValueError:
            second = 0
        times.append(int(second) * 1_000_000_000 + int((match[2] or "").ljust(9, "0")) if match and second else 0)
    return times
