"""Sequences of video frames and the tracks in them: sequence files, label category files, SeqLabel files.

Shapes: developer guide, "Create a video frame input manifest file" (sequence file), "Create a labeling category
configuration file", "Output data" (video frame object tracking output). Limits: the same guide, quotas of input data.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from local.sagemaker.ground_truth.worker_templates import BadCategories
from local.sagemaker.names import S3Uri
from local.sagemaker.ports import ObjectStore, StorageError

SEQUENCES = 10
# An attribute of a manifest line that Ground Truth passes on and does not read: a SeqLabel of places where objects may
# be. The portal's page takes boxes from there for an object that a worker draws.
CANDIDATES = "candidates-ref"
_FRAMES = 2_000
_LABELS = 30
_NAME_CHARACTERS = 16
_ATTRIBUTES = 10
_CHOICES = 10

Value = str | float


class BadSequence(Exception):
    """A sequence or its pre-label cannot be shown, or an answer does not fit it; the message says why."""


@dataclass(frozen=True)
class TrackedBox:
    """A box of a track in one frame, in pixels from the top left; a track has one `object_id` in all its frames."""

    label: str
    left: int
    top: int
    width: int
    height: int
    object_id: str
    object_name: str
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Tracks:
    """The answer to a tracking task: all boxes as the worker leaves them, by the name of their frame.

    `image`: as in Boxes.
    """

    frames: Mapping[str, tuple[TrackedBox, ...]]
    image: tuple[int, int] | None = None


@dataclass(frozen=True)
class VideoFrame:
    """A frame of a sequence; `timestamp` in seconds since the epoch, None when the sequence file has none."""

    name: str
    uri: S3Uri
    timestamp: float | None


@dataclass(frozen=True)
class VideoSequence:
    """A sequence's frames in the order of the worker's page, and its tracks as that shows them at first.

    `attributes`: of the frames themselves, by the name of the frame. `candidates`: boxes that are not shown, for
    objects that a worker draws.
    """

    frames: tuple[VideoFrame, ...]
    shown: Tracks
    attributes: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    candidates: Tracks = Tracks({})


class TrackAttribute(msgspec.Struct, frozen=True, rename="camel"):
    """An attribute that a label's boxes have; the page shows it."""

    name: str
    type: Literal["string", "number"] = "string"
    enum: tuple[str, ...] = ()
    edits_allowed: Literal["any", "none"] = "any"
    description: str = ""
    is_required: bool = False
    minimum: float | None = None
    maximum: float | None = None


class _Label(msgspec.Struct, frozen=True, rename="camel"):
    label: str
    edits_allowed: Literal["any", "none"] = "any"
    category_attributes: tuple[TrackAttribute, ...] = ()


class Instructions(msgspec.Struct, frozen=True, rename="camel"):
    """What workers are told, in HTML."""

    short_instruction: str = ""
    full_instruction: str = ""


class _CategoryFile(msgspec.Struct, frozen=True, rename="camel"):
    document_version: Literal["2020-03-01"]
    labels: tuple[_Label, ...]
    audit_label_attribute_name: str
    annotation_type: Literal["BoundingBox"] = "BoundingBox"
    category_global_attributes: tuple[TrackAttribute, ...] = ()
    frame_attributes: tuple[TrackAttribute, ...] = ()
    instructions: Instructions = Instructions()


@dataclass(frozen=True)
class TrackCategories:
    """The labels of a job of tracks or cuboids in their order, the attributes of each, and the attribute to adjust.

    `frame_attributes`: those of whole frames.
    """

    labels: tuple[str, ...]
    attributes: Mapping[str, tuple[TrackAttribute, ...]]
    frame_attributes: tuple[TrackAttribute, ...]
    audited: str
    instructions: Instructions


class _Frame(msgspec.Struct, frozen=True, rename="kebab"):
    frame_no: int
    frame: str
    unix_timestamp: float | None = None


class _SequenceFile(msgspec.Struct, frozen=True, rename="kebab"):
    seq_no: int
    prefix: str
    number_of_frames: int
    frames: tuple[_Frame, ...]


class _Annotation(msgspec.Struct, frozen=True, rename="kebab"):
    left: float
    top: float
    width: float
    height: float
    class_id: str | int
    object_id: str
    object_name: str
    label_category_attributes: dict[str, str | float] = {}


class _LabelledFrame(msgspec.Struct, frozen=True, rename="kebab"):
    frame: str
    annotations: tuple[_Annotation, ...]
    frame_no: str | int = ""
    frame_attributes: dict[str, str | float] = {}


class _SeqLabel(msgspec.Struct, frozen=True, rename="kebab"):
    tracking_annotations: tuple[_LabelledFrame, ...]


