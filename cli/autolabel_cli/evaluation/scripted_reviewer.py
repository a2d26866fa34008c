"""A scripted reviewer of one strip: how long reviewing its tracks takes, and which boxes are left.

The reviewer goes through the stops in the order of time and knows the truth at these frames only. They correct what
they notice: a box (it becomes a key frame, and its offset to the model's box follows the track), a missing box, a box
of no object, a class, and which boxes are one object.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from autolabel.labels import Box, box_iou
from autolabel_cli.evaluation.tracks import CAR, ON_OBJECT, ScoredFrame, TruthObject, is_false

# A box with at least this IoU is meant for the object, so it is corrected rather than deleted and drawn anew.
_MEANT_FOR = 0.3
# Boxes of objects that count are corrected below this IoU. It is a little more than the scores ask for, because boxes
# around a stop are worse than the one that is seen there.
TOLERANCE = 0.75
DRAW, CORRECT, DELETE, END, RENAME, SPLIT, MERGE = "draw", "correct", "delete", "end", "rename", "split", "merge"
# Seconds of an edit. The last three are not measured: they are commands for a whole track, as delete and rename are.
PRICES = {DRAW: 7.0, CORRECT: 7.0, DELETE: 2.0, RENAME: 2.0, END: 2.0, SPLIT: 2.0, MERGE: 2.0}


class Lane(msgspec.Struct, eq=False):
    """The boxes of a track by frame, as the reviewer sees them. `levels`: the uncertainty of boxes, if there is any.

    `confirmed`: False for a box of an object in fewer than three frames. `object`: the number of the labelled object
    that the reviewer takes the track for, once they have seen it.
    """

    number: int
    name: str
    boxes: dict[int, Box]
    levels: dict[int, float] = {}
    confirmed: bool = True
    object: int | None = None


class Habits(NamedTuple):
    """How the reviewer works. `chance`: to notice an error at a stop; `seed`: of that chance.

    `straight`: straight lines join the boxes of two stops, in the place of the model's boxes.
    """

    chance: float
    seed: int = 1
    straight: bool = False


class Reviewed(NamedTuple):
    """What a review left. `edits`: their numbers by kind, one of PRICES."""

    lanes: list[Lane]
    edits: Counter[str]


def uncertain_stops(lanes: Iterable[Lane], regular: Iterable[int], level: float) -> list[int]:
    """Add stops to the regular ones: the first frame of each uncertain place that has no stop.

    A place is a row of frames in which a track's boxes have at least this uncertainty, from 0 to 1.
    """
    places = list[tuple[int, int]]()
    for lane in lanes:
        frames = sorted(frame for frame, of in lane.levels.items() if of >= level)
        starts = [frame for frame, before in zip(frames, [None, *frames], strict=False) if before != frame - 1]
        ends = [frame for frame, after in zip(frames, [*frames[1:], None], strict=False) if after != frame + 1]
        places += zip(starts, ends, strict=True)
    stops = set(regular)
    for first, last in sorted(places):
        if not any(frame in stops for frame in range(first, last + 1)):
            stops.add(first)
    return sorted(stops)


def review(lanes: Sequence[Lane], truth: Mapping[int, ScoredFrame], habits: Habits) -> Reviewed:
    """Review the tracks of a strip. `truth`: the labelled objects of the frames of the stops, and of no others."""
    desk = _Desk([msgspec.structs.replace(lane, boxes=dict(lane.boxes)) for lane in lanes], habits)
    for stop in sorted(truth):
        desk.stop(stop, truth[stop])
    if habits.straight:
        desk.straighten(sorted(truth))
    return Reviewed(desk.lanes, desk.edits)


class _Desk:
    def __init__(self, lanes: list[Lane], habits: Habits) -> None:
        self.lanes, self._habits = lanes, habits
        self.edits = Counter[str]()
        self._made = max((lane.number for lane in lanes), default=-1) + 1
        self._lane_of = dict[int, Lane]()
        # Of each passed stop, the objects that were there to be boxed.
        self._present = dict[int, set[int]]()

    def stop(self, frame: int, truth: ScoredFrame) -> None:
        """Look at a frame, and correct what is noticed."""
        objects = truth.objects
        shown = [lane for lane in self.lanes if frame in lane.boxes]
        pairs = _pair(shown, objects, frame)
        before = max(self._present, default=-1)
        self._present[frame] = {each.track for each in objects if each.counts}
        for at, lane in enumerate(shown):
            if at in pairs:
                self._check(lane, objects[pairs[at]], frame, before)
            elif is_false(lane.boxes[frame], truth.regions) and self._notices("false", lane.number, frame):
                self._remove(lane, frame)
        found = set(pairs.values())
        for number, each in enumerate(objects):
            if number not in found and each.counts and self._notices("missing", each.track, frame):
                self._draw(each, frame)

    def straighten(self, stops: Sequence[int]) -> None:
        """Replace the boxes between two stops in a row by straight lines."""
        for lane in self.lanes:
            for first, last in pairwise(stops):
                if first in lane.boxes and last in lane.boxes:
                    lane.boxes |= {at: box for at, box in _line(lane, first, last) if at in lane.boxes}

    def _check(self, lane: Lane, each: TruthObject, frame: int, before: int) -> None:
        if lane.object is None:
            lane.object = each.track
            self._lane_of.setdefault(each.track, lane)
        same = lane.object == each.track and self._lane_of.get(each.track, lane) is lane
        if not same and each.counts and self._notices("object", each.track, frame):
            lane = self._identify(lane, each.track, frame)
        if each.counts and self._notices("class", each.track, frame):
            self._rename(lane)
        # What does not count is still an object: its box only has to be on it.
        least = TOLERANCE if each.counts else ON_OBJECT
        if box_iou(lane.boxes[frame], each.box) < least and self._notices("place", each.track, frame):
            self._correct(lane, each.box, frame, before)

    def _identify(self, lane: Lane, track: int, frame: int) -> Lane:
        """Split a lane off from where it is on another object, and merge it with the object's lane."""
        if lane.object != track:
            rest = {at: lane.boxes.pop(at) for at in list(lane.boxes) if at >= frame}
            lane = Lane(self._made, lane.name, rest, object=track)
            self.lanes.append(lane)
            self._made += 1
            self.edits[SPLIT] += 1
        known = self._lane_of.setdefault(track, lane)
        if known is lane or frame in known.boxes:
            return lane
        self.edits[MERGE] += 1
        self.lanes.remove(lane)
        first = min(lane.boxes)
        known.boxes = {**lane.boxes, **known.boxes}
        self._fill(known, track, max((at for at in known.boxes if at < first), default=first), first)
        return known

    def _correct(self, lane: Lane, box: Box, frame: int, before: int) -> None:
        """Make a key frame. Frames up to the stop before stay; between the two, the offset grows linearly."""
        offset = _offset(lane.boxes[frame], box)
        for at, own in lane.boxes.items():
            if at > before:
                grows = before in lane.boxes and at < frame
                lane.boxes[at] = _moved(own, offset, (at - before) / (frame - before) if grows else 1.0)
        lane.boxes[frame] = box
        self.edits[CORRECT] += 1

    def _draw(self, each: TruthObject, frame: int) -> None:
        lane = self._lane_of.get(each.track)
        if lane is None or frame in lane.boxes:
            lane = Lane(self._made, CAR, {}, object=each.track)
            self.lanes.append(lane)
            self._lane_of[each.track] = lane
            self._made += 1
        earlier = max((at for at in lane.boxes if at < frame), default=frame)
        later = min((at for at in lane.boxes if at > frame), default=frame)
        lane.boxes[frame] = each.box
        self._fill(lane, each.track, earlier, frame)
        self._fill(lane, each.track, frame, later)
        self._rename(lane)
        self.edits[DRAW] += 1

    def _rename(self, lane: Lane) -> None:
        if lane.name != CAR:
            lane.name = CAR
            self.edits[RENAME] += 1

    def _remove(self, lane: Lane, frame: int) -> None:
        """End a track that was on an object before; delete another one whole."""
        if lane.object is None:
            self.lanes.remove(lane)
        else:
            lane.boxes = {at: box for at, box in lane.boxes.items() if at < frame}
        self.edits[DELETE if lane.object is None else END] += 1

    def _fill(self, lane: Lane, track: int, first: int, last: int) -> None:
        """Interpolate between two boxes, unless the object was gone or hidden at a stop between them."""
        if any(first < stop < last and track not in there for stop, there in self._present.items()):
            return
        lane.boxes |= dict(_line(lane, first, last))

    def _notices(self, kind: str, number: int, frame: int) -> bool:
        """Tell by lot, so that a reviewer with a greater chance notices the same errors and more."""
        lot = random.Random(f"{self._habits.seed} {kind} {number} {frame}").random()  # noqa: S311 (not for secrets)
        return lot < self._habits.chance


