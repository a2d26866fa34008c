"""Staging of frames for an export: chooses the label of each line and maps its boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from autolabel.contracts.errors import KeyRefused
from autolabel.contracts.frames import FrameKey, parse_frame_key
from autolabel.contracts.verification import ACCEPTED
from autolabel.labels import (
    PRELABEL,
    VERIFIED,
    BoxCuboid,
    BoxLabel,
    CameraCuboid,
    CuboidScene,
    LabelledBox,
    LabelledBy,
    ManifestLine,
    Marks,
    Provenance,
    in_camera,
)
from autolabel.labels import read_line as read_manifest_line
from autolabel_cli.datasets.classes import ClassMap
from autolabel_cli.errors import CommandError

Labels = Literal["verified", "all"]
# Keys of an export's card, which readers of older cards know.
UNLABELLED, NOT_FINAL = "nobody labelled it", "no final label"
_OfBox = TypeVar("_OfBox")
# What decoding raises for a body that is not JSON of the expected shape.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class StagedBox(msgspec.Struct):
    """Object of a frame. `label`: index of its class. `at`: left, top, right, bottom in pixels, inside the frame.

    `score`: the models' confidence; None for a box that a person or a script drew or changed. `track`: id of its track,
    empty without one. `solid`: its cuboid in the camera's frame; `cuboid`: in the vehicle's, for formats of space.
    """

    label: int
    at: tuple[float, float, float, float]
    occluded: bool = False
    truncated: bool = False
    score: float | None = None
    track: str = ""
    solid: CameraCuboid | None = None
    cuboid: BoxCuboid | None = None


class StagedFrame(msgspec.Struct):
    """Frame with its labels. `name`: of its files, without the suffix. `regions`: boxes to ignore.

    `video`: name of the sequence that it belongs to, whose frames follow each other in the order of time.

    `key` and `etag`: of the object that the labels were made for. `labelled_by`: as in the dataset. `copies`: folder
    that has it under its key; empty when only the stack has it. `source`: name of its source file, empty if unknown.
    `scene`: what its cuboids were made from, for formats of space.
    """

    name: str
    video: str
    extension: str
    width: int
    height: int
    depth: int
    boxes: list[StagedBox]
    regions: list[tuple[float, float, float, float]]
    bucket: str
    key: str
    etag: str
    labelled_by: str
    copies: str = ""
    source: str = ""
    scene: CuboidScene | None = None


class Line(NamedTuple):
    """Line of a dataset. `origin` names it in messages. `copies`: folder of its frame, None when the stack has it."""

    origin: str
    frame: FrameKey
    bucket: str
    provenance: Provenance
    content: ManifestLine
    copies: Path | None = None

    @property
    def name(self) -> str:
        """Name of the frame's files, unique because names of drives and cameras hold no dots."""
        return f"{self.video}.{self.frame.timestamp}"

    @property
    def video(self) -> str:
        """Name of the drive's camera, whose frames are a video."""
        return f"{self.frame.drive}.{self.frame.camera}"


def read_line(body: bytes, origin: str, copies: Path | None = None) -> Line:
    """Read a line of a dataset.manifest, whose frame is in the folder `copies`. CommandError for another format."""
    try:
        content = read_manifest_line(body)
        provenance = content.origin
        bucket, _, key = content.source_ref.removeprefix("s3://").partition("/")
        frame = parse_frame_key(key)
        for what in ("drive", "run", "etag"):
            if not getattr(provenance, what):
                raise msgspec.ValidationError(f"its provenance has no {what}")
    except (*_UNREADABLE, KeyRefused) as e:
        raise CommandError(f"{origin} is not a line of a dataset.manifest: {e}") from e
    if provenance.drive != frame.drive:
        raise CommandError(
            f"{origin} has a frame of drive {frame.drive!r}, but provenance of drive {provenance.drive!r}"
        )
    return Line(origin, frame, bucket, provenance, content, copies)


def final_label(line: Line) -> str | None:
    """Return the attribute of the final label: a reviewer's, a script's, or the pre-label that the policy accepted."""
    metadata = _decode(line, f"{VERIFIED}-metadata", line.content.verified_metadata)
    failed = isinstance(metadata, dict) and metadata.get("failure-reason") is not None
    if line.content.verified is not UNSET and not failed:
        return VERIFIED
    return PRELABEL if line.provenance.triage == ACCEPTED else None


def chosen_label(line: Line, labels: Labels) -> tuple[str | None, str]:
    """Return the attribute to export, or None and the reason why the frame is left out."""
    attribute = final_label(line)
    if attribute:
        return attribute, ""
    if not _has_prelabel(line):
        return None, UNLABELLED
    return (PRELABEL, "") if labels == "all" else (None, NOT_FINAL)


