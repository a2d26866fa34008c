"""Cuboids in Ground Truth's 3D point cloud jobs: what reviewers get, and what they leave.

A job is the adjustment of object detection, with a frame of points in each line of its manifest. Shapes and limits:
developer guide, sms-point-cloud-single-frame-input-data and sms-data-output. Coordinates are those of the points: the
vehicle's frame when the picture was taken, x ahead, y to the left, z up, in metres.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from autolabel.contracts.errors import VerificationRefused
from autolabel.contracts.ports import Bucket
from autolabel.labels.box_cuboids import BoxCuboid, Place
from autolabel.labels.manifest import MAX_ATTRIBUTE, ManifestLine, metadata_of, raw
from autolabel.verification.rules import unknown_class

# The cuboids that reviewers begin from, and those that they leave. The guide forbids names that end with -ref here.
PRELABEL_CUBOIDS = "prelabel-cuboids"
VERIFIED_CUBOIDS = "verified-cuboids"
CUBOIDS_TYPE = "groundtruth/point_cloud_object_detection"
# Ground Truth's advice for a frame; from a million on, a page may not show it.
MAX_POINTS = 500_000
MAX_IMAGES = 8
# Metres and radians. What comes back nearer than this to what was sent is untouched: a page may count in float32.
_SAME = 0.002
# Farther than this from an axis, in radians, a yaw differs from π minus it, also after half a turn.
_APART = 3 * _SAME
# Cuboids of a frame by which the yaw is checked. All of 25,000 crowded frames would take a gigabyte.
_CHECKED = 20
# A cuboid whose object has another name, since its class was changed, is looked for in this distance, in metres.
_NEAR = 2.0
# Metres. Points are nearer, and no object is larger.
_FARTHEST, _LARGEST = 1_000.0, 100.0
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

CuboidYaw = Literal["right-handed", "clockwise"]
"""How Ground Truth writes a yaw: as it was sent, counter-clockwise from above; or as π minus it (sms-data-output)."""
RIGHT_HANDED: CuboidYaw = "right-handed"
CLOCKWISE: CuboidYaw = "clockwise"


class CuboidAnnotation(msgspec.Struct, frozen=True, rename="kebab"):
    """A cuboid of a label. `object_name`: as in `car:1`. Angles are in radians; yaw is 0 along x and π/2 along y."""

    object_name: str
    class_id: int | Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,4}\Z")]
    center_x: float
    center_y: float
    center_z: float
    length: float
    width: float
    height: float
    yaw: float
    roll: float = 0.0
    pitch: float = 0.0

    @property
    def center(self) -> Place:
        return self.center_x, self.center_y, self.center_z

    @property
    def size(self) -> Place:
        return self.length, self.width, self.height


class CuboidLabel(msgspec.Struct, frozen=True):
    """The value of a label attribute of a frame of points."""

    annotations: tuple[CuboidAnnotation, ...]


class Position(msgspec.Struct, frozen=True):
    """Metres."""

    x: float
    y: float
    z: float


class Heading(msgspec.Struct, frozen=True):
    """A quaternion of length 1."""

    qx: float
    qy: float
    qz: float
    qw: float


class SceneImage(msgspec.Struct, frozen=True, rename={"path": "image-path", "time": "unix-timestamp"}):
    """A picture beside the points. `path`: below the line's prefix; `time`: seconds; lengths in pixels.

    `position`, `heading`: of the camera, x to the right, y down, z ahead, in the coordinates of the points.
    """

    path: str
    time: float
    fx: float
    fy: float
    cx: float
    cy: float
    position: Position
    heading: Heading
    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    skew: float = 0.0


class SceneMetadata(msgspec.Struct, frozen=True, rename={"time": "unix-timestamp"}):
    """What Ground Truth must know of a frame of points. `prefix`: of the pictures' paths."""

    time: float
    prefix: str
    images: tuple[SceneImage, ...] = ()
    format: str = "binary/xyzi"


class LabelMetadata(msgspec.Struct, frozen=True, rename="kebab"):
    """How the cuboids that reviewers begin from were made. `class_map`: the names of the class ids that they have."""

    class_map: dict[str, str]
    creation_date: str
    job_name: str
    type: str = CUBOIDS_TYPE
    human_annotated: str = "no"


class SceneLine(
    msgspec.Struct,
    frozen=True,
    rename={
        "cloud": "source-ref",
        "scene": metadata_of("source-ref"),
        "shown": PRELABEL_CUBOIDS,
        "made": metadata_of(PRELABEL_CUBOIDS),
    },
):
    """A line of a job's manifest. `cloud`: the S3 URI of the points; `shown`: the cuboids that reviewers begin from."""

    cloud: str
    scene: SceneMetadata
    shown: CuboidLabel
    made: LabelMetadata