def read_track_categories(text: str, refers: bool = True) -> TrackCategories:
    """Read the label category file of an adjustment of tracks or cuboids; raises BadCategories.

    `refers`: whether the label to adjust is the address of a file, as tracks are.
    """
    try:
        document = msgspec.json.decode(text, type=_CategoryFile)
    except (msgspec.ValidationError, msgspec.DecodeError) as e:
        raise BadCategories(f"The label category file is malformed: {e}") from e
    labels = tuple(label.label for label in document.labels)
    if not 0 < len(labels) <= _LABELS:
        raise BadCategories(f"The label category file has {len(labels)} labels; 1 to {_LABELS} are allowed")
    if len(set(labels)) != len(labels):
        raise BadCategories("The label category file names a label twice")
    shared = document.category_global_attributes
    attributes = {label.label: (*label.category_attributes, *shared) for label in document.labels}
    _check_names("label", labels)
    for label, own in attributes.items():
        _check_attributes(f"label {label!r}", own)
    _check_attributes("frame", document.frame_attributes)
    if document.audit_label_attribute_name.endswith("-ref") != refers:
        raise BadCategories(
            f"auditLabelAttributeName {document.audit_label_attribute_name!r} must {'' if refers else 'not '}end with "
            "'-ref' for this task type"
        )
    return TrackCategories(
        labels, attributes, document.frame_attributes, document.audit_label_attribute_name, document.instructions
    )


def _check_attributes(owner: str, attributes: Sequence[TrackAttribute]) -> None:
    if len(attributes) > _ATTRIBUTES:
        raise BadCategories(f"The {owner} has {len(attributes)} attributes, more than {_ATTRIBUTES}")
    _check_names("attribute", [attribute.name for attribute in attributes])
    for attribute in attributes:
        if len(attribute.enum) > _CHOICES:
            raise BadCategories(f"The attribute {attribute.name!r} has more than {_CHOICES} values")
        _check_names("value", attribute.enum)


def _check_names(kind: str, names: Sequence[str]) -> None:
    for name in names:
        if not 0 < len(name) <= _NAME_CHARACTERS:
            raise BadCategories(f"The {kind} {name!r} does not have 1 to {_NAME_CHARACTERS} characters")


class Sequences:
    """Reads the sequences of a tracking job with the rights of its role."""

    def __init__(self, objects: ObjectStore, categories: TrackCategories) -> None:
        self.categories = categories
        self._classes = {str(number): name for number, name in enumerate(categories.labels)}
        self._objects = objects
        # A sequence is checked, shown and consolidated one after the other.
        self._read = functools.lru_cache(maxsize=2)(self._read_sequence)

    def of(self, line: Mapping[str, Any]) -> VideoSequence:
        """Read the sequence and the tracks of a manifest line; raises BadSequence."""
        audited = self.categories.audited
        try:
            classes = line[f"{audited}-metadata"]["class-map"]
            return self._read(line["source-ref"], line[audited], tuple(sorted(classes.items())), line.get(CANDIDATES))
        except KeyError as e:
            raise BadSequence(f"The line has no {e} of the tracks to adjust") from e
        except (TypeError, AttributeError) as e:
            raise BadSequence(f"The tracks to adjust, {audited!r}, are malformed: {e}") from e

    def label(self, sequence: VideoSequence, tracks: Tracks) -> dict[str, Any]:
        """Make the content of a SeqLabel: the frames that have boxes; raises BadSequence.

        `frame-no` counts from 0, not as in the sequence file.
        """
        if unknown := tracks.frames.keys() - {frame.name for frame in sequence.frames}:
            raise BadSequence(f"The sequence has no frame {min(unknown)!r}")
        named = [(str(n), frame.name) for n, frame in enumerate(sequence.frames)]
        return {
            "tracking-annotations": [
                {
                    "frame-no": number,
                    "frame": name,
                    "frame-attributes": declared(sequence.attributes.get(name, {}), self.categories.frame_attributes),
                    "annotations": self._annotations(name, tracks.frames[name]),
                }
                for number, name in named
                if tracks.frames.get(name)
            ]
        }

    def read_label(self, label: Mapping[str, Any]) -> Tracks:
        """Read the content that `label` made."""
        return _tracks(msgspec.convert(label, _SeqLabel), self._classes)

    def class_map(self, tracks: Tracks) -> dict[str, str]:
        """Return the class ids and names of the labels that the tracks have."""
        used = {box.label for boxes in tracks.frames.values() for box in boxes}
        return {str(number): label for number, label in enumerate(self.categories.labels) if label in used}

    def _annotations(self, frame: str, boxes: Sequence[TrackedBox]) -> list[dict[str, Any]]:
        if len({box.object_id for box in boxes}) < len(boxes):
            raise BadSequence(f"Frame {frame} has two boxes of one object")
        return [
            {
                "class-id": str(self._class_id(box.label)),
                "left": box.left,
                "top": box.top,
                "width": box.width,
                "height": box.height,
                "object-id": box.object_id,
                "object-name": box.object_name,
                "label-category-attributes": declared(box.attributes, self.categories.attributes[box.label]),
            }
            for box in boxes
        ]

    def _class_id(self, label: str) -> int:
        if label not in self.categories.labels:
            raise BadSequence(f"The label {label!r} is not in the label category file")
        return self.categories.labels.index(label)

    def _read_sequence(
        self, place: str, labels: str, classes: tuple[tuple[str, str], ...], hints: str | None
    ) -> VideoSequence:
        frames = _frames(place, self._bytes(place))
        label, shown = self._read_tracks(labels, dict(classes))
        candidates = self._read_tracks(hints, self._classes)[1] if hints else Tracks({})
        attributes = {frame.frame: frame.frame_attributes for frame in label.tracking_annotations}
        sequence = VideoSequence(frames, shown, attributes, candidates)
        try:
            self.label(sequence, shown)
        except BadSequence as e:
            raise BadSequence(f"{labels}: {e}") from e
        return sequence

    def _read_tracks(self, place: str, classes: Mapping[str, str]) -> tuple[_SeqLabel, Tracks]:
        try:
            label = msgspec.json.decode(self._bytes(place), type=_SeqLabel)
            return label, _tracks(label, classes)
        except (msgspec.ValidationError, msgspec.DecodeError) as e:
            raise BadSequence(f"{place} is not a SeqLabel: {e}") from e
        except KeyError as e:
            raise BadSequence(f"{place} has the class-id {e}, which is not in the class-map") from e

    def _bytes(self, place: str) -> bytes:
        try:
            body = self._objects.open(S3Uri.parse(place)).body
            try:
                return body.read()
            finally:
                body.close()
        except (StorageError, ValueError) as e:
            raise BadSequence(f"{place}: {e}") from e


