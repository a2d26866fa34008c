"""Reads and writes Ground Truth's augmented manifests: one JSON line for each frame.

Attribute names and limits are Ground Truth's (sms-input-data-input-manifest, sms-data-output): a line has at most
100,000 characters, an attribute at most 20,000; a box has whole pixels `left, top, width, height`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from autolabel.contracts.errors import Refused
from autolabel.contracts.verification import AGAIN
from autolabel.contracts.wording import counted
from autolabel.labels.box_cuboids import AddedCuboid, BoxCuboid, CuboidScene
from autolabel.labels.detections import Box, Detection, Detections
from autolabel.labels.reviews import Review

PRELABEL = "prelabel"
VERIFIED = "verified"
VERIFIED_SEGMENTS = "verified-ref"
# Refers to the tracks that the reviewers of a sequence begin from.
PRELABEL_TRACKS = "prelabel-ref"
# How a person made the label.
REVIEW = "review"
# Ground Truth's rule: the name of an attribute that refers to an object ends with -ref.
MASKS = "autolabel-masks-ref"
SEGMENTATION = "autolabel-segmentation-ref"
MAX_LINE = 100_000
MAX_ATTRIBUTE = 20_000
BOX_TYPE = "groundtruth/object-detection"
TRACKS_TYPE = "groundtruth/video-object-tracking"
SEGMENTATION_TYPE = "groundtruth/semantic-segmentation"
# Ground Truth's name for the pixels without a class.
BACKGROUND = "BACKGROUND"


class LabelledBy(StrEnum):
    """Says who made the label of a line."""

    MODEL = "model"
    PERSON = "person"
    # A person saw the models' boxes, and kept or corrected them.
    MODEL_AND_PERSON = "model and person"
    # A program answered the verification job.
    SCRIPT = "script"
    NOBODY = "nobody"

    @property
    def by_person(self) -> bool:
        return self in (LabelledBy.PERSON, LabelledBy.MODEL_AND_PERSON)


class LineTooLong(Refused):
    """A line is longer than Ground Truth allows."""


class MaskClass(msgspec.Struct, frozen=True, rename="kebab"):
    """The class and colour that an index of a segmentation picture means: a value of its `internal-color-map`.

    `confidence`: the mean of the class's objects with a mask.
    """

    class_name: str
    hex_color: str
    confidence: float


class MaskReferences(NamedTuple):
    """S3 URIs of a frame's masks: the document of its objects, and the picture of its classes.

    `colors`: the picture's classes by index.
    """

    document: str
    picture: str
    colors: dict[str, MaskClass]


def metadata_of(attribute: str) -> str:
    return f"{attribute}-metadata"


def whole_pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Round a box (xyxy, float pixels, in the frame) to left, top, width, height in whole pixels, at least 1 x 1."""
    left, top = min(round(box[0]), width - 1), min(round(box[1]), height - 1)
    right, bottom = min(max(round(box[2]), left + 1), width), min(max(round(box[3]), top + 1), height)
    return left, top, right - left, bottom - top


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

    image_size: Annotated[list[ImageSize], msgspec.Meta(min_length=1)]
    annotations: list[BoxAnnotation]


class BoxObject(msgspec.Struct, rename={"track": "object-id"}):
    """`track`: the id of the box's track, where reviewers verified tracks."""

    confidence: float = 0.0
    track: str = ""


class BoxMetadata(msgspec.Struct, rename={"class_map": "class-map"}):
    """The metadata of a bounding-box attribute."""

    objects: list[BoxObject] = []
    class_map: dict[str, str] = {}


class LabelledBox(msgspec.Struct, frozen=True):
    """A box of a manifest with its class's name; left, top, width, height in pixels.

    `track`: the id of its track, where reviewers verified tracks.
    """

    name: str
    left: float
    top: float
    width: float
    height: float
    confidence: float
    track: str = ""


class Unsure(msgspec.Struct, frozen=True):
    """A reviewer of an earlier round who was unsure of the frame, with the comment."""

    worker: str
    comment: str


class KeptFrom(msgspec.Struct, frozen=True, omit_defaults=True):
    """The earlier run whose label a line keeps, and the `name.revision` of the models whose pre-label it showed.

    `dropped`: the number of the label's boxes that are left out, because the run of the line lacks their classes.
    """

    run: str
    models: tuple[str, ...] = ()
    dropped: int = 0