class LeftCuboid(NamedTuple):
    """A cuboid that a reviewer left. `name`: of its class; `box`: the index of the box that it was sent for.

    `touched`: whether the reviewer changed it; one without a box was added.
    """

    name: str
    center: Place
    size: Place
    yaw: float
    box: int | None
    touched: bool


class _ClassMap(msgspec.Struct, rename={"dashed": "class-map", "plain": "class_map"}):
    """The guide writes the key in both ways."""

    dashed: dict[str, str] = {}
    plain: dict[str, str] = {}

    @property
    def names(self) -> dict[str, str]:
        return self.dashed or self.plain


class _Output(msgspec.Struct, rename={"cloud": "source-ref"}):
    cloud: str


def sent_cuboids(
    names: Sequence[str], cuboids: Sequence[BoxCuboid], classes: Sequence[str]
) -> list[tuple[int, CuboidAnnotation]]:
    """Return the cuboids of a frame that reviewers get, with the index of the box of each.

    `names`: of the boxes' classes; `classes`: in the order of the class ids. A repeated call names the objects the
    same. Cuboids beyond the limit of an attribute (20,000 characters) are left out.
    """
    counts, sent, room = Counter[str](), list[tuple[int, CuboidAnnotation]](), MAX_ATTRIBUTE - 100
    for at, (name, one) in enumerate(zip(names, cuboids, strict=True)):
        if one.center is None or one.size is None or one.yaw is None or name not in classes:
            continue
        counts[name] += 1
        made = CuboidAnnotation(f"{name}:{counts[name]}", classes.index(name), *one.center, *one.size, one.yaw)
        # Ground Truth counts characters, and a comma comes between two cuboids.
        room -= len(msgspec.json.encode(made).decode()) + 1
        if room < 0:
            break
        sent.append((at, made))
    return sent


def read_left(
    label: msgspec.Raw, metadata: msgspec.Raw, sent: Sequence[tuple[int, CuboidAnnotation]]
) -> list[LeftCuboid]:
    """Read what a reviewer left of a frame, in any order. `sent`: what the frame was sent with.

    A cuboid belongs to the sent one of its object's name, of several to the first; else to the nearest one within two
    metres that has none, because another class gives an object another name. Raises msgspec.ValidationError for another
    shape.
    """
    left = msgspec.json.decode(label, type=CuboidLabel).annotations
    names = msgspec.json.decode(metadata, type=_ClassMap).names
    free = {one.object_name: (box, one) for box, one in sent}
    found: list[tuple[int, CuboidAnnotation] | None] = [free.pop(one.object_name, None) for one in left]
    pairs = sorted(
        (math.dist(one.center, given.center), at, name)
        for at, one in enumerate(left)
        if found[at] is None
        for name, (_, given) in free.items()
    )
    for distance, at, name in pairs:
        if distance <= _NEAR and found[at] is None and name in free:
            found[at] = free.pop(name)
    return [
        LeftCuboid(
            names.get(str(one.class_id), ""),
            one.center,
            one.size,
            _wrapped(one.yaw),
            of[0] if of else None,
            not (of and _is_untouched(one, of[1])),
        )
        for one, of in zip(left, found, strict=True)
    ]


def broken_cuboid_rule(line: ManifestLine, label: Any, metadata: Any, *, names: frozenset[str]) -> str:
    """Say which rule a back-end's cuboids break; empty if they break none.

    Raises msgspec.ValidationError for another shape.
    """
    classes = msgspec.convert(metadata, _ClassMap).names
    for number, one in enumerate(msgspec.convert(label, CuboidLabel).annotations, 1):
        name = classes.get(str(one.class_id))
        if name is None:
            return f"cuboid {number} has the class {one.class_id}, which is not in the class map"
        if name not in names:
            return unknown_class(name)
        if not all(0 < side <= _LARGEST for side in one.size):
            return f"cuboid {number} ({name}) has sides of {', '.join(f'{side:g}' for side in one.size)} metres"
        if not math.hypot(*one.center) <= _FARTHEST:
            return f"cuboid {number} ({name}) is more than {_FARTHEST:g} metres away"
        if not abs(one.yaw) <= _FARTHEST:
            return f"cuboid {number} ({name}) has a yaw of {one.yaw:g} radians"
    return ""


