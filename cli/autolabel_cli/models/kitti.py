"""Labelled frames in KITTI's format, and KITTI's rules for which objects count.

A folder with `image_2/<frame>.png` and `label_2/<frame>.txt`; a line of labels is `type truncated occluded alpha left
top right bottom` and seven numbers in three dimensions (KITTI object development kit, readme.txt).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from autolabel.contracts.errors import ImageRefused
from autolabel.contracts.wording import counted
from autolabel.labels import Box, read_header
from autolabel_cli.errors import CommandError
from autolabel_cli.models.truth import COUNTS, IGNORED, REGION, Truth

IMAGES, LABELS = "image_2", "label_2"
_SUFFIXES = (".png", ".jpg", ".jpeg")
_FIELDS = 15
REGION_TYPE = "DontCare"
# KITTI's types as classes of the taxonomy. A type that is missing here has no class.
CLASSES = {
    "Car": "car",
    "Van": "van",
    "Truck": "truck",
    "Tram": "train",
    "Pedestrian": "person",
    "Person_sitting": "person",
    "Cyclist": "rider",
}
TYPES = frozenset({*CLASSES, "Misc", REGION_TYPE})


class Level(NamedTuple):
    """Difficulty as KITTI defines it: least height in pixels, highest occlusion (0 to 2) and truncation (0 to 1)."""

    min_height: float
    max_occlusion: int
    max_truncation: float


# The first three are KITTI's own (cvlibs.net, 2D object evaluation). `whole` includes truncated objects as well, and
# `all` every object, also of unknown occlusion (3).
LEVELS = {
    "easy": Level(40, 0, 0.15),
    "moderate": Level(25, 1, 0.30),
    "hard": Level(25, 2, 0.50),
    "whole": Level(25, 2, 1.00),
    "all": Level(0, 3, 1.00),
}


class ScoredClass(NamedTuple):
    """Classes of the taxonomy that are scored together, KITTI's types that count, and neighbours that are ignored."""

    classes: frozenset[str]
    types: frozenset[str]
    neighbours: frozenset[str] = frozenset()


def _scored(classes: str, types: str, neighbours: str = "") -> ScoredClass:
    return ScoredClass(*(frozenset(names.split()) for names in (classes, types, neighbours)))


# Van and Person_sitting are neighbours by KITTI's own rule. Misc is trailers and other things on wheels, and some
# models call trams vehicles: in the group `vehicle` neither is an error.
SCORED = {
    "vehicle": _scored("car van truck bus", "Car Van Truck", "Tram Misc"),
    "person or rider": _scored("person rider", "Pedestrian Cyclist", "Person_sitting"),
    "car": _scored("car", "Car", "Van"),
    "van": _scored("van", "Van"),
    "truck": _scored("truck", "Truck"),
    "train": _scored("train", "Tram"),
    "person": _scored("person", "Pedestrian", "Person_sitting"),
    "rider": _scored("rider", "Cyclist"),
}
GROUPS = ("vehicle", "person or rider")
# An object does not count if a crop left less than this share of it.
MIN_SHARE_LEFT = 0.5


class KittiObject(NamedTuple):
    """Line of labels. `box`: xyxy pixels clipped to the frame, None outside it. `share_left`: of the area, 0 to 1.

    `solid`: the seven texts in three dimensions: height, width, length, x, y, z, rotation_y.
    """

    type: str
    truncation: float
    occlusion: int
    box: Box | None
    share_left: float
    solid: tuple[str, ...]


class LevelledObject(Protocol):
    """What tells whether an object counts for a level, in any format of labels."""

    @property
    def box(self) -> Box | None: ...
    @property
    def share_left(self) -> float: ...
    @property
    def occlusion(self) -> int: ...
    @property
    def truncation(self) -> float: ...


class LabelledFrame(NamedTuple):
    """Frame with its labelled objects. `name`: of its file, without the suffix."""

    name: str
    image: Path
    width: int
    height: int
    objects: tuple[KittiObject, ...]