def _pair(shown: Sequence[Lane], objects: Sequence[TruthObject], frame: int) -> dict[int, int]:
    """Pair lanes with the objects that their boxes are meant for: known objects first, then the best IoU."""
    ious = (
        (lane.object != each.track, -box_iou(lane.boxes[frame], each.box), at, number)
        for at, lane in enumerate(shown)
        for number, each in enumerate(objects)
    )
    pairs = dict[int, int]()
    for _, minus_iou, at, number in sorted(ious):
        if minus_iou <= -_MEANT_FOR and at not in pairs and number not in pairs.values():
            pairs[at] = number
    return pairs


def _line(lane: Lane, first: int, last: int) -> Iterator[tuple[int, Box]]:
    """Yield the boxes between two boxes of a lane, on straight lines through their sides."""
    for at in range(first + 1, last):
        share = (at - first) / (last - first)
        left, top, right, bottom = (
            a + (b - a) * share for a, b in zip(lane.boxes[first], lane.boxes[last], strict=True)
        )
        yield at, (left, top, right, bottom)


def _offset(box: Box, right: Box) -> Box:
    """Return how far the sides of a box are off, as shares of its width and height."""
    width, height = box[2] - box[0], box[3] - box[1]
    left, top, far, bottom = (b - a for a, b in zip(box, right, strict=True))
    return left / width, top / height, far / width, bottom / height


def _moved(box: Box, offset: Box, share: float) -> Box:
    width, height = (box[2] - box[0]) * share, (box[3] - box[1]) * share
    left, top, right, bottom = (
        at + by * size for at, by, size in zip(box, offset, (width, height, width, height), strict=True)
    )
    return (left, top, right, bottom) if left < right and top < bottom else box
