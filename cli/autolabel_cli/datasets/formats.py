"""Formats of an export, and those that datumaro writes, in a process of its own."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

import msgspec

from autolabel_cli.datasets.staging import StagedFrame
from autolabel_cli.errors import CommandError
from autolabel_cli.installation import DATUMARO

Format = Literal["coco", "kitti", "yolo", "voc", "mot", "kitti-tracking", "cvat-video", "nuscenes", "openlabel"]
FORMATS: tuple[Format, ...] = get_args(Format)
# Formats with cuboids in the vehicle's frame, and samples of several sensors.
IN_SPACE: tuple[Format, ...] = ("nuscenes", "openlabel")
# Formats with a folder of images for each video: the name of a frame by its number.
_NUMBERED = {"mot": "{:06d}", "kitti-tracking": "{:06d}", "cvat-video": "frame_{:06d}"}
_FIRST_NUMBERS = {"mot": 1}
# Folders in which the readers of each format expect a split's images, by split and video.
_IMAGES = {
    "coco": "images/{}",
    "kitti": "{}/image_2",
    "yolo": "images/{}",
    "voc": "JPEGImages",
    "mot": "{}/{}/img1",
    "kitti-tracking": "{}/image_02/{}",
    "cvat-video": "{}/{}/images",
    "nuscenes": "samples/{2}",
    "openlabel": "{}/images",
}


class Request(msgspec.Struct):
    """Request to datumaro_formats.py. `splits`: file of each split, with one `staging.StagedFrame` a line."""

    format: Format
    folder: str
    classes: Sequence[str]
    splits: Mapping[str, str]


class _Answer(msgspec.Struct):
    written: int = 0
    refused: str = ""


def images_folder(form: Format, split: str, video: str = "") -> Path:
    """Return the folder of a split's images in an export; in formats of videos, that of a `video`."""
    _, _, camera = video.partition(".")
    return Path(_IMAGES[form].format(split, video, channel("camera", camera.partition(".")[0]) if camera else ""))


def channel(modality: str, sensor: str) -> str:
    """Return nuScenes' name of a sensor: CAM_FRONT of `front`, LIDAR_TOP of `top`. Two sensors may have one."""
    prefix = "CAM" if modality == "camera" else "LIDAR"
    return f"{prefix}_{sensor.upper().replace('-', '_')}"


def has_videos(form: Format) -> bool:
    """Tell whether a format has a folder of images for each video, and not one for each split."""
    return form in _NUMBERED


def image_path(form: Format, split: str, frame: StagedFrame, place: int) -> Path:
    """Return the path of a frame's image in an export. `place`: of the frame in its video, from 0."""
    name = _NUMBERED[form].format(place + _FIRST_NUMBERS.get(form, 0)) if has_videos(form) else frame.name
    return images_folder(form, split, frame.video) / (name + frame.extension)


def write_format(
    form: Format, folder: Path, classes: Sequence[str], staged: Mapping[str, Path], written: Callable[[int], None]
) -> None:
    """Write staged frames into a folder. Calls `written(count)` meanwhile. CommandError when datumaro fails."""
    request = Request(form, str(folder), classes, {split: str(path) for split, path in staged.items()})
    count = 0
    command = [*DATUMARO.python(), str(Path(__file__).with_name("datumaro_formats.py"))]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both are pipes")
        # A process that ended at once gives the reason on its standard error.
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(msgspec.json.encode(request))
        for line in process.stdout:
            answer = msgspec.json.decode(line, type=_Answer)
            if answer.refused:
                raise CommandError(answer.refused)
            count += answer.written
            written(count)
        if process.wait():
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:] or ["it printed nothing"]
            raise CommandError(f"datumaro failed: {last[0]}")
