"""The cuboids of a part's frames: their file, and how they join the lines of the dataset."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.ports import Bucket
from autolabel.datasets.parts import Part
from autolabel.labels.box_cuboids import BoxCuboid, CuboidScene, Row
from autolabel.labels.manifest import ManifestLine

CUBOIDS = "cuboids.jsonl"


class LiftedFrame(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of a part's cuboids.jsonl. `tracks`: of the boxes; `pose`: of the vehicle in a frame that stands still."""

    source: str
    cuboids: tuple[BoxCuboid, ...]
    scene: CuboidScene
    tracks: tuple[str, ...] = ()
    pose: tuple[Row, Row, Row] | None = None


def read_cuboids(run: Run, part: Part, label_bucket: Bucket) -> Iterator[LiftedFrame | None]:
    """Read the cuboids of a part's frames, in the drive's order; None for each frame of a part that was not lifted."""
    try:
        lines = label_bucket.lines(run.folder.part(part.id, CUBOIDS))
    except KeyError:
        # The execution began with a definition that did not lift yet.
        return repeat(None, part.frames)
    return map(msgspec.json.Decoder(LiftedFrame).decode, lines)


def add_cuboids(line: ManifestLine, lifted: LiftedFrame | None) -> None:
    """Put the cuboids of a frame into its line. Raises CountMismatch if they are of another frame or label."""
    if lifted is None:
        lifted = LiftedFrame(line.source_ref, (BoxCuboid(why="not lifted"),) * len(line.label_boxes), CuboidScene())
    if lifted.source != line.source_ref or len(lifted.cuboids) != len(line.label_boxes):
        raise CountMismatch(
            f"{line.source_ref} has {len(line.label_boxes)} boxes, and {len(lifted.cuboids)} cuboids of {lifted.source}"
        )
    line.cuboids, line.cuboids_metadata = lifted.cuboids, lifted.scene
