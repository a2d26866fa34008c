"""COCO's format (cocodataset.org, data format): JSON documents with `images`, `annotations` and `categories`.

Where there are documents `instances_*.json`, only these are read, since others hold captions or keypoints of the same
images.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath

import msgspec

from autolabel.labels import Box
from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.folders import Entry, FrameLeftOut, Listing, Tree
from autolabel_cli.evaluation.objects import CLASS_NAMES, LabelledObject, class_of, clipped

_INSTANCES = "instances_"
_Id = int | str


class _Image(msgspec.Struct, frozen=True):
    id: _Id
    file_name: str
    width: int | None = None
    height: int | None = None


class _Annotation(msgspec.Struct, frozen=True):
    image_id: _Id
    category_id: _Id
    bbox: tuple[float, float, float, float]
    id: _Id = ""
    iscrowd: int | bool = 0


class _Category(msgspec.Struct, frozen=True):
    id: _Id
    name: str


class _Document(msgspec.Struct, frozen=True):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


class _Keys(msgspec.Struct, frozen=True):
    """Whether a JSON document is COCO's at all: others may be beside it."""

    images: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    annotations: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    categories: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def is_coco(tree: Tree) -> bool:
    """Whether the tree has JSON documents in a folder `annotations`, or under a name that is usual for COCO."""
    return any(
        "annotations" in path.parts[:-1] or path.name.startswith(_INSTANCES) or path.name.endswith(".coco.json")
        for path in tree.documents
    )


def list_frames(tree: Tree) -> Listing:
    """List the images that a document names. CommandError names a document that is broken."""
    entries, labelled, left_out = list[Entry](), set[str](), Counter[str]()
    places = defaultdict[str, list[PurePosixPath]](list)
    for path in tree.images:
        places[path.name].append(path)
    origin_of: dict[PurePosixPath, PurePosixPath] = {}
    for path in _document_paths(tree):
        document = _decode(tree, path)
        labelled |= {class_of(category.name) for category in document.categories}
        names = {category.id: category.name for category in document.categories}
        boxes = _boxes_by_image(document, names, f"{tree.folder / path}")
        for image in document.images:
            place = _place(places, image.file_name, path, tree)
            found = boxes.pop(image.id, [])
            if place is None:
                left_out["labels without an image"] += 1
                continue
            if place in origin_of:
                raise CommandError(
                    f"{tree.folder / path} and {origin_of[place]} both label {place}: remove one of them"
                )
            origin_of[place] = path
            entries.append(Entry(place, tree.folder / place, partial(_read, image, found)))
        if boxes:
            left_out["boxes of an image that no document lists"] += sum(map(len, boxes.values()))
    if unlabelled := len(tree.images) - len(origin_of):
        left_out["images without labels"] += unlabelled
    return Listing(entries, frozenset(labelled & set(CLASS_NAMES)), left_out)


_Labelled = tuple[str, Box, bool]


def _boxes_by_image(document: _Document, names: Mapping[_Id, str], origin: str) -> dict[_Id, list[_Labelled]]:
    """Collect each image's class names and boxes (xyxy, pixels), and whether they are crowds."""
    boxes = defaultdict[_Id, list[_Labelled]](list)
    for one in document.annotations:
        left, top, width, height = one.bbox
        if one.category_id not in names:
            raise CommandError(f"{origin}: annotation {one.id} has category {one.category_id}, which is not listed")
        if not math.isfinite(left + top + width + height) or width < 0 or height < 0:
            raise CommandError(
                f"{origin}: bbox {list(one.bbox)} of annotation {one.id} is not left, top, width, height"
            )
        box = (left, top, left + width, top + height)
        boxes[one.image_id].append((names[one.category_id], box, bool(one.iscrowd)))
    return dict(boxes)


def _read(image: _Image, boxes: Sequence[_Labelled], width: int, height: int) -> Sequence[LabelledObject]:
    if image.width and image.height and (image.width, image.height) != (width, height):
        raise FrameLeftOut("images of another size than their labels say")
    return [clipped(name, box, width, height, region=crowd) for name, box, crowd in boxes]


def _place(
    places: Mapping[str, list[PurePosixPath]], file_name: str, document: PurePosixPath, tree: Tree
) -> PurePosixPath | None:
    """Find an image: where documents usually mean it, or else by the end of its path, or else by its name."""
    named = PurePosixPath(file_name.replace("\\", "/"))
    known = places.get(named.name, [])
    split = document.stem.removeprefix(_INSTANCES)
    for above in (document.parent, document.parent.parent):
        for below in (split, f"images/{split}", "", "images"):
            if (usual := above / below / named) in known:
                return usual
    found = [path for path in known if path.parts[-len(named.parts) :] == named.parts] or known
    if len(found) > 1:
        raise CommandError(
            f"{tree.folder / document} names {file_name}, which can be {found[0]} or {found[1]}: remove one of them"
        )
    return found[0] if found else None


def _document_paths(tree: Tree) -> Iterator[PurePosixPath]:
    instances = [path for path in tree.documents if path.name.startswith(_INSTANCES)]
    found = instances or [path for path in tree.documents if _is_coco_document(tree, path)]
    if not found:
        raise CommandError(f"{tree.folder} has no JSON document with images, annotations and categories")
    yield from found


def _is_coco_document(tree: Tree, path: PurePosixPath) -> bool:
    try:
        keys = msgspec.json.decode((tree.folder / path).read_bytes(), type=_Keys)
    except msgspec.ValidationError:
        return False
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        # A broken document may be the one with the labels.
        raise CommandError(f"{tree.folder / path} is not JSON: {e}; repair or remove it") from e
    return msgspec.UNSET not in (keys.images, keys.annotations, keys.categories)


def _decode(tree: Tree, path: PurePosixPath) -> _Document:
    try:
        return msgspec.json.decode((tree.folder / path).read_bytes(), type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise CommandError(f"{tree.folder / path} is not a COCO document: {e}") from e