def _has_prelabel(line: Line) -> bool:
    """Check whether a model answered; an empty pre-label of an unverified frame can also mean that all failed."""
    # A person's or a script's label may be segments, which say nothing about boxes.
    if line.provenance.labelled_by not in (LabelledBy.NOBODY, LabelledBy.PERSON, LabelledBy.SCRIPT):
        return line.content.prelabel is not UNSET
    prelabel = _decode(line, PRELABEL, line.content.prelabel)
    boxes = prelabel.get("annotations") if isinstance(prelabel, dict) else None
    asked = bool(line.provenance.verification) or line.content.labelled_by_script
    return bool(boxes) or (boxes == [] and asked and not line.provenance.failures)


def _decode(line: Line, name: str, part: msgspec.Raw | UnsetType) -> Any:
    # `Any`: the part may be of another version or back-end; the callers check its shape.
    try:
        return msgspec.json.decode(part or b"null")
    except _UNREADABLE as e:
        raise CommandError(f"{line.origin}: {name} cannot be read: {e}") from e


def stage_frame(
    line: Line, attribute: str, video: str, classes: ClassMap, dropped: Counter[str], *, in_space: bool = False
) -> StagedFrame:
    """Stage a frame of a video with its boxes by the class map. `dropped` counts the boxes left out, by reason.

    `in_space`: the format has the vehicle's frame.
    """
    try:
        verified = attribute == VERIFIED
        boxes = line.content.verified_boxes if verified else line.content.prelabel_boxes
        label = line.content.verified if verified else line.content.prelabel
        size = msgspec.json.decode(label or b"null", type=BoxLabel).image_size[0]
        marks = _marks(line, attribute, len(boxes))
    except (*_UNREADABLE, IndexError) as e:
        raise CommandError(f"{line.origin}: {attribute} is not a set of boxes: {e}") from e
    if min(size.width, size.height, size.depth) < 1:
        raise CommandError(
            f"{line.origin}: its size is not positive: {size.width}x{size.height} pixels, {size.depth} channels"
        )
    frame = StagedFrame(
        name=line.name,
        video=video,
        extension=f".{line.frame.extension}",
        width=size.width,
        height=size.height,
        depth=size.depth,
        boxes=[],
        regions=[],
        bucket=line.bucket,
        key=line.frame.key,
        etag=line.provenance.etag,
        labelled_by=line.provenance.labelled_by.value,
        copies=str(line.copies or ""),
        source=line.provenance.source,
    )
    scores, tracks = _scores(line), _of_label(line, attribute, line.content.tracks, [""] * len(boxes))
    cuboids = _of_label(line, attribute, line.content.cuboids, [BoxCuboid()] * len(boxes))
    scene = line.content.cuboids_metadata or CuboidScene()
    frame.scene = scene if in_space else None
    for box, mark, track, cuboid in zip(boxes, marks, tracks, cuboids, strict=True):
        at = _inside(box, size.width, size.height)
        # Of an object in space, the reviewer of its cuboid said its class last.
        name = cuboid.label if in_space and cuboid.label else box.name
        target = classes.target(name, line.origin)
        if at is None:
            dropped["outside the frame"] += 1
        elif target is None:
            dropped[f"class {name}"] += 1
        elif not isinstance(target, int):
            frame.regions.append(at)
        else:
            marked, solid = (mark.occluded, mark.truncated), in_camera(cuboid, scene)
            placed = cuboid if in_space and cuboid.center else None
            frame.boxes.append(StagedBox(target, at, *marked, scores.get(_place(box)), track, solid, placed))
    return frame


def _of_label(
    line: Line, attribute: str, found: Sequence[_OfBox] | UnsetType, default: Sequence[_OfBox]
) -> Sequence[_OfBox]:
    """Return what the line has for each box; the default if it has nothing, or has that of another label."""
    own = attribute == VERIFIED or line.content.verified is UNSET
    return found if own and found is not UNSET and len(found) == len(default) else default


def _scores(line: Line) -> dict[tuple[str, float, float, float, float], float]:
    """Return the confidence of each box of the pre-label. A box that a reviewer left as it was is found in it."""
    try:
        return {_place(box): box.confidence for box in line.content.prelabel_boxes}
    except _UNREADABLE:
        # Of segments, or of another version: the label can be exported without it.
        return {}


def _place(box: LabelledBox) -> tuple[str, float, float, float, float]:
    return box.name, box.left, box.top, box.width, box.height


def _marks(line: Line, attribute: str, count: int) -> Sequence[Marks]:
    """Return the reviewer's marks of each box. Marks are empty if the line has none, or has another number."""
    review = line.content.review
    if attribute != VERIFIED or review is UNSET:
        return [Marks()] * count
    return review.boxes if len(review.boxes) == count else [Marks()] * count


def _inside(box: LabelledBox, width: int, height: int) -> tuple[float, float, float, float] | None:
    """Clip a box to the frame. None when it is outside."""
    left, top = max(0.0, box.left), max(0.0, box.top)
    right, bottom = min(float(width), box.left + box.width), min(float(height), box.top + box.height)
    return (left, top, right, bottom) if left < right and top < bottom else None
