"""KITTI's format: `image_2/<frame>.png` and `label_2/<frame>.txt`, in a folder or in folders below it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from autolabel.labels import IGNORE
from autolabel_cli.evaluation.folders import Entry, Listing, Tree, key_of, swapped
from autolabel_cli.evaluation.objects import LabelledObject, class_of
from autolabel_cli.models.kitti import CLASSES, IMAGES, LABELS, read_objects

# The format has no list of classes: what KITTI labels counts as labelled. Its buses are Truck or Misc.
_LABELLED = frozenset({*CLASSES.values(), "bus"})
# KITTI ignores sitting persons when it scores pedestrians.
_NOT_SCORED = "Person_sitting"


def is_kitti(tree: Tree) -> bool:
    """Whether the tree has a folder of KITTI's labels."""
    return any(LABELS in key.split("/")[:-1] for key in tree.texts)


def list_frames(tree: Tree) -> Listing:
    """List the images below `image_2` with a file of labels. Others are left out."""
    entries, left_out = list[Entry](), Counter[str]()
    missing = {key for key in tree.texts if LABELS in key.split("/")[:-1]}
    for image in tree.images:
        place = swapped(image, IMAGES, LABELS)
        if place is None:
            continue
        labels = tree.texts.get(key_of(place))
        missing.discard(key_of(place))
        if labels is None:
            left_out["images without labels"] += 1
        else:
            entries.append(Entry(image, tree.folder / image, partial(_read, labels)))
    if missing:
        left_out["labels without an image"] += len(missing)
    return Listing(entries, _LABELLED, left_out)


def _read(labels: Path, width: int, height: int) -> Sequence[LabelledObject]:
    return [
        LabelledObject(
            thing.type,
            class_of(thing.type),
            thing.box,
            thing.share_left,
            class_of(thing.type) == IGNORE,
            thing.truncation,
            thing.occlusion,
            thing.type != _NOT_SCORED,
        )
        for thing in read_objects(labels, width, height)
    ]
