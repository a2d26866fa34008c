"""Lines of a dataset as frames to be written in another format: which label counts, and what becomes of its boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from autolabel.contracts.errors import KeyRefused
from autolabel.contracts.frames import FrameKey, parse_frame_key
from autolabel.labels.manifest import (
    PRELABEL,
    PROVENANCE,
    REVIEW,
    VERIFIED,
    BoxLabel,
    LabelledBox,
    metadata_of,
    read_boxes,
)
from autolabel.labels.reviews import Marks, Review
from autolabel_cli.datasets.classes import ClassMap
from autolabel_cli.errors import CommandError

Labels = Literal["verified", "all"]
NOBODY, NOT_FINAL = "nobody labelled it", "no final label"
ACCEPTED = "accepted"


class StagedBox(msgspec.Struct):
    """An object: the index of its class, and left, top, right, bottom in pixels, inside the frame."""

    label: int
    at: tuple[float, float, float, float]
    occluded: bool = False
    truncated: bool = False


class StagedFrame(msgspec.Struct):
    """A frame with its labels. `name`: of its files, without the suffix; `regions`: boxes that count for nothing.

    `key` and `etag` are the object that the labels were made for.
    """

    name: str
    extension: str
    width: int
    height: int
    depth: int
    boxes: list[StagedBox]
    regions: list[tuple[float, float, float, float]]
    bucket: str
    key: str
    etag: str


class Line(NamedTuple):
    """A line of a dataset; `origin` names it for people."""

    origin: str
    frame: FrameKey
    bucket: str
    provenance: dict[str, Any]
    content: dict[str, Any]

    @property
    def name(self) -> str:
        """What the frame's files are called: names of drives and cameras hold no dots, so no two frames share one."""
        return f"{self.frame.drive}.{self.frame.camera}.{self.frame.timestamp}"


def read_line(body: bytes, origin: str) -> Line:
    """Read a line of a dataset.manifest; CommandError for anything else."""
    try:
        content = msgspec.json.decode(body, type=dict[str, Any])
        provenance = msgspec.convert(content.get(PROVENANCE), dict[str, Any])
        bucket, _, key = msgspec.convert(content.get("source-ref"), str).removeprefix("s3://").partition("/")
        frame = parse_frame_key(key)
        for what in ("drive", "run", "etag"):
            msgspec.convert(provenance.get(what), str)
    except (msgspec.DecodeError, KeyRefused, UnicodeDecodeError, RecursionError) as e:
        raise CommandError(f"{origin} is no line of a dataset.manifest: {e}") from e
    if provenance["drive"] != frame.drive:
        raise CommandError(f"{origin}: a frame of drive {frame.drive!r} with provenance of {provenance['drive']!r}")
    return Line(origin, frame, bucket, provenance, content)


def final_label(line: Line) -> str | None:
    """The attribute with the frame's final label: a person's, or the pre-label that the policy accepted."""
    metadata = line.content.get(metadata_of(VERIFIED))
    failed = isinstance(metadata, dict) and metadata.get("failure-reason") is not None
    if VERIFIED in line.content and not failed:
        return VERIFIED
    return PRELABEL if line.provenance.get("triage") == ACCEPTED else None


def chosen_label(line: Line, labels: Labels) -> tuple[str | None, str]:
    """The attribute to export, or None and why the frame is left out."""
    attribute = final_label(line)
    if attribute:
        return attribute, ""
    if not _has_prelabel(line):
        return None, NOBODY
    return (PRELABEL, "") if labels == "all" else (None, NOT_FINAL)


def _has_prelabel(line: Line) -> bool:
    """Whether a model answered: of a frame that nobody verified, an empty pre-label may be that of failed models."""
    # A person who left segments said nothing of the boxes.
    if line.provenance.get("labelled-by") not in ("nobody", "person"):
        return PRELABEL in line.content
    prelabel = line.content.get(PRELABEL)
    boxes = prelabel.get("annotations") if isinstance(prelabel, dict) else None
    return bool(boxes) or (boxes == [] and "verification" in line.provenance and "failures" not in line.provenance)


def stage_frame(line: Line, attribute: str, classes: ClassMap, dropped: Counter[str]) -> StagedFrame:
    """The frame with its boxes by the class map; `dropped` counts those that are left out, by why."""
    try:
        size = msgspec.convert(line.content[attribute], BoxLabel).image_size[0]
        boxes = read_boxes(line.content, attribute)
        marks = _marks(line, attribute, len(boxes))
    except (msgspec.ValidationError, KeyError, IndexError) as e:
        raise CommandError(f"{line.origin}: {attribute} is no set of boxes: {e}") from e
    if min(size.width, size.height, size.depth) < 1:
        raise CommandError(f"{line.origin}: a frame of {size.width}x{size.height} pixels in {size.depth} channels")
    frame = StagedFrame(
        name=line.name,
        extension=f".{line.frame.extension}",
        width=size.width,
        height=size.height,
        depth=size.depth,
        boxes=[],
        regions=[],
        bucket=line.bucket,
        key=line.frame.key,
        etag=line.provenance["etag"],
    )
    for box, mark in zip(boxes, marks, strict=True):
        at = _inside(box, size.width, size.height)
        target = classes.target(box.name, line.origin)
        if at is None:
            dropped["outside the frame"] += 1
        elif target is None:
            dropped[f"class {box.name}"] += 1
        elif not isinstance(target, int):
            frame.regions.append(at)
        else:
            frame.boxes.append(StagedBox(target, at, mark.occluded, mark.truncated))
    return frame


def _marks(line: Line, attribute: str, count: int) -> Sequence[Marks]:
    """What people marked of each box; nothing where they marked nothing, or where the marks are of other boxes."""
    review = msgspec.convert(line.content.get(REVIEW, {}), Review) if attribute == VERIFIED else Review()
    return review.boxes if len(review.boxes) == count else [Marks()] * count


def _inside(box: LabelledBox, width: int, height: int) -> tuple[float, float, float, float] | None:
    """What of a box lies in the frame; None for nothing."""
    left, top = max(0.0, box.left), max(0.0, box.top)
    right, bottom = min(float(width), box.left + box.width), min(float(height), box.top + box.height)
    return (left, top, right, bottom) if left < right and top < bottom else None
