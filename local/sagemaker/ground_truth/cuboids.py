"""Frames of points and the cuboids in them: lines of the manifest, and the labels of object detection.

Shapes: developer guide, "Create a point cloud frame input manifest file", "Accepted raw 3D data formats", "Output data"
(3D point cloud object detection output). Limits: the first page, and "3D point cloud labeling jobs overview".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec

from local.sagemaker.ground_truth.sequences import BadSequence, TrackCategories, Value, declared
from local.sagemaker.names import S3Uri
from local.sagemaker.ports import ObjectStore, StorageError

_IMAGES = 8
# Above this, the guide says, a frame may not be rendered.
_POINTS = 1_000_000
_FLOAT = 4
_FORMATS = {"xyz": 3, "xyzi": 4, "xyzrgb": 6, "xyzirgb": 7}
_ENDINGS = {".bin": "binary/xyzi", ".txt": "text/xyzi"}

Point = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


class BadScene(BadSequence):
    """A frame of points or its pre-label cannot be shown, or an answer does not fit it; the message says why."""


@dataclass(frozen=True)
class Cuboid:
    """A cuboid in the coordinates of the points: its middle, and length, width and height in metres.

    Angles are in radians; `yaw` is counter-clockwise from above, 0 along x.
    """

    label: str
    center: Point
    size: Point
    yaw: float
    object_name: str
    roll: float = 0.0
    pitch: float = 0.0
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Cuboids:
    """The answer to a task of cuboids: all of them as the worker leaves them."""

    cuboids: tuple[Cuboid, ...]


@dataclass(frozen=True)
class SceneImage:
    """A picture beside the points, and its camera, x to the right, y down, z ahead, in the points' coordinates.

    `focal`, `middle`: in pixels, by x and y. `distortion`: k1, k2, k3, k4, p1, p2. `heading`: a quaternion x, y, z, w.
    """

    uri: S3Uri
    time: float
    focal: tuple[float, float]
    middle: tuple[float, float]
    skew: float
    distortion: tuple[float, float, float, float, float, float]
    model: str
    position: Point
    heading: Quaternion


@dataclass(frozen=True)
class Scene:
    """A task: a frame of points as its page shows it. `format`: as in `binary/xyzi`; `points`: None for a text file."""

    cloud: S3Uri
    format: str
    points: int | None
    time: float
    images: tuple[SceneImage, ...]
    shown: Cuboids


class _Position(msgspec.Struct):
    x: float
    y: float
    z: float


class _Heading(msgspec.Struct):
    qx: float
    qy: float
    qz: float
    qw: float


class _Pose(msgspec.Struct):
    position: _Position
    heading: _Heading


class _Image(msgspec.Struct, rename="kebab"):
    image_path: Annotated[str, msgspec.Meta(min_length=1)]
    unix_timestamp: float
    fx: float
    fy: float
    cx: float
    cy: float
    position: _Position
    heading: _Heading
    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    skew: float = 0.0
    camera_model: Literal["pinhole", "fisheye"] = "pinhole"


class _Metadata(msgspec.Struct, rename="kebab"):
    unix_timestamp: float
    format: str = ""
    ego_vehicle_pose: _Pose | None = None
    prefix: str = ""
    images: tuple[_Image, ...] = ()


class _Annotation(msgspec.Struct, rename="kebab"):
    object_name: str
    class_id: int | str
    center_x: float
    center_y: float
    center_z: float
    length: float
    width: float
    height: float
    yaw: float
    roll: float = 0.0
    pitch: float = 0.0
    label_category_attributes: dict[str, str | float] = {}


class _Label(msgspec.Struct):
    annotations: tuple[_Annotation, ...]


class _LabelMetadata(msgspec.Struct, rename="kebab"):
    class_map: dict[str, str]


class Scenes:
    """Reads the frames of points of a job with the rights of its role."""

    def __init__(self, objects: ObjectStore, categories: TrackCategories) -> None:
        self.categories = categories
        self._objects = objects

    def of(self, line: Mapping[str, Any]) -> Scene:
        """Read the scene of a manifest line and the cuboids to adjust; raises BadScene."""
        place = line["source-ref"]
        audited = self.categories.audited
        try:
            metadata = msgspec.convert(line["source-ref-metadata"], _Metadata)
            label = msgspec.convert(line[audited], _Label)
            classes = msgspec.convert(line[f"{audited}-metadata"], _LabelMetadata).class_map
            shown = Cuboids(tuple(_cuboid(one, classes) for one in label.annotations))
        except KeyError as e:
            raise BadScene(f"{place}: {e} is missing in the line, or in the class-map of the cuboids to adjust") from e
        except msgspec.ValidationError as e:
            raise BadScene(f"{place}: {e}") from e
        # A page shows no cuboid that it could not send.
        self.label(shown)
        form, points = self._points(place, metadata.format)
        if len(metadata.images) > _IMAGES:
            raise BadScene(f"{place} has {len(metadata.images)} images, more than {_IMAGES}")
        if metadata.images and not metadata.prefix.endswith("/"):
            raise BadScene(f"{place}: the prefix {metadata.prefix!r} does not end with '/'")
        if metadata.ego_vehicle_pose:
            _check_heading(place, metadata.ego_vehicle_pose.heading)
        images = tuple(_image(place, metadata.prefix, image) for image in metadata.images)
        return Scene(S3Uri.parse(place), form, points, metadata.unix_timestamp, images, shown)

    def label(self, left: Cuboids) -> dict[str, Any]:
        """Make the value of the label attribute; raises BadScene."""
        names = [one.object_name for one in left.cuboids]
        if len(set(names)) < len(names):
            raise BadScene(f"Two cuboids have the name {max(names, key=names.count)!r}")
        return {"annotations": [self._annotation(one) for one in left.cuboids]}

    def class_map(self, left: Cuboids) -> dict[str, str]:
        """Return the class ids and names of the labels that the cuboids have."""
        used = {one.label for one in left.cuboids}
        return {str(number): label for number, label in enumerate(self.categories.labels) if label in used}

    def _annotation(self, one: Cuboid) -> dict[str, Any]:
        if one.label not in self.categories.labels:
            raise BadScene(f"The label {one.label!r} is not in the label category file")
        if not all(side > 0 for side in one.size):
            raise BadScene(f"The cuboid {one.object_name} has a side that is not positive: {one.size}")
        x, y, z = one.center
        length, width, height = one.size
        return {
            "label-category-attributes": declared(one.attributes, self.categories.attributes[one.label]),
            "object-name": one.object_name,
            "class-id": self.categories.labels.index(one.label),
            **{"center-x": x, "center-y": y, "center-z": z},
            **{"length": length, "width": width, "height": height},
            **{"roll": one.roll, "pitch": one.pitch, "yaw": one.yaw},
        }

    def _points(self, place: str, form: str) -> tuple[str, int | None]:
        """Check a frame's file; return its format and the number of its points, which only a binary file tells."""
        form = form or _ENDINGS.get(place[-4:].lower(), "")
        kind, _, layout = form.partition("/")
        if kind not in ("binary", "text") or layout not in _FORMATS:
            raise BadScene(f"{place}: the format {form!r} is none of binary/ or text/ with {', '.join(_FORMATS)}")
        try:
            opened = self._objects.open(S3Uri.parse(place))
            opened.body.close()
        except (StorageError, ValueError) as e:
            raise BadScene(f"{place}: {e}") from e
        if kind == "text":
            return form, None
        record = _FLOAT * _FORMATS[layout]
        if opened.length % record or not opened.length:
            raise BadScene(f"{place} has {opened.length} bytes, which are not points of {record} bytes ({form})")
        if opened.length // record > _POINTS:
            raise BadScene(f"{place} has {opened.length // record:,} points; above {_POINTS:,} a page may not show it")
        return form, opened.length // record