def same_tracks(first: Tracks, second: Tracks) -> bool:
    """Tell whether two answers have the same boxes of the same objects, in any order."""

    def boxes(tracks: Tracks) -> set[tuple[Value, ...]]:
        return {
            (name, box.object_id, box.label, box.left, box.top, box.width, box.height, json.dumps(dict(box.attributes)))
            for name, of_frame in tracks.frames.items()
            for box in of_frame
        }

    return boxes(first) == boxes(second)


def declared(given: Mapping[str, Value], attributes: Sequence[TrackAttribute]) -> dict[str, Value]:
    """Leave out attributes that the label category file does not have."""
    return {one.name: given[one.name] for one in attributes if one.name in given}


def _frames(place: str, content: bytes) -> tuple[VideoFrame, ...]:
    try:
        document = msgspec.json.decode(content, type=_SequenceFile)
    except (msgspec.ValidationError, msgspec.DecodeError) as e:
        raise BadSequence(f"{place} is not a sequence file: {e}") from e
    if not document.prefix.endswith("/"):
        raise BadSequence(f"{place}: the prefix {document.prefix!r} does not end with '/'")
    if document.number_of_frames != len(document.frames):
        raise BadSequence(
            f"{place}: number-of-frames is {document.number_of_frames}, but there are {len(document.frames)} frames"
        )
    if not 0 < len(document.frames) <= _FRAMES:
        raise BadSequence(f"{place} has {len(document.frames)} frames; 1 to {_FRAMES} are allowed")
    if len({frame.frame for frame in document.frames}) < len(document.frames):
        raise BadSequence(f"{place} names a frame twice")
    try:
        # Ground Truth's page orders frames by the bytes of their names.
        return tuple(
            VideoFrame(frame.frame, S3Uri.parse(document.prefix + frame.frame), frame.unix_timestamp)
            for frame in sorted(document.frames, key=lambda frame: frame.frame.encode())
        )
    except ValueError as e:
        raise BadSequence(f"{place}: prefix: {e}") from e


def _tracks(label: _SeqLabel, classes: Mapping[str, str]) -> Tracks:
    return Tracks(
        {
            frame.frame: tuple(
                TrackedBox(
                    classes[str(one.class_id)],
                    round(one.left),
                    round(one.top),
                    round(one.width),
                    round(one.height),
                    one.object_id,
                    one.object_name,
                    one.label_category_attributes,
                )
                for one in frame.annotations
            )
            for frame in label.tracking_annotations
        }
    )