def read_labelled_folder(folder: Path) -> list[LabelledFrame]:
    """Read the labelled frames of a folder in the order of their names. CommandError for another or broken format."""
    images, labels = folder / IMAGES, folder / LABELS
    if not (images.is_dir() and labels.is_dir()):
        raise CommandError(
            f"{folder} is not a labelled folder: it needs {IMAGES}/*.png and {LABELS}/*.txt (KITTI's format)"
        )
    found = {path.stem: path for path in sorted(images.iterdir()) if path.suffix.lower() in _SUFFIXES}
    if not found:
        raise CommandError(f"{images} has no .png, .jpg or .jpeg file")
    if missing := [name for name in found if not (labels / f"{name}.txt").is_file()]:
        first = labels / f"{missing[0]}.txt"
        unlabelled = counted(len(missing), f"frame of {images} has", f"frames of {images} have")
        raise CommandError(f"{unlabelled} no labels; the first missing file is {first}")
    return [_read_frame(path, labels / f"{name}.txt") for name, path in found.items()]


def truths(objects: Sequence[KittiObject], scored: ScoredClass, level: Level) -> list[Truth]:
    """Return the truth of a frame for a scored class at a level: objects that count or are ignored, and regions."""
    found = []
    for thing in objects:
        if thing.box is None:
            continue
        if thing.type == REGION_TYPE:
            found.append(Truth(thing.box, REGION))
        elif thing.type in scored.types:
            found.append(Truth(thing.box, COUNTS if counts(thing, level) else IGNORED))
        elif thing.type in scored.neighbours:
            found.append(Truth(thing.box, IGNORED))
    return found


def counts(thing: LevelledObject, level: Level) -> bool:
    """Whether an object is large, visible and whole enough for a level."""
    if thing.box is None or thing.share_left < MIN_SHARE_LEFT:
        return False
    large = thing.box[3] - thing.box[1] >= level.min_height
    return large and thing.occlusion <= level.max_occlusion and thing.truncation <= level.max_truncation


def _read_frame(image: Path, labels: Path) -> LabelledFrame:
    body = image.read_bytes()
    try:
        header = read_header(lambda start, count: body[start : start + count], str(image))
    except ImageRefused as e:
        raise CommandError(f"{image}: {e}") from e
    objects = read_objects(labels, header.width, header.height, TYPES)
    return LabelledFrame(image.stem, image, header.width, header.height, objects)


def read_objects(labels: Path, width: int, height: int, types: frozenset[str] | None = None) -> tuple[KittiObject, ...]:
    """Read the objects of a file of labels, with boxes clipped to a frame of `width` x `height` pixels.

    `types`: the known types; None takes all. CommandError names the line of an unknown type or another format.
    """
    try:
        lines = labels.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as e:
        raise CommandError(f"{labels} is not UTF-8 text") from e
    objects = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            objects.append(_read_object(line.split(), f"{labels}, line {number}", width, height, types))
    return tuple(objects)


def _read_object(
    fields: Sequence[str], origin: str, width: int, height: int, types: frozenset[str] | None
) -> KittiObject:
    if len(fields) != _FIELDS:
        raise CommandError(f"{origin} has {len(fields)} fields, but KITTI's format has {_FIELDS}")
    if types is not None and fields[0] not in types:
        raise CommandError(f"{origin} has the unknown type {fields[0]!r}; known are {', '.join(sorted(types))}")
    try:
        truncation, occlusion = float(fields[1]), int(fields[2])
        x1, y1, x2, y2 = (float(field) for field in fields[4:8])
    except ValueError as e:
        raise CommandError(f"{origin}: {e}") from e
    if not (math.isfinite(x1 + y1 + x2 + y2) and x1 < x2 and y1 < y2):
        raise CommandError(f"{origin}: {(x1, y1, x2, y2)} is not the left, top, right and bottom of a box")
    box = (max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2))
    left = max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
    share = left / ((x2 - x1) * (y2 - y1))
    return KittiObject(fields[0], truncation, occlusion, box if left else None, share, tuple(fields[8:]))