def same_cuboids(first: Cuboids, second: Cuboids) -> bool:
    """Tell whether two answers have the same cuboids, in any order."""

    def listed(answer: Cuboids) -> Sequence[str]:
        return sorted(repr((one, sorted(one.attributes.items()))) for one in answer.cuboids)

    return listed(first) == listed(second)


def _cuboid(one: _Annotation, classes: Mapping[str, str]) -> Cuboid:
    return Cuboid(
        classes[str(one.class_id)],
        (one.center_x, one.center_y, one.center_z),
        (one.length, one.width, one.height),
        one.yaw,
        one.object_name,
        one.roll,
        one.pitch,
        one.label_category_attributes,
    )


def _image(place: str, prefix: str, image: _Image) -> SceneImage:
    _check_heading(place, image.heading)
    if image.fx <= 0 or image.fy <= 0:
        raise BadScene(f"{place}: the focal length of {image.image_path} is not positive")
    position, heading = image.position, image.heading
    try:
        uri = S3Uri.parse(prefix + image.image_path)
    except ValueError as e:
        raise BadScene(f"{place}: {e}") from e
    return SceneImage(
        uri,
        image.unix_timestamp,
        (image.fx, image.fy),
        (image.cx, image.cy),
        image.skew,
        (image.k1, image.k2, image.k3, image.k4, image.p1, image.p2),
        image.camera_model,
        (position.x, position.y, position.z),
        (heading.qx, heading.qy, heading.qz, heading.qw),
    )


def _check_heading(place: str, heading: _Heading) -> None:
    length = math.hypot(heading.qx, heading.qy, heading.qz, heading.qw)
    if abs(length - 1) > 0.01:
        raise BadScene(f"{place}: a heading has the length {length:.3f}, and a quaternion of a rotation has 1")