def expand_cuboids(
    job: str, output: str, frames: Iterable[bytes], label_bucket: Bucket, yaw: CuboidYaw
) -> Iterator[bytes]:
    """Yield the lines of a job's output manifest with right-handed yaws.

    `output`: its key; `frames`: the lines of the job's manifest. Raises VerificationRefused, which names the job, if
    cuboids that reviewers left untouched show that Ground Truth writes a yaw in the other way. A job whose cuboids were
    all changed, or stand along the axes, shows nothing.
    """
    decoder = msgspec.json.Decoder(SceneLine)
    sent = {line.cloud: tuple(islice(_telling(line.shown), _CHECKED)) for line in map(decoder.decode, frames)}
    as_set, mirrored = 0, 0
    for body in label_bucket.lines(output):
        found = _read_output(body)
        for mine, theirs in _untouched(sent.get(found[0], ()), found[1]) if found else ():
            as_set += _same_turn(_right_handed(theirs, yaw), mine)
            mirrored += _same_turn(_right_handed(theirs, yaw), math.pi - mine)
    if mirrored > as_set:
        other = CLOCKWISE if yaw == RIGHT_HANDED else RIGHT_HANDED
        raise VerificationRefused(
            "cuboid-yaw",
            f"job {job}: {mirrored:,} cuboids whose place and size reviewers left as they were came back with π minus "
            f"their yaw, {as_set:,} with their yaw: set the stack's parameter CuboidYaw to {other} and redrive",
        )
    for body in label_bucket.lines(output):
        yield _turned(body) if yaw != RIGHT_HANDED else body


def _telling(label: CuboidLabel) -> Iterator[CuboidAnnotation]:
    """Yield the cuboids that can tell how a yaw is written.

    At 0 and π, π minus a yaw is the yaw after half a turn, as a reviewer may turn a cuboid; at π/2 it is the yaw.
    """
    return (one for one in label.annotations if abs(math.remainder(one.yaw, math.pi / 2)) > _APART)


def _untouched(sent: Iterable[CuboidAnnotation], left: Iterable[CuboidAnnotation]) -> Iterator[tuple[float, float]]:
    """Yield the yaws, as sent and as left, of the cuboids that are in the place they were sent with."""
    by_name = {one.object_name: one for one in left}
    for one in sent:
        back = by_name.get(one.object_name)
        if back and _same_place(one, back):
            yield one.yaw, back.yaw


def _read_output(body: bytes) -> tuple[str, tuple[CuboidAnnotation, ...]] | None:
    try:
        line = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        label = msgspec.json.decode(line[VERIFIED_CUBOIDS], type=CuboidLabel)
        return msgspec.json.decode(body, type=_Output).cloud, label.annotations
    except (*_BROKEN, KeyError):
        # Settling says what is wrong with it.
        return None


def _turned(body: bytes) -> bytes:
    """Write the yaws of an output line right-handed."""
    found = _read_output(body)
    if found is None:
        return body
    made = [msgspec.structs.replace(one, yaw=_wrapped(math.pi - one.yaw)) for one in found[1]]
    line = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({**line, VERIFIED_CUBOIDS: raw(CuboidLabel(tuple(made)))})


def _right_handed(yaw: float, written: CuboidYaw) -> float:
    return yaw if written == RIGHT_HANDED else math.pi - yaw


def _wrapped(yaw: float) -> float:
    return math.remainder(yaw, math.tau)


def _same_turn(one: float, other: float) -> bool:
    return abs(math.remainder(one - other, math.tau)) <= _SAME


def _is_untouched(one: CuboidAnnotation, sent: CuboidAnnotation) -> bool:
    # The guide writes class ids as numbers here, and as text for other jobs.
    same_class = int(one.class_id) == int(sent.class_id)
    return same_class and _same_place(one, sent) and _same_turn(one.yaw, sent.yaw)


def _same_place(one: CuboidAnnotation, other: CuboidAnnotation) -> bool:
    pairs = zip((*one.center, *one.size), (*other.center, *other.size), strict=True)
    return all(abs(a - b) <= _SAME for a, b in pairs)


def cuboid_categories(labels: Sequence[str]) -> bytes:
    """Encode the label category file of a job of cuboids. The order of the labels gives the class ids."""
    told = (
        "Look at the points and the picture. Correct the place, the size, the heading and the class of what is wrong, "
        "delete a cuboid of no object, and draw an object that has none. What is right stays as it is."
    )
    return msgspec.json.encode(
        {
            "documentVersion": "2020-03-01",
            "labels": [{"label": name} for name in labels],
            "auditLabelAttributeName": PRELABEL_CUBOIDS,
            # At most 255 characters.
            "instructions": {"shortInstruction": told[:250], "fullInstruction": f"<p>{told}</p>"},
        }
    )


def as_line(
    cloud: str,
    scene: SceneMetadata,
    sent: Sequence[tuple[int, CuboidAnnotation]],
    classes: Sequence[str],
    made: Mapping[str, str],
) -> SceneLine:
    """Make a frame's line of a job's manifest. `made`: when and by which job the cuboids were made."""
    ids = {str(one.class_id): classes[int(one.class_id)] for _, one in sent}
    label = CuboidLabel(tuple(one for _, one in sent))
    return SceneLine(cloud, scene, label, LabelMetadata(ids, made["creation-date"], made["job-name"]))
