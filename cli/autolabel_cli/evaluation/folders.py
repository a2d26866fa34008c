"""Labelled folders of other people: finds their files, and reads their frames one by one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from autolabel.contracts.errors import ImageRefused
from autolabel.labels import read_header
from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.objects import CLASS_NAMES, LabelledObject, count_unknown

_IMAGES = (".png", ".jpg", ".jpeg")


class FrameLeftOut(Exception):
    """A frame that cannot be scored; the message is the reason, in words that are the same for all such frames."""


class Tree(NamedTuple):
    """Files of a folder and all folders below it. Keys are paths below it without their suffix, with slashes.

    `images`: by path, in order. `texts`: .txt files by key. `documents`: .json and `settings`: .yaml files, by path.
    Suffixes may be in upper case. Hidden files and folders are left out.
    """

    folder: Path
    images: tuple[PurePosixPath, ...]
    texts: dict[str, Path]
    documents: tuple[PurePosixPath, ...]
    settings: tuple[PurePosixPath, ...]


class Entry(NamedTuple):
    """Labelled image. `read(width, height)` reads its objects for an image of this size, and may raise FrameLeftOut."""

    name: PurePosixPath
    image: Path
    read: Callable[[int, int], Sequence[LabelledObject]]


class Listing(NamedTuple):
    """What a format finds in a folder. `labelled`: classes of the taxonomy that it labels. `left_out`: by reason."""

    entries: Sequence[Entry]
    labelled: frozenset[str]
    left_out: Counter[str]


class Frame(NamedTuple):
    """Labelled frame, whose objects are read when they are needed."""

    name: PurePosixPath
    image: Path
    width: int
    height: int
    read: Callable[[int, int], Sequence[LabelledObject]]

    def objects(self) -> Sequence[LabelledObject]:
        """Read the objects of the frame."""
        return self.read(self.width, self.height)


class LabelledFolder(NamedTuple):
    """Folder whose labels were all read once, so that a broken one is told before a model is asked.

    `labelled`: classes of the taxonomy that it labels. `unknown`: objects by a class that the taxonomy does not have.
    `left_out`: images, labels and boxes that cannot be scored, by reason.
    """

    frames: Sequence[Frame]
    labelled: frozenset[str]
    unknown: Counter[str]
    left_out: Counter[str]


def walk(folder: Path) -> Tree:
    """Find the files of a folder. CommandError when it is not a folder, or has no image."""
    if not folder.is_dir():
        raise CommandError(f"{folder} is not a folder: give the folder with the images and labels")
    images, documents, settings = list[PurePosixPath](), list[PurePosixPath](), list[PurePosixPath]()
    texts: dict[str, Path] = {}
    for path in sorted(_files(folder)):
        match path.suffix.lower():
            case suffix if suffix in _IMAGES:
                images.append(path)
            case ".txt":
                texts[key_of(path)] = folder / path
            case ".json":
                documents.append(path)
            case ".yaml" | ".yml":
                settings.append(path)
    if not images:
        raise CommandError(f"{folder} has no .png, .jpg or .jpeg file: give the folder with the images and labels")
    return Tree(folder, tuple(images), texts, tuple(documents), tuple(settings))


def key_of(path: PurePosixPath) -> str:
    """Return the key of a path in a tree."""
    return str(path.with_suffix(""))


def swapped(path: PurePosixPath, old: str, new: str) -> PurePosixPath | None:
    """Return the path with the last folder `old` replaced by `new`; None when there is no such folder."""
    folders = list(path.parts[:-1])
    if old not in folders:
        return None
    folders[len(folders) - 1 - folders[::-1].index(old)] = new
    return PurePosixPath(*folders, path.name)


def read_folder(listing: Listing, folder: Path) -> LabelledFolder:
    """Read the sizes of all images and check all labels. CommandError when a label is broken or no frame is left."""
    frames, left_out, unknown = list[Frame](), Counter(listing.left_out), Counter[str]()
    seen = set[str]()
    for name, image, read in listing.entries:
        try:
            width, height = image_size(image)
            objects = read(width, height)
        except FrameLeftOut as e:
            left_out[str(e)] += 1
            continue
        frames.append(Frame(name, image, width, height, read))
        unknown.update(count_unknown(objects))
        seen |= {thing.name for thing in objects}
        if outside := sum(thing.box is None for thing in objects):
            left_out["boxes without an area in their image"] += outside
    if not frames:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise CommandError(f"{folder} has no labelled frame{f' ({reasons})' if reasons else ''}: see --format")
    labelled = listing.labelled | (seen & set(CLASS_NAMES))
    if not labelled:
        named = ", ".join(sorted(unknown)[:10]) or "none"
        raise CommandError(f"{folder} labels no class of the taxonomy ({', '.join(CLASS_NAMES)}), but {named}")
    return LabelledFolder(frames, labelled, unknown, left_out)


def _files(folder: Path) -> Iterator[PurePosixPath]:
    """Yield the files below a folder, also through links, each folder once."""
    been = set[str]()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in been:
            folders.clear()
            continue
        been.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        below = PurePosixPath(Path(place).relative_to(folder).as_posix())
        yield from (below / name for name in files if not name.startswith("."))


def image_size(image: Path) -> tuple[int, int]:
    """Read the width and height of an image. FrameLeftOut when the pipeline would refuse it."""

    def read(start: int, count: int) -> bytes:
        with image.open("rb") as file:
            file.seek(start)
            return file.read(count)

    try:
        header = read_header(read, str(image))
    except ImageRefused as e:
        raise FrameLeftOut(f"images refused as {e.reason}") from e
    except OSError as e:
        raise CommandError(f"{image} cannot be read: {e.strerror}") from e
    return header.width, header.height
