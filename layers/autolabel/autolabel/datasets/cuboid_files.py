"""The cuboids of a part's frames: their file, and how they join the lines of the dataset."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import repeat

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.ports import Bucket
from autolabel.datasets.parts import Part
from autolabel.labels.box_cuboids import DELETED, AddedCuboid, BoxCuboid, CuboidOrigin, CuboidScene, Row
from autolabel.labels.manifest import ManifestLine
from autolabel.verification.cuboid_labels import LeftCuboid, SceneMetadata, read_left, sent_cuboids
from autolabel.verification.settlement import Result

CUBOIDS = "cuboids.jsonl"


class ReviewScene(msgspec.Struct, frozen=True):
    """What reviewers get of a frame beside its cuboids. `cloud`: the S3 URI of the points; `classes`: of the boxes."""

    cloud: str
    metadata: SceneMetadata
    classes: tuple[str, ...]


class LiftedFrame(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of a part's cuboids.jsonl. `tracks`: of the boxes; `pose`: of the vehicle in a frame that stands still.

    `review`: of a frame whose cuboids reviewers get.
    """

    source: str
    cuboids: tuple[BoxCuboid, ...]
    scene: CuboidScene
    tracks: tuple[str, ...] = ()
    pose: tuple[Row, Row, Row] | None = None
    review: ReviewScene | None = None


def read_cuboids(run: Run, part: Part, label_bucket: Bucket) -> Iterator[LiftedFrame | None]:
    """Read the cuboids of a part's frames, in the drive's order; None for each frame of a part that was not lifted."""
    try:
        lines = label_bucket.lines(run.folder.part(part.id, CUBOIDS))
    except KeyError:
        # The execution began with a definition that did not lift yet.
        return repeat(None, part.frames)
    return map(msgspec.json.Decoder(LiftedFrame).decode, lines)


def add_cuboids(
    line: ManifestLine, lifted: LiftedFrame | None, verified: Mapping[str, Result], labels: Sequence[str]
) -> None:
    """Put the cuboids of a frame into its line. Raises CountMismatch if they are of another frame or label.

    `verified`: what reviewers left, by the S3 URI of the points; `labels`: the job's classes, in the order of the ids.
    """
    if lifted is None:
        lifted = LiftedFrame(line.source_ref, (BoxCuboid(why="not lifted"),) * len(line.label_boxes), CuboidScene())
    if lifted.source != line.source_ref or len(lifted.cuboids) != len(line.label_boxes):
        raise CountMismatch(
            f"{line.source_ref} has {len(line.label_boxes)} boxes, and {len(lifted.cuboids)} cuboids of {lifted.source}"
        )
    line.cuboids, line.cuboids_metadata = lifted.cuboids, lifted.scene
    result = verified.get(lifted.review.cloud) if lifted.review else None
    if result and result.failure:
        line.cuboids_metadata = msgspec.structs.replace(lifted.scene, verification=result.failure)
    elif result and lifted.review:
        sent = sent_cuboids(lifted.review.classes, lifted.cuboids, labels)
        left = read_left(result.label, result.metadata, sent)
        line.cuboids = _corrected(lifted, {box for box, _ in sent}, left, result.by_script)
        person: CuboidOrigin = "script" if result.by_script else "person"
        added = (one for one in left if one.box is None)
        if new := tuple(AddedCuboid(one.name, one.center, one.size, one.yaw, person) for one in added):
            line.added_cuboids = new
        line.cuboids_metadata = msgspec.structs.replace(lifted.scene, job=result.job)


def _corrected(
    lifted: LiftedFrame, sent: Collection[int], left: Iterable[LeftCuboid], by_script: bool
) -> tuple[BoxCuboid, ...]:
    """Return the cuboids of the boxes as a reviewer left them. `sent`: the indexes of the boxes that were shown."""
    of_box = {one.box: one for one in left}
    person: CuboidOrigin = "script" if by_script else "person"
    kept: CuboidOrigin = "script" if by_script else "model and person"
    found = list[BoxCuboid]()
    for at, before in enumerate(lifted.cuboids):
        one = of_box.get(at)
        if at not in sent:
            found.append(before)
        elif one is None:
            found.append(BoxCuboid(why=DELETED, origin=person))
        elif not one.touched:
            found.append(msgspec.structs.replace(before, origin=kept))
        else:
            other = one.name if lifted.review and one.name != lifted.review.classes[at] else ""
            found.append(BoxCuboid(one.center, one.size, one.yaw, None, before.points, origin=person, label=other))
    return tuple(found)
