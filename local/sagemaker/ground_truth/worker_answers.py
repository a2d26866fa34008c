"""Convert between a worker's answer, in the shape of the crowd elements, and an annotation.

Shapes: developer guide, output of crowd-bounding-box, crowd-semantic-segmentation and crowd-image-classifier.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from local.sagemaker.ground_truth.annotators import Annotation, Box, Boxes, Failure, JobView, Segments, Verdict
from local.sagemaker.ground_truth.sequences import TrackedBox, Tracks, VideoSequence


class BadAnswer(Exception):
    """The content does not answer the task; the message says why."""


# Ground Truth takes images of up to 100 megapixels (developer guide, input data quotas).
Side = Annotated[int, msgspec.Meta(ge=1, le=100_000_000)]


class ImageProperties(msgspec.Struct, frozen=True):
    """The size of the image that the browser showed, in pixels."""

    width: Side
    height: Side


class BoundingBox(msgspec.Struct, frozen=True):
    label: str
    left: int
    top: int
    width: int
    height: int


class BoundingBoxes(msgspec.Struct, frozen=True, rename="camel"):
    bounding_boxes: tuple[BoundingBox, ...]
    input_image_properties: ImageProperties


class _Adjustment(msgspec.Struct, frozen=True, rename="camel"):
    bounding_box: BoundingBoxes
    review: str = ""


class _Picture(msgspec.Struct, frozen=True, rename="camel"):
    """The portal's answer about segments: it has no brush, so they stay as shown."""

    input_image_properties: ImageProperties


class _Segmentation(msgspec.Struct, frozen=True, rename={"segments": "crowd-semantic-segmentation"}):
    """`failure`: why the frame cannot be labelled; only the portal sends it."""

    segments: _Picture
    failure: str = ""


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """A track's box in a frame, by the frame's position in the sequence."""

    frame: int
    left: int
    top: int
    width: int
    height: int
    attributes: dict[str, str | float] = {}


class _Track(msgspec.Struct, frozen=True):
    id: str
    name: str
    label: str
    boxes: tuple[_Place, ...]


class _Tracking(msgspec.Struct, frozen=True, rename="camel"):
    tracks: tuple[_Track, ...]
    input_image_properties: ImageProperties


class _Choice(msgspec.Struct, frozen=True):
    label: str


class _Verification(msgspec.Struct, frozen=True, rename={"choice": "crowd-image-classifier"}):
    choice: _Choice


def read_answer(content: Any, job: JobView) -> Annotation | Failure:
    """Read an answer's content as an annotation, its boxes inside the image; raises BadAnswer."""
    try:
        if job.kind == "segmentation":
            painted = msgspec.convert(content, _Segmentation)
            size = painted.segments.input_image_properties
            return Failure(painted.failure) if painted.failure else Segments(image=(size.width, size.height))
        if job.kind == "adjustment":
            given = msgspec.convert(content, _Adjustment).bounding_box
        else:
            return Verdict(_known(msgspec.convert(content, _Verification).choice.label, job.labels))
    except msgspec.ValidationError as e:
        raise BadAnswer(str(e)) from e
    size = given.input_image_properties
    boxes = tuple(_box(number, box, size, job.labels) for number, box in enumerate(given.bounding_boxes))
    return Boxes(boxes, (size.width, size.height))


def read_tracks(content: Any, job: JobView, sequence: VideoSequence) -> Tracks:
    """Read the answer of the portal's sequence page, its boxes inside the image; raises BadAnswer."""
    try:
        given = msgspec.convert(content, _Tracking)
    except msgspec.ValidationError as e:
        raise BadAnswer(str(e)) from e
    size = given.input_image_properties
    frames: dict[str, tuple[TrackedBox, ...]] = {}
    for track in given.tracks:
        label = _known(track.label, job.labels)
        for place in track.boxes:
            if not 0 <= place.frame < len(sequence.frames):
                raise BadAnswer(f"track {track.name} has a box in frame {place.frame}, which does not exist")
            _check_inside(f"box of {track.name} in frame {place.frame}", place, size)
            sides = (place.left, place.top, place.width, place.height)
            name = sequence.frames[place.frame].name
            box = TrackedBox(label, *sides, track.id, track.name, place.attributes)
            frames[name] = (*frames.get(name, ()), box)
    return Tracks(frames, (size.width, size.height))


def tracks_content(tracks: Tracks, sequence: VideoSequence) -> list[dict[str, Any]]:
    """Make what the portal's sequence page reads and sends of tracks."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for number, frame in enumerate(sequence.frames):
        for box in tracks.frames.get(frame.name, ()):
            track = found.setdefault(
                (box.object_id, box.label),
                {"id": box.object_id, "name": box.object_name, "label": box.label, "boxes": []},
            )
            attributes = [dict(box.attributes)] if box.attributes else []
            track["boxes"].append([number, box.left, box.top, box.width, box.height, *attributes])
    return list(found.values())


def answer_content(annotation: Boxes | Segments | Verdict) -> dict[str, Any]:
    """Make the content that a browser sends for an annotation."""
    if isinstance(annotation, Verdict):
        return {"crowd-image-classifier": {"label": annotation.label}}
    if isinstance(annotation, Segments):
        return {"crowd-semantic-segmentation": _painted(annotation)}
    boxes = tuple(BoundingBox(b.label, b.left, b.top, b.width, b.height) for b in annotation.boxes)
    content: dict[str, Any] = msgspec.to_builtins(
        {"boundingBox": BoundingBoxes(boxes, ImageProperties(*(annotation.image or (0, 0))))}
    )
    return content


def sender_of(answer: Mapping[str, Any]) -> str:
    """Return the worker of an answer as Ground Truth records it."""
    sender: str = answer["workerMetadata"]["identityData"]["sub"]
    return sender


def is_unsure(answer: Mapping[str, Any]) -> bool:
    """Tell whether the template's notes on an answer say that the worker is unsure."""
    try:
        return bool(json.loads(answer["answerContent"]["review"])["unsure"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return False


def _painted(annotation: Segments) -> dict[str, Any]:
    return {
        "initialValueModified": annotation.adjusted,
        "inputImageProperties": msgspec.to_builtins(ImageProperties(*(annotation.image or (0, 0)))),
        "labelMappings": {label: {"color": color} for label, color in annotation.colors.items()},
        "labeledImage": {"pngImageData": base64.b64encode(annotation.picture or b"").decode()},
    }


def _known(label: str, labels: Sequence[str]) -> str:
    if label not in labels:
        raise BadAnswer(f"the job has no label {label!r}")
    return label


def _box(number: int, box: BoundingBox, size: ImageProperties, labels: Sequence[str]) -> Box:
    _check_inside(f"box {number}", box, size)
    return Box(_known(box.label, labels), box.left, box.top, box.width, box.height)


def _check_inside(name: str, box: BoundingBox | _Place, size: ImageProperties) -> None:
    right, bottom = box.left + box.width, box.top + box.height
    inside = box.left >= 0 and box.top >= 0 and right <= size.width and bottom <= size.height
    if not inside or box.width < 1 or box.height < 1:
        raise BadAnswer(f"{name} ({box.left}, {box.top}, {box.width} x {box.height}) is not inside the image")