class Provenance(msgspec.Struct, kw_only=True, omit_defaults=True, rename={"labelled_by": "labelled-by"}):
    """The origin of a line. `models`: the `name.revision` of each; `failures`: why models gave no answer; `source`: the
    name of the frame's source file, if its uploader gave it.

    Once the run is published: `verification` says why the run's job left no label, `job` is the verification job that
    the label comes from, `triage` is the frame kind, `kept` the earlier run that the label comes from, if it is kept.
    """

    drive: str = ""
    run: str = ""
    camera: str = ""
    timestamp: str = ""
    etag: str = ""
    source: str = ""
    models: tuple[str, ...] = ()
    taxonomy: str = ""
    fusion: str = ""
    labelled_by: LabelledBy
    failures: tuple[str, ...] = ()
    verification: str = ""
    job: str = ""
    unsure: Unsure | None = None
    triage: str = ""
    kept: KeptFrom | None = None


class CandidateBox(msgspec.Struct, frozen=True, omit_defaults=True):
    """A box that is not part of the pre-label, in whole pixels of the frame: a candidate below the threshold.

    `new`: the models found it at or over the threshold, and it contradicts the person's label that the frame starts
    from. `disputed`: a box of a reviewer about which others differ; its confidence is the share of the reviewers who
    gave the object this class. `threshold`: the confidence from which it would be in the pre-label; 0 if the line does
    not say. `track`: the id of a disputed object's track.
    """

    label: str
    left: int
    top: int
    width: int
    height: int
    confidence: float
    new: bool = False
    threshold: float = 0.0
    disputed: bool = False
    track: str = ""


class ShownUncertainty(msgspec.Struct, frozen=True, rename={"candidates": "ghosts"}):
    """The uncertainty of a frame's pre-label, as the worker page shows it.

    `level`: of the frame; `boxes`: of its boxes, in their order; `why`: the reasons; `candidates`: those below the
    threshold.
    """

    level: float
    boxes: tuple[float, ...]
    why: tuple[str, ...]
    candidates: tuple[CandidateBox, ...]


class Origin(StrEnum):
    """Says where a box of a label comes from."""

    MODEL = "model"
    # A model found the object before and after, but not in this frame.
    INTERPOLATED = "interpolated"
    # A person verified the track of the models' box, and left the box.
    MODEL_AND_PERSON = "model and person"
    PERSON = "person"
    SCRIPT = "script"


class PrelabelTracks(msgspec.Struct, frozen=True, omit_defaults=True):
    """The tracks of a pre-label's boxes, in their order. `ids`: empty for a box in no track.

    `classes`: the models' own class of each box whose track has another one, empty for the others; no list if all are.
    """

    ids: tuple[str, ...] = ()
    origins: tuple[Origin, ...] = ()
    classes: tuple[str, ...] = ()


