"""Links the detections of neighbouring frames that show the same object.

Frames pass once, in the order of time. A path follows an object from frame to frame: the next box is looked for where
the last few boxes lead. A path that is long enough is joined to an earlier one that was lost, if each of the two leads
to the other. Memory is bounded by the paths of the last seconds, and by a number for each join.

The limits were chosen on seven sequences of KITTI tracking, with PointRCNN's cars at 10 Hz. `autolabel evaluate tracks`
measures them on others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from autolabel.labels.detections import Box, box_iou

# The least IoU of a box with the place where a path leads: of the path's class, and of another class. A rider and the
# bicycle overlap, so the path of a class takes its own first, and another class only in the same place.
SAME_OBJECT = 0.2
OTHER_CLASS = 0.5
# A path without a box for longer is lost.
PATIENCE_SECONDS = 0.45
# Boxes that lead a path on. Fewer shake, more lag behind a car that brakes.
POINTS = 4
# From this many boxes on, a path is confirmed: at scores above 0.9, shorter ones held six wrong boxes for each right
# one.
CONFIRMED = 3
# A confirmed path continues one that was lost at most so long before, if both lead to each other at this IoU.
REJOIN_SECONDS = 2.05
REJOINED = 0.3


class Sight(NamedTuple):
    """A box that was seen. `time`: seconds; `box`: xyxy, pixels of the frame; `name`: its class."""

    time: float
    box: Box
    name: str = ""


class _Path:
    """A row of boxes. Only the first and the last few are kept."""

    def __init__(self, number: int, sight: Sight) -> None:
        self.number = number
        self.first = [sight]
        self.last = [sight]
        self.count = 1

    def add(self, sight: Sight) -> None:
        if len(self.first) < POINTS:
            self.first.append(sight)
        self.last = [*self.last[1 - POINTS :], sight]
        self.count += 1

    @property
    def ended(self) -> float:
        return self.last[-1].time

    def continues(self, earlier: _Path) -> float:
        """Return the least IoU of each path's end with the place where the other leads; 0 if they do not fit."""
        gap = self.first[0].time - earlier.ended
        if not 0 < gap <= REJOIN_SECONDS or earlier.count < CONFIRMED:
            return 0.0
        onward = box_iou(lead(earlier.last, self.first[0].time), self.first[0].box)
        return min(onward, box_iou(lead(self.first[::-1], earlier.ended), earlier.last[-1].box))

    def join(self, earlier: _Path) -> None:
        """Take over the path that this one continues."""
        self.first = earlier.first
        self.count += earlier.count


class Linker:
    """Links the frames of one camera. `joins`: numbers of paths, and the earlier path that each continues."""

    def __init__(self) -> None:
        self._paths: list[_Path] = []
        self._made = 0
        self._time = float("-inf")
        self.joins: dict[int, int] = {}

    def step(self, time: float, sights: Sequence[Sight]) -> list[int]:
        """Link the boxes of the next frame, and return the number of each one's path.

        `time`: of the frame, in seconds. If it does not advance, no path goes on.
        """
        if time <= self._time:
            self._paths.clear()
        self._time = time
        self._paths = [path for path in self._paths if time - path.ended <= REJOIN_SECONDS]
        found = dict[int, _Path]()
        followed = set[int]()
        for path, at in self._pairs(time, sights):
            if path.number not in followed and at not in found:
                followed.add(path.number)
                path.add(sights[at])
                found[at] = path
        for at, sight in enumerate(sights):
            if at not in found:
                found[at] = _Path(self._made, sight)
                self._made += 1
                self._paths.append(found[at])
        self._rejoin([path for path in found.values() if path.count == POINTS and path.number not in self.joins])
        return [found[at].number for at in range(len(sights))]

    def origin(self, number: int) -> int:
        """Return the number of the first path of an object: the one that all joined paths lead back to."""
        while number in self.joins:
            number = self.joins[number]
        return number

    def _pairs(self, time: float, sights: Sequence[Sight]) -> Iterator[tuple[_Path, int]]:
        """Yield paths and boxes that may show one object, those of the same class and of the greatest IoU first."""
        pairs = []
        for path in self._paths:
            if time - path.ended > PATIENCE_SECONDS:
                continue
            place, name = lead(path.last, time), path.last[-1].name
            for at, sight in enumerate(sights):
                other = sight.name != name
                iou = box_iou(place, sight.box)
                if iou >= (OTHER_CLASS if other else SAME_OBJECT):
                    pairs.append((other, -iou, path.number, at, path))
        for *_, at, path in sorted(pairs, key=lambda pair: pair[:4]):
            yield path, at

    def _rejoin(self, confirmed: Sequence[_Path]) -> None:
        links = sorted(
            (
                (-iou, path.number, earlier.number, path, earlier)
                for path in confirmed
                for earlier in self._paths
                if (iou := path.continues(earlier)) >= REJOINED
            ),
            key=lambda link: link[:3],
        )
        for *_, path, earlier in links:
            if path.number not in self.joins and earlier in self._paths:
                self.joins[path.number] = earlier.number
                path.join(earlier)
                self._paths.remove(earlier)


def lead(sights: Sequence[Sight], time: float) -> Box:
    """Return the box at a time to which straight lines through the sides of some boxes lead, xyxy.

    `sights`: one or more, the box nearest to the time last. A box that would turn inside out is the last one instead.
    """
    if len(sights) == 1:
        return sights[-1].box
    mean = sum(sight.time for sight in sights) / len(sights)
    spread = sum((sight.time - mean) ** 2 for sight in sights)
    left, top, right, bottom = (
        sum(side) / len(sights)
        + (time - mean) * sum((s.time - mean) * at for s, at in zip(sights, side, strict=True)) / spread
        for side in zip(*(sight.box for sight in sights), strict=True)
    )
    return (left, top, right, bottom) if left < right and top < bottom else sights[-1].box
