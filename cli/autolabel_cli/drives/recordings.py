"""Recordings on this machine: reads a folder of images as frames."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autolabel.contracts.wording import counted
from autolabel.logs import IMAGES, RECEIPT, natural_order
from autolabel_cli.drives.folder_times import frame_times, keep_times
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


@dataclass(frozen=True)
class Recording:
    """Folder of image files.

    `skipped`: what else is in the folder, and images that may not be read; without hidden files. `times`: of the files,
    by name, in ns since the epoch.
    """

    path: Path
    files: tuple[Path, ...]
    skipped: tuple[Path, ...] = ()
    times: Mapping[str, int] = field(default_factory=dict)

    @property
    def skipped_sentence(self) -> str:
        """Say what is skipped, with the first names; empty when nothing is."""
        if not self.skipped:
            return ""
        named = first_of(path.name + "/" * path.is_dir() for path in self.skipped)
        kinds = ".png, .jpg or .jpeg"
        skipped = counted(
            len(self.skipped), f"that is not a readable {kinds} file", f"that are not readable {kinds} files"
        )
        return f"skipped {skipped}: {named}"

    def keep_times(self) -> str:
        """Keep the times of the files in their folder, for later uploads. Returns a notice if that is not possible."""
        if keep_times(self.path, self.times):
            return ""
        return (
            f"{self.path / RECEIPT} cannot be written, so the times of the frames are not kept: when files are added "
            "to the folder or removed, upload it as another drive"
        )

    def count(self, limit: int | None = None) -> int | None:
        """Count the frames, at most `limit`."""
        return len(self.files[:limit])

    def frames(self, limit: int | None = None, first: int = 0) -> Iterator[RecordedFrame]:
        """Read at most `limit` frames in order, from the index `first`. CommandError when one cannot be read."""
        return itertools.islice(_image_frames(self), first, None if limit is None else first + limit)


def find_recording(path: Path) -> Recording:
    """Find the images of a folder. CommandError when it has none."""
    if not path.is_dir():
        raise CommandError(f"{path} is not a file or folder: give a video, a drive log or a folder of images")
    found = (p for p in path.iterdir() if not p.name.startswith("."))
    files = sorted(found, key=lambda p: natural_order(p.name))
    images = tuple(p for p in files if p.suffix.lower() in IMAGES and p.is_file() and os.access(p, os.R_OK))
    if not images:
        raise CommandError(
            f"folder {path} has no .png, .jpg or .jpeg file that can be read: give a folder of images or a video file"
        )
    taken = frozenset(images)
    return Recording(path, images, tuple(p for p in files if p not in taken), frame_times(path, images))


def first_of(names: Iterable[str]) -> str:
    """List the first names, and count the others."""
    remaining = iter(names)
    first = list(itertools.islice(remaining, _MOST_NAMED))
    others = sum(1 for _ in remaining)
    return ", ".join(first) + (f" and {others:,} more" if others else "")


def _image_frames(recording: Recording) -> Iterator[RecordedFrame]:
    for path in recording.files:
        yield RecordedFrame(recording.times[path.name], IMAGES[path.suffix.lower()], path.read_bytes(), path.name)
