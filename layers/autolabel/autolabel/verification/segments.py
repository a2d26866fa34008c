"""Checks segments from a back-end: a picture in the label bucket, and the classes that its colours mean."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec

from autolabel.contracts.errors import ImageRefused
from autolabel.contracts.ports import Bucket
from autolabel.labels.image_header import read_header
from autolabel.labels.manifest import BACKGROUND, ManifestLine
from autolabel.verification.rules import other_size, unknown_class

# A name must not begin with a dot, because clients resolve `..` in the path of a request.
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.:+-]*"
_PICTURE = re.compile(rf"({_NAME}/)*{_NAME}\.png")
# S3's limit is 1,024 bytes; the keys of our jobs are shorter.
_MAX_KEY = 900
# An index is a byte of the picture.
_Index = Annotated[str, msgspec.Meta(pattern=r"\A(0|[1-9][0-9]{0,2})\Z")]


class SegmentClass(msgspec.Struct, frozen=True, rename="kebab"):
    """The class and colour that an index of a picture means."""

    class_name: str
    hex_color: Annotated[str, msgspec.Meta(pattern=r"\A#[0-9a-fA-F]{6}\Z")]


class SegmentsMetadata(msgspec.Struct, frozen=True, rename="kebab"):
    """The metadata of a semantic-segmentation attribute."""

    internal_color_map: Annotated[dict[_Index, SegmentClass], msgspec.Meta(min_length=1)] = {}


def broken_segments_rule(
    line: ManifestLine, label: Any, metadata: Any, *, names: frozenset[str], label_bucket: Bucket, folder: str
) -> str:
    """Say which rule a back-end's segments break; empty if they break none.

    The label must be a PNG of the frame's size below `folder` of the label bucket, whose colours mean classes in
    `names` or the background. Raises msgspec.ValidationError for another shape.
    """
    meant = msgspec.convert(metadata, SegmentsMetadata)
    place = label_bucket.uri(folder)
    uri = msgspec.convert(label, str)
    if not uri.startswith(place) or len(uri) > _MAX_KEY or not _PICTURE.fullmatch(uri, len(place)):
        return f"the label is not a PNG below {place}: {uri}"
    known = names | {BACKGROUND}
    unknown = next((one.class_name for one in meant.internal_color_map.values() if one.class_name not in known), None)
    return _broken_picture_rule(line, uri, label_bucket) if unknown is None else unknown_class(unknown)


def _broken_picture_rule(line: ManifestLine, uri: str, label_bucket: Bucket) -> str:
    key = uri.removeprefix(label_bucket.uri(""))
    try:
        header = read_header(lambda start, count: label_bucket.read_range(key, start, count).body, key)
    except ImageRefused as e:
        return f"the picture of the segments cannot be read: {e}"
    if header.format != "png":
        return f"the picture of the segments is a {header.format}, not a png: {uri}"
    return other_size(header.width, header.height, line.size)