class ManifestLine(
    msgspec.Struct,
    omit_defaults=True,
    dict=True,
    rename={
        "source_ref": "source-ref",
        "review_ref": "review-ref",
        "prelabel_metadata": "prelabel-metadata",
        "prelabel_tracks": "prelabel-tracks",
        "uncertainty": "doubt",
        "masks": MASKS,
        "segmentation": SEGMENTATION,
        "segmentation_metadata": f"{SEGMENTATION}-metadata",
        "verified_metadata": "verified-metadata",
        "verified_segments": VERIFIED_SEGMENTS,
        "verified_segments_metadata": f"{VERIFIED_SEGMENTS}-metadata",
        "cuboids_metadata": "cuboids-metadata",
        "added_cuboids": "added-cuboids",
    },
):
    """A frame's line in a manifest or dataset. Labels and their metadata stay as they were written.

    `source_ref`: the S3 URI of the frame; `review_ref`: of the object that people see, absent in old lines. `tracks`:
    for each box of the label, else of the pre-label, the id of its track; empty for a box in no track. `origins`: where
    each of these boxes comes from. `cuboids`: of each of these boxes; `cuboids_metadata`: what they were made from.
    `added_cuboids`: those of objects without a box, that reviewers added. `strip`: in which reviewers get the frame,
    where the policy decides about strips.
    """

    source_ref: str
    review_ref: str = ""
    strip: str = ""
    prelabel: msgspec.Raw | UnsetType = UNSET
    prelabel_metadata: msgspec.Raw | UnsetType = UNSET
    prelabel_tracks: PrelabelTracks | UnsetType = UNSET
    provenance: Provenance | UnsetType = UNSET
    uncertainty: ShownUncertainty | UnsetType = UNSET
    masks: str | UnsetType = UNSET
    segmentation: str | UnsetType = UNSET
    segmentation_metadata: msgspec.Raw | UnsetType = UNSET
    verified: msgspec.Raw | UnsetType = UNSET
    verified_metadata: msgspec.Raw | UnsetType = UNSET
    verified_segments: msgspec.Raw | UnsetType = UNSET
    verified_segments_metadata: msgspec.Raw | UnsetType = UNSET
    review: Review | UnsetType = UNSET
    tracks: tuple[str, ...] | UnsetType = UNSET
    origins: tuple[Origin, ...] | UnsetType = UNSET
    cuboids: tuple[BoxCuboid, ...] | UnsetType = UNSET
    cuboids_metadata: CuboidScene | UnsetType = UNSET
    added_cuboids: tuple[AddedCuboid, ...] | UnsetType = UNSET

    @cached_property
    def size(self) -> ImageSize:
        """Read the frame's size from the pre-label; raises msgspec.ValidationError without one."""
        return _decode(self.prelabel, BoxLabel, PRELABEL).image_size[0]

    @property
    def prelabel_ids(self) -> tuple[str, ...]:
        """Return the ids of the tracks of the pre-label's boxes; empty if they were not linked."""
        return self.prelabel_tracks.ids if self.prelabel_tracks is not UNSET else ()

    @cached_property
    def prelabel_boxes(self) -> list[LabelledBox]:
        """Read the pre-label's boxes; raises msgspec.ValidationError if it has another shape."""
        return decode_boxes(self.prelabel, self.prelabel_metadata, PRELABEL)

    @cached_property
    def verified_boxes(self) -> list[LabelledBox]:
        """Read the verified label's boxes; raises msgspec.ValidationError if it has another shape."""
        return decode_boxes(self.verified, self.verified_metadata, VERIFIED)

    @property
    def label_boxes(self) -> list[LabelledBox]:
        """Return the boxes of the label, else those of the pre-label; raises msgspec.ValidationError without both."""
        return self.prelabel_boxes if self.verified is UNSET else self.verified_boxes

    @property
    def shown_ref(self) -> str:
        """Return the S3 URI of the object that people see: the frame, or its view."""
        return self.review_ref or self.source_ref

    @property
    def origin(self) -> Provenance:
        """Return the provenance; raises msgspec.ValidationError without one."""
        if self.provenance is UNSET:
            raise msgspec.ValidationError(f"{self.source_ref} has no provenance")
        return self.provenance

    @property
    def verified_by_person(self) -> bool:
        """Check whether the line has boxes that a person verified."""
        return self.verified is not UNSET and self.origin.labelled_by.by_person

    @property
    def judges_prelabel(self) -> bool:
        """Check whether a person verified the boxes in the line's own run, beginning from its pre-label or from none.

        A kept label, and one that began from an earlier label, say nothing about the line's models.
        """
        return self.verified_by_person and self.origin.kept is None and self.origin.triage != AGAIN

    @property
    def labelled_by_script(self) -> bool:
        """Check whether a script made the label; False without a provenance."""
        return self.provenance is not UNSET and self.provenance.labelled_by == LabelledBy.SCRIPT


_line = msgspec.json.Decoder(ManifestLine)


def read_line(body: bytes) -> ManifestLine:
    """Read a line of a manifest or dataset; raises msgspec.DecodeError for any other text."""
    return _line.decode(body)


def raw(value: Any) -> msgspec.Raw:
    """Encode a value as a part of a line."""
    return msgspec.Raw(msgspec.json.encode(value))


def with_values(part: msgspec.Raw | UnsetType, values: dict[str, object]) -> msgspec.Raw:
    """Replace keys of a part whose other keys are Ground Truth's and stay as they are."""
    return raw(msgspec.json.decode(part or b"null") | values)


