"""Recordings on this machine: reads folders of images as frames."""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.wording import counted
from autolabel.logs import IMAGES, RECEIPT, FrameTime, camera_folder, folder_camera, natural_order
from autolabel_cli.drives.folder_times import camera_times, keep_times
from autolabel_cli.errors import CommandError

_MOST_NAMED = 5


@dataclass(frozen=True)
class RecordedFrame:
    """Frame of a recording. `timestamp`: ns since the epoch. `body`: the bytes of the image file.

    `origin`: the name of its source file; of a video or log, with the frame's place. Never a path of this machine.
    `camera`: empty if the recording names no cameras.
    """

    timestamp: int
    extension: str
    body: bytes
    origin: str = ""
    camera: str = ""


@dataclass
class Recording:
    """Folder of image files, of one camera or of several.

    `files`: in their order as frames. `skipped`: what else is in the folder, and images that may not be read; without
    hidden files. `times`: of the files, by their paths in the folder, in ns since the epoch; `assumed`: the files whose
    times nothing tells. `cameras`: by the same paths; empty if the images have no folders.
    """

    path: Path
    files: tuple[Path, ...]
    skipped: tuple[Path, ...] = ()
    times: Mapping[str, int] = field(default_factory=dict)
    assumed: frozenset[Path] = frozenset()
    cameras: Mapping[str, str] = field(default_factory=dict)

    @property
    def skipped_sentence(self) -> str:
        """Say what is skipped, with the first names; empty when nothing is."""
        if not self.skipped:
            return ""
        named = first_of(self.name_of(path) + "/" * path.is_dir() for path in self.skipped)
        kinds = ".png, .jpg or .jpeg"
        skipped = counted(
            len(self.skipped), f"that is not a readable {kinds} file", f"that are not readable {kinds} files"
        )
        return f"skipped {skipped}: {named}"

    def name_of(self, file: Path) -> str:
        """Return a file's path in the folder."""
        return str(file.relative_to(self.path))

    def rename_camera(self, name: str) -> None:
        """Give the folder's only camera a name; CommandError if it has several."""
        found = sorted(set(self.cameras.values()))
        if len(found) > 1:
            raise CommandError(
                f"--camera names one camera, and the folders in {self.path} are {first_of(found)}: leave it out, or "
                "give the folder of one of them"
            )
        self.cameras = dict.fromkeys(self.cameras, name)

    def keep_times(self) -> str:
        """Keep assumed times in the folders of their files, for later uploads. Returns a notice if they cannot be."""
        locked = keep_times({path: self.times[self.name_of(path)] for path in self.files if path in self.assumed})
        if locked is None:
            return ""
        return (
            f"{locked / RECEIPT} cannot be written, so the times of the frames are not kept: when files are added "
            "to the folder or removed, upload it as another drive"
        )

    def count(self, limit: int | None = None) -> int | None:
        """Count the frames, at most `limit`."""
        return len(self.files[:limit])

    def frames(self, limit: int | None = None, first: int = 0) -> Iterator[RecordedFrame]:
        """Read at most `limit` frames in order, from the index `first`. CommandError when one cannot be read."""
        return itertools.islice(_image_frames(self), first, None if limit is None else first + limit)


def find_recording(path: Path) -> Recording:
    """Find the images of a folder, which are one camera; without any, those of the folders in it, which are cameras.

    The folders' names, and the names of images, are read as those of an archive are. CommandError for a folder without
    images, for two folders that would be one camera, and for two images of one camera and time.
    """
    if not path.is_dir():
        raise CommandError(f"{path} is not a file or folder: give a video, a drive log or a folder of images")
    found = sorted((p for p in path.iterdir() if not _is_hidden(p.name)), key=lambda p: natural_order(p.name))
    images = [p for p in found if _is_image(p)]
    flat = bool(images)
    if not flat:
        found = list(_files_below(path))
        images = [p for p in found if _is_image(p)]
    if not images:
        raise CommandError(
            f"folder {path} has no .png, .jpg or .jpeg file that can be read: give a folder of images or a video file"
        )
    root = path.resolve()
    places = {image: str(root / image.relative_to(path)) for image in images}
    groups = defaultdict[str, list[Path]](list)
    for image in images:
        groups[camera_folder(places[images[0] if flat else image])].append(image)
    named = {} if flat else _name_cameras(groups)
    oldest = min(image.stat().st_mtime_ns for image in images)
    times: dict[Path, FrameTime] = {}
    cameras: dict[Path, str] = {}
    for folder, files in groups.items():
        times |= camera_times(folder, files, oldest)
        cameras |= dict.fromkeys(files, named[folder]) if named else {}
    taken = frozenset(images)
    recording = Recording(
        path,
        tuple(images if flat else sorted(images, key=lambda p: (times[p].time, cameras[p]))),
        tuple(p for p in found if p not in taken),
        {str(p.relative_to(path)): times[p].time for p in images},
        frozenset(p for p in images if times[p].assumed),
        {str(p.relative_to(path)): camera for p, camera in cameras.items()},
    )
    _refuse_same_frames(recording)
    return recording


def _name_cameras(folders: Iterable[str]) -> dict[str, str]:
    """Name the camera of each folder."""
    named: dict[str, str] = {}
    first: dict[str, str] = {}
    for folder in folders:
        try:
            named[folder] = folder_camera(folder)
        except LogRefused as e:
            raise CommandError(f"{e}: rename it") from e
        other = first.setdefault(named[folder], folder)
        if other != folder:
            raise CommandError(
                f"folders {other} and {folder} would both be camera {named[folder]!r}: rename one of them, or upload "
                "them as two drives"
            )
    return named


def _refuse_same_frames(recording: Recording) -> None:
    first: dict[tuple[str, int], str] = {}
    for name in map(recording.name_of, recording.files):
        camera, time = recording.cameras.get(name, ""), recording.times[name]
        other = first.setdefault((camera, time), name)
        if other != name:
            raise CommandError(
                f"{other} and {name} in folder {recording.path} are the same frame, with the timestamp {time}: "
                "rename or remove one of them"
            )


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGES and path.is_file() and os.access(path, os.R_OK)


def _files_below(path: Path) -> Iterator[Path]:
    """Yield the files in a folder and its folders, and links to other folders, which are not followed."""

    def refuse(e: OSError) -> None:
        raise CommandError(f"{e.filename} cannot be read ({e.strerror}): make it readable for you") from e

    for folder, inner, names in os.walk(path, onerror=refuse):
        inner[:] = sorted((name for name in inner if not _is_hidden(name)), key=natural_order)
        yield from (Path(folder, name) for name in inner if Path(folder, name).is_symlink())
        yield from (Path(folder, name) for name in sorted(names, key=natural_order) if not _is_hidden(name))


def first_of(names: Iterable[str]) -> str:
    """List the first names, and count the others."""
    remaining = iter(names)
    first = list(itertools.islice(remaining, _MOST_NAMED))
    others = sum(1 for _ in remaining)
    return ", ".join(first) + (f" and {others:,} more" if others else "")


def _image_frames(recording: Recording) -> Iterator[RecordedFrame]:
    for path in recording.files:
        name = recording.name_of(path)
        extension, camera = IMAGES[path.suffix.lower()], recording.cameras.get(name, "")
        yield RecordedFrame(recording.times[name], extension, path.read_bytes(), path.name, camera)
