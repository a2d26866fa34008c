"""YOLO's format (docs.ultralytics.com, detection datasets): `data.yaml` names the classes, `labels/` has the boxes.

The labels of `images/train/a.jpg` are in `labels/train/a.txt`, or beside the image. A line is a class index, and centre
and size of the box as shares of the image, or the points of an outline.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import yaml

from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.folders import Entry, Listing, Tree, key_of, swapped
from autolabel_cli.evaluation.objects import CLASS_NAMES, LabelledObject, class_of, clipped

_IMAGES, _LABELS = "images", "labels"
_DATA = ("data.yaml", "data.yml")
# Shares of a box may be rounded to just outside of the image; pixels are far outside.
_MOST_SHARE = 1.01


def is_yolo(tree: Tree) -> bool:
    """Whether the tree has a data.yaml."""
    return any(path.name.lower() in _DATA for path in tree.settings)


def list_frames(tree: Tree) -> Listing:
    """List the images with a file of labels. Others are left out: only an empty file says that nothing is there."""
    names = _class_names(tree)
    entries, left_out = list[Entry](), Counter[str]()
    missing = {key for key in tree.texts if _LABELS in key.split("/")[:-1]}
    for image in tree.images:
        place = swapped(image, _IMAGES, _LABELS)
        key = next((key for key in (key_of(place or image), key_of(image)) if key in tree.texts), None)
        if key is None:
            left_out["images without labels"] += 1
            continue
        missing.discard(key)
        entries.append(Entry(image, tree.folder / image, partial(_read, tree.texts[key], names)))
    if missing:
        left_out["labels without an image"] += len(missing)
    return Listing(entries, frozenset(map(class_of, names.values())) & set(CLASS_NAMES), left_out)


def _class_names(tree: Tree) -> Mapping[int, str]:
    """Read the names of the classes by index. CommandError without exactly one data.yaml that has them."""
    found = [path for path in tree.settings if path.name.lower() in _DATA]
    # The one nearest to the folder that was given.
    found = [path for path in found if len(path.parts) == min(len(other.parts) for other in found)]
    if len(found) != 1:
        said = f"has {len(found)} files data.yaml: give a folder with one" if found else "has no data.yaml with `names`"
        raise CommandError(f"{tree.folder} {said}")
    path = tree.folder / found[0]
    try:
        document = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as e:
        raise CommandError(f"{path} is not YAML: {' '.join(str(e).split())}") from e
    names = document.get("names") if isinstance(document, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not (isinstance(names, dict) and names and all(isinstance(index, int) for index in names)):
        raise CommandError(f"{path} needs `names`: a list of class names, or a map from class indices to names")
    return {index: str(name) for index, name in names.items()}


def _read(labels: Path, names: Mapping[int, str], width: int, height: int) -> Sequence[LabelledObject]:
    try:
        lines = labels.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as e:
        raise CommandError(f"{labels} is not UTF-8 text") from e
    return [
        _object(line.split(), f"{labels}, line {number}", names, width, height)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _object(fields: Sequence[str], origin: str, names: Mapping[int, str], width: int, height: int) -> LabelledObject:
    outline = len(fields) >= 7 and len(fields) % 2 == 1
    if len(fields) != 5 and not outline:
        raise CommandError(
            f"{origin} has {len(fields)} fields, but a box has 5 (class, x, y, width, height), an outline 7 or more"
        )
    try:
        number = float(fields[0])
        shares = [float(field) for field in fields[1:]]
    except ValueError as e:
        raise CommandError(f"{origin}: {e}") from e
    # Some tools write the index as 3.0.
    index = int(number) if number.is_integer() else -1
    if index not in names:
        raise CommandError(f"{origin} has class {fields[0]}, which data.yaml does not name")
    if not all(math.isfinite(share) and 1 - _MOST_SHARE <= share <= _MOST_SHARE for share in shares):
        raise CommandError(f"{origin}: {' '.join(fields[1:])} are not shares of the image from 0 to 1")
    if outline:
        xs, ys = shares[::2], shares[1::2]
        left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    else:
        x, y, wide, high = shares
        left, top, right, bottom = x - wide / 2, y - high / 2, x + wide / 2, y + high / 2
    return clipped(names[index], (left * width, top * height, right * width, bottom * height), width, height)