def prelabelled_line(
    *,
    source: str,
    view: str = "",
    detections: Detections,
    depth: int,
    labels: Sequence[str],
    job: str,
    created: str,
    provenance: Provenance,
    masks: MaskReferences | None = None,
    uncertainty: ShownUncertainty | None = None,
) -> ManifestLine:
    """Make a frame's line with its pre-label.

    `source`: the frame's S3 URI; `view`: its view's, if people see that. `labels`: the job's labels, whose positions
    are the class ids. `job`: the job name in the pre-label's metadata. `created`: an ISO 8601 time without zone, as
    Ground Truth writes it.
    """
    ids = {name: i for i, name in enumerate(labels)}
    origin = {"human-annotated": "no", "creation-date": created, "job-name": job}
    line = ManifestLine(
        source_ref=source,
        review_ref=view or source,
        prelabel=raw(
            {
                "image_size": [{"width": detections.width, "height": detections.height, "depth": depth}],
                "annotations": [_annotation(d, ids[d.name], detections) for d in detections],
            }
        ),
        prelabel_metadata=raw(
            {
                "objects": [{"confidence": round(d.confidence, 4)} for d in detections],
                "class-map": {str(i): name for name, i in ids.items() if any(d.name == name for d in detections)},
                "type": BOX_TYPE,
                **origin,
            }
        ),
        provenance=provenance,
    )
    if uncertainty:
        line.uncertainty = uncertainty
    if masks:
        line.masks = masks.document
        line.segmentation = masks.picture
        line.segmentation_metadata = raw({"internal-color-map": masks.colors, "type": SEGMENTATION_TYPE, **origin})
    return line


def encode_line(line: ManifestLine) -> bytes:
    """Encode a line with its line feed and check Ground Truth's limits.

    Raises LineTooLong, which names the frame and the part that is too long.
    """
    body = msgspec.json.encode(line)
    if len(body) <= MAX_ATTRIBUTE:  # No attribute is longer than its line.
        return body + b"\n"
    for attribute, name in zip(line.__struct_fields__, line.__struct_encode_fields__, strict=True):
        value = getattr(line, attribute)
        if value is not UNSET and (length := len(msgspec.json.encode(value).decode())) > MAX_ATTRIBUTE:
            raise LineTooLong(
                "line-too-long",
                f"{line.source_ref}: attribute {name!r} takes {length:,} of {MAX_ATTRIBUTE:,} characters",
            )
    if (length := len(body.decode())) > MAX_LINE:
        raise LineTooLong("line-too-long", f"{line.source_ref}: the line takes {length:,} of {MAX_LINE:,} characters")
    return body + b"\n"


def _annotation(detection: Detection, class_id: int, frame: Detections) -> dict[str, int]:
    left, top, width, height = whole_pixels(detection.box, frame.width, frame.height)
    return {"class_id": class_id, "left": left, "top": top, "width": width, "height": height}


def decode_boxes(
    label: msgspec.Raw | UnsetType, metadata: msgspec.Raw | UnsetType, attribute: str
) -> list[LabelledBox]:
    """Read the boxes of a line's attribute; raises msgspec.ValidationError, which names it, if it has another shape."""
    name = metadata_of(attribute)
    return join_boxes(_decode(label, BoxLabel, attribute), _decode(metadata, BoxMetadata, name), attribute)


def join_boxes(label: BoxLabel, metadata: BoxMetadata, attribute: str) -> list[LabelledBox]:
    """Join a label's boxes with the class names of its metadata; raises msgspec.ValidationError if the two differ."""
    if len(metadata.objects) != len(label.annotations):
        raise msgspec.ValidationError(
            f"{attribute} has {counted(len(label.annotations), 'annotation')} and "
            f"{counted(len(metadata.objects), 'object')}"
        )
    boxes = []
    for annotation, thing in zip(label.annotations, metadata.objects, strict=True):
        name = metadata.class_map.get(str(annotation.class_id))
        if name is None:
            raise msgspec.ValidationError(f"class {annotation.class_id} of {attribute} has no name")
        boxes.append(
            LabelledBox(
                name,
                annotation.left,
                annotation.top,
                annotation.width,
                annotation.height,
                thing.confidence,
                thing.track,
            )
        )
    return boxes


_Shape = TypeVar("_Shape")


def _decode(value: msgspec.Raw | UnsetType, shape: type[_Shape], attribute: str) -> _Shape:
    if value is UNSET:
        raise msgspec.ValidationError(f"the line has no {attribute}")
    try:
        return msgspec.json.decode(value, type=shape)
    except msgspec.ValidationError as e:
        raise msgspec.ValidationError(f"{attribute}: {e}") from e
