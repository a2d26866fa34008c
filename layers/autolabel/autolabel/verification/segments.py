"""Checks segments from a back-end: a picture in the label bucket, and the classes that its colours mean."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec

from autolabel.contracts.errors import ImageRefused
from autolabel.contracts.ports import Bucket
from autolabel.labels.image_header import read_header
from autolabel.labels.manifest import BACKGROUND, ManifestLine

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
    failure_reason: str | None = None


def is_segmentation(
    line: ManifestLine, label: Any, metadata: Any, *, names: frozenset[str], label_bucket: Bucket, folder: str
) -> bool:
    """Whether a label is a segmentation of the frame: a PNG of the frame's size below `folder` of the label bucket,
    whose colours mean classes in `names` or the background. Raises msgspec.ValidationError for another shape."""
    meant = msgspec.convert(metadata, SegmentsMetadata)
    place = label_bucket.uri(folder)
    uri = msgspec.convert(label, str)
    if meant.failure_reason is not None or not uri.startswith(place) or len(uri) > _MAX_KEY:
        return False
    if not _PICTURE.fullmatch(uri, len(place)):
        return False
    if not all(one.class_name in names or one.class_name == BACKGROUND for one in meant.internal_color_map.values()):
        return False
    key = uri.removeprefix(label_bucket.uri(""))
    try:
        header = read_header(lambda count: label_bucket.read_first(key, count), key)
    except ImageRefused:
        return False
    return (header.format, header.width, header.height) == ("png", line.size.width, line.size.height)
