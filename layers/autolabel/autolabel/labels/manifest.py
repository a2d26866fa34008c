"""Ground Truth augmented manifests: one JSON line a frame.

Attribute names and limits are Ground Truth's (sms-input-data-input-manifest, sms-data-output): a line has at most
100,000 characters, an attribute at most 20,000, a box is whole pixels `left, top, width, height`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from autolabel.contracts.errors import Refused
from autolabel.labels.detections import Box, Detection, Detections

PRELABEL = "prelabel"
VERIFIED = "verified"
VERIFIED_SEGMENTS = "verified-ref"
PROVENANCE = "provenance"
# How doubtful the pre-label is, which decides what people see first, and how a person came to the label.
DOUBT = "doubt"
REVIEW = "review"
# Ground Truth's rule: names of attributes that are references end so.
MASKS = "autolabel-masks-ref"
SEGMENTATION = "autolabel-segmentation-ref"
MAX_LINE = 100_000
MAX_ATTRIBUTE = 20_000
BOX_TYPE = "groundtruth/object-detection"
SEGMENTATION_TYPE = "groundtruth/semantic-segmentation"
# What Ground Truth calls the pixels of no class.
BACKGROUND = "BACKGROUND"


class LineTooLong(Refused):
    """A line that Ground Truth would refuse."""


class MaskReferences(NamedTuple):
    """Where a frame's masks are: S3 URIs of the document of its objects and of the picture of its classes.

    `colors`: the picture's `internal-color-map`.
    """

    document: str
    picture: str
    colors: dict[str, Any]


def metadata_of(attribute: str) -> str:
    return f"{attribute}-metadata"


def whole_pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """A box (xyxy, float pixels, inside the frame) as left, top, width, height in whole pixels, at least one by one."""
    left, top = min(round(box[0]), width - 1), min(round(box[1]), height - 1)
    right, bottom = min(max(round(box[2]), left + 1), width), min(max(round(box[3]), top + 1), height)
    return left, top, right - left, bottom - top


def manifest_line(
    *,
    source: str,
    detections: Detections,
    depth: int,
    labels: Sequence[str],
    job: str,
    created: str,
    provenance: dict[str, Any],
    masks: MaskReferences | None = None,
    doubt: dict[str, Any] | None = None,
) -> bytes:
    """A frame's line with its pre-label, and the line feed.

    `source`: the frame's S3 URI. `labels`: the job's labels, whose positions are the class ids. `job`: the name that
    the pre-label's metadata give as their job. `created`: an ISO 8601 time without zone, as Ground Truth writes it.
    `doubt`: of `doubt.as_attribute`.
    Raises LineTooLong, naming the frame and the part that is too long.
    """
    ids = {name: i for i, name in enumerate(labels)}
    origin = {"human-annotated": "no", "creation-date": created, "job-name": job}
    line: dict[str, Any] = {
        "source-ref": source,
        # What people see; another object than the frame once frames are anonymised for review.
        "review-ref": source,
        PRELABEL: {
            "image_size": [{"width": detections.width, "height": detections.height, "depth": depth}],
            "annotations": [_annotation(d, ids[d.name], detections) for d in detections],
        },
        metadata_of(PRELABEL): {
            "objects": [{"confidence": round(d.confidence, 4)} for d in detections],
            "class-map": {str(i): name for name, i in ids.items() if any(d.name == name for d in detections)},
            "type": BOX_TYPE,
            **origin,
        },
        PROVENANCE: provenance,
    }
    if doubt:
        line[DOUBT] = doubt
    if masks:
        line[MASKS] = masks.document
        line[SEGMENTATION] = masks.picture
        line[metadata_of(SEGMENTATION)] = {"internal-color-map": masks.colors, "type": SEGMENTATION_TYPE, **origin}
    return encode_line(line, source)


def encode_line(line: dict[str, Any], name: str) -> bytes:
    """Encode a manifest line and hold it to Ground Truth's limits; LineTooLong names the line."""
    parts = []
    for attribute, value in line.items():
        encoded = msgspec.json.encode(value)
        if (length := len(encoded.decode())) > MAX_ATTRIBUTE:
            raise LineTooLong(
                "line-too-long",
                f"{name}: attribute {attribute!r} takes {length:,} of {MAX_ATTRIBUTE:,} characters",
            )
        parts.append(msgspec.json.encode(attribute) + b":" + encoded)
    body = b"{" + b",".join(parts) + b"}"
    if (length := len(body.decode())) > MAX_LINE:
        raise LineTooLong("line-too-long", f"{name}: the line takes {length:,} of {MAX_LINE:,} characters")
    return body + b"\n"


def _annotation(detection: Detection, class_id: int, frame: Detections) -> dict[str, int]:
    left, top, width, height = whole_pixels(detection.box, frame.width, frame.height)
    return {"class_id": class_id, "left": left, "top": top, "width": width, "height": height}


class BoxAnnotation(msgspec.Struct):
    """A box of a manifest, in whole pixels."""

    class_id: int
    left: float
    top: float
    width: float
    height: float


class ImageSize(msgspec.Struct):
    width: int
    height: int
    depth: int = 3


class BoxLabel(msgspec.Struct):
    """The value of a bounding-box attribute."""

    image_size: list[ImageSize]
    annotations: list[BoxAnnotation]


class BoxObject(msgspec.Struct):
    confidence: float = 0.0


class BoxMetadata(msgspec.Struct, rename={"class_map": "class-map", "failure_reason": "failure-reason"}):
    """The metadata of a bounding-box attribute; `failure_reason` stands where a frame could not be labelled."""

    objects: list[BoxObject] = []
    class_map: dict[str, str] = {}
    failure_reason: str | None = None


class LabelledBox(msgspec.Struct, frozen=True):
    """A box of a manifest with its class's name; left, top, width, height in pixels."""

    name: str
    left: float
    top: float
    width: float
    height: float
    confidence: float


def read_boxes(line: dict[str, Any], attribute: str) -> list[LabelledBox]:
    """The boxes of a manifest line's attribute; msgspec.ValidationError when it has another shape."""
    label = msgspec.convert(line[attribute], BoxLabel)
    metadata = msgspec.convert(line[metadata_of(attribute)], BoxMetadata)
    if len(metadata.objects) != len(label.annotations):
        raise msgspec.ValidationError(
            f"{attribute} has {len(label.annotations)} annotations and {len(metadata.objects)} objects"
        )
    boxes = []
    for annotation, thing in zip(label.annotations, metadata.objects, strict=True):
        name = metadata.class_map.get(str(annotation.class_id))
        if name is None:
            raise msgspec.ValidationError(f"class {annotation.class_id} of {attribute} has no name")
        boxes.append(
            LabelledBox(name, annotation.left, annotation.top, annotation.width, annotation.height, thing.confidence)
        )
    return boxes
