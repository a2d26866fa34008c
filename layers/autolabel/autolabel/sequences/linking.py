"""Links the detections of neighbouring frames that show the same object.

Frames pass once, in the order of time. A path follows an object from frame to frame: the next box is looked for where
the last few boxes lead. A path that is long enough is joined to an earlier one that was lost, if each of the two leads
to the other. Memory is bounded by the paths of the last seconds, and by a number for each join.

The limits were chosen on seven sequences of KITTI tracking, with PointRCNN's cars at 10 Hz. `autolabel evaluate tracks`
measures them on others.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

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
# A confirmed path continues one that was lost at most so long before, if both lead to each other at this IoU. A path of
# another class must fit as a box of another class does: within PATIENCE_SECONDS, and at OTHER_CLASS.
REJOIN_SECONDS = 2.05
REJOINED = 0.3


class Sight(NamedTuple):
    """A box that was seen. `time`: seconds; `box`: xyxy, pixels of the frame; `name`: its class."""

    time: float
    box: Box
    name: str = ""


class _Path(msgspec.Struct, array_like=True):
    """A row of `count` boxes. Only the first and the last few are kept. `votes`: the number of boxes by class."""

    number: int
    first: list[Sight] = []
    last: list[Sight] = []
    count: int = 0
    votes: dict[str, int] = {}

    def add(self, sight: Sight) -> None:
        if len(self.first) < POINTS:
            self.first.append(sight)
        self.last = [*self.last[1 - POINTS :], sight]
        self.count += 1
        self.votes[sight.name] = self.votes.get(sight.name, 0) + 1

    @property
    def ended(self) -> float:
        return self.last[-1].time

    def continues(self, earlier: _Path) -> float:
        """Return the least IoU of each path's end with the place where the other leads; 0 if they do not fit."""
        gap = self.first[0].time - earlier.ended
        longest, least = REJOIN_SECONDS, REJOINED
        if self.link.name != earlier.link.name:
            longest, least = PATIENCE_SECONDS, OTHER_CLASS
        if not 0 < gap <= longest or earlier.count < CONFIRMED:
            return 0.0
        onward = box_iou(lead(earlier.last, self.first[0].time), self.first[0].box)
        iou = min(onward, box_iou(lead(self.first[::-1], earlier.ended), earlier.last[-1].box))
        return iou if iou >= least else 0.0

    def join(self, earlier: _Path) -> None:
        """Take over the path that this one continues."""
        self.first = earlier.first
        self.count += earlier.count
        for name, votes in self.votes.items():
            earlier.votes[name] = earlier.votes.get(name, 0) + votes
        self.votes = earlier.votes

    @property
    def link(self) -> Link:
        # Of classes with as many votes, the one that came first.
        name = max(self.votes, key=lambda name: self.votes[name])
        return Link(self.number, self.count, self.first[0].time, name, self.votes[name])


class Link(NamedTuple):
    """The place of a box: the number of its path, and what the path is so far, with the one that it continues.

    `length`: its number of boxes; `began`: the time of its first box; `name`: the class that most boxes have, `votes`
    of them.
    """

    path: int
    length: int
    began: float
    name: str
    votes: int


class Linker(msgspec.Struct):
    """Links the frames of one camera. It can be encoded and decoded between two frames.

    `joins`: numbers of paths, and the earlier path that each continues; it may be cleared between two frames.
    """

    _paths: list[_Path] = []
    _made: int = 0
    _time: float | None = None
    _size: tuple[int, int] | None = None
    joins: dict[int, int] = {}

    @property
    def live(self) -> set[int]:
        """The numbers of the paths that can go on."""
        return {path.number for path in self._paths}

    def step(self, time: float, sights: Sequence[Sight], size: tuple[int, int] | None = None) -> list[Link]:
        """Link the boxes of the next frame; return the place of each.

        `time`: of the frame, in seconds; `size`: its width and height in pixels, if frames of a camera may differ. If
        the time does not advance, or the size changes, no path goes on.
        """
        if (self._time is not None and time <= self._time) or size != self._size:
            self._paths.clear()
        self._time, self._size = time, size
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
                found[at] = _Path(self._made)
                found[at].add(sight)
                self._made += 1
                self._paths.append(found[at])
        self._rejoin([path for path in found.values() if path.count == POINTS and path.number not in self.joins])
        return [found[at].link for at in range(len(sights))]

    def origin(self, number: int) -> int:
        """Return the number of the first path of an object: the one that all joined paths lead back to."""
        while number in self.joins:
            number = self.joins[number]
        return number

    def _pairs(self, time: float, sights: Sequence[Sight]) -> Iterator[tuple[_Path, int]]:
        """Yield paths and boxes that may show one object, those of the same class and of the greatest IoU first."""
        pairs = []
        order = sorted(range(len(sights)), key=lambda at: sights[at].box[0])
        lefts = [sights[at].box[0] for at in order]
        widest = max((box[2] - box[0] for _, box, _ in sights), default=0.0)
        for path in self._paths:
            if time - path.ended > PATIENCE_SECONDS:
                continue
            place, name = lead(path.last, time), path.last[-1].name
            # Only these can overlap. Comparing all boxes of crowded frames takes too long.
            for at in order[bisect_left(lefts, place[0] - widest) : bisect_right(lefts, place[2])]:
                sight = sights[at]
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
                if (iou := path.continues(earlier))
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
