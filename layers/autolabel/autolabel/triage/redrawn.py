"""Redrawn key boxes: how far two persons agree about them, class by class.

The second person begins without boxes, as the reviewer of a blind frame between key frames does. So the share of key
boxes on which the two agree is the precision that the blind frames would show if interpolation were perfect.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from autolabel.labels.agreement import IGNORE, WELL_PLACED, Pair
from autolabel.triage.intervals import share_interval


class RedrawnBoxes(msgspec.Struct, array_like=True):
    """Counts the key boxes of a class in frames that a second person labelled blind.

    `agreed`: of these boxes, those where that person drew the class with an IoU of WELL_PLACED or more. `frames`: with
    such boxes.
    """

    frames: int = 0
    boxes: int = 0
    agreed: int = 0

    @property
    def share(self) -> float:
        return self.agreed / self.boxes

    @property
    def interval(self) -> tuple[float, float]:
        """The interval of the share at 95 %. A frame counts as one box, since boxes of a frame depend on each other."""
        return share_interval(self.share, self.frames)

    def add(self, other: RedrawnBoxes) -> None:
        self.frames += other.frames
        self.boxes += other.boxes
        self.agreed += other.agreed


class RedrawnTally(msgspec.Struct):
    """Counts redrawn key boxes by class."""

    classes: dict[str, RedrawnBoxes] = {}

    def take(self, pairs: Sequence[Pair]) -> None:
        """Take a frame: the boxes of its label, paired with those that a second person drew."""
        of_frame: dict[str, RedrawnBoxes] = {}
        for first, second, iou in pairs:
            if first is not None and first.name != IGNORE:
                count = of_frame.setdefault(first.name, RedrawnBoxes(frames=1))
                count.boxes += 1
                count.agreed += second is not None and second.name == first.name and iou >= WELL_PLACED
        self.add(of_frame)

    def add(self, classes: dict[str, RedrawnBoxes]) -> None:
        for name, count in classes.items():
            self.classes.setdefault(name, RedrawnBoxes()).add(count)
