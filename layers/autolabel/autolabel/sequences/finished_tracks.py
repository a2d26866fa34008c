"""Finishes the tracks of some frames in a row: which boxes they fill in, smooth, and make uncertain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from autolabel.labels.agreement import WELL_PLACED
from autolabel.labels.detections import Box, box_iou, repair_box
from autolabel.sequences.linked_lines import (
    END,
    END_LEVEL,
    FILLED,
    FILLED_LEVEL,
    JUMP,
    NAME,
    NAME_LEVEL,
    UNCONFIRMED,
    UNCONFIRMED_LEVEL,
    TrackedBox,
)
from autolabel.sequences.linking import CONFIRMED, PATIENCE_SECONDS, Linker, Sight
from autolabel.sequences.tracks import FILLED_SECONDS, TrackBox, between, finish, is_steady

# A side this near to the edge of the frame, as a share of its size, is at the edge.
_EDGE = 0.01


class PathBox(NamedTuple):
    """The place of a box. `path`: the id of its path; `length`, `began`, `votes`: of the path so far, as in Link.

    `leader`: the class of most of its boxes so far. `box`: xyxy, pixels; `name`: its own class.
    """

    path: str
    length: int
    began: float
    leader: str
    votes: int
    box: Box
    name: str


class PathFrame(msgspec.Struct, array_like=True):
    """The places of a frame's boxes. `time`: in seconds; `width`, `height`: in pixels."""

    time: float
    width: int
    height: int
    places: list[PathBox]


class TrackFacts(msgspec.Struct, frozen=True, array_like=True):
    """What the last box of a track tells. `id`: of its first path; `others`: the share of its boxes of other classes.

    `last`: the time of its last box.
    """

    id: str
    confirmed: bool
    steady: bool
    name: str
    others: float
    last: float


def facts_of_last(id: str, place: PathBox, time: float) -> TrackFacts:
    """Return what the last box of a track, at a time in seconds, tells of the track. `id`: of its first path."""
    return TrackFacts(
        id,
        place.length >= CONFIRMED,
        is_steady(place.began, time),
        place.leader,
        1 - place.votes / place.length,
        time,
    )


class FinishedFrame(NamedTuple):
    """The boxes of a frame as their tracks have them: those that were seen, in their order, and those filled in."""

    seen: list[TrackedBox]
    filled: list[TrackedBox]


def finish_frames(
    frames: Sequence[PathFrame], own: range, facts_of: Mapping[str, TrackFacts], first_of: Mapping[str, str]
) -> list[FinishedFrame]:
    """Finish the boxes of some frames of a camera.

    `own`: the indexes of these frames; the others are those at most CONTEXT_SECONDS before and after. `facts_of`: of
    each track with a box in or around them, by its id; `first_of`: the id of each path's track.
    """
    rows = dict[str, list[tuple[int, int]]]()
    for index, frame in enumerate(frames):
        for number, place in enumerate(frame.places):
            if (track := first_of[place.path]) in facts_of:
                rows.setdefault(track, []).append((index, number))
    window = _Window(frames)
    finished = [FinishedFrame([_untracked(place) for place in frames[index].places], []) for index in own]
    for track, row in rows.items():
        for index, at, box in window.finish(row, facts_of[track]):
            if index not in own:
                continue
            if at is None:
                finished[index - own.start].filled.append(box)
            else:
                finished[index - own.start].seen[at] = box
    for done in finished:
        # The order of the tracks depends on the frames around.
        done.filled.sort(key=lambda box: box.id)
    return finished


def link_and_finish(frames: Iterable[tuple[float, Sequence[Sight]]], width: int, height: int) -> list[FinishedFrame]:
    """Link the frames of one camera, given by time in seconds, and finish their boxes, as a run does it.

    `width`, `height`: of the frames, in pixels. All frames are held in memory.
    """
    linker, paths = Linker(), list[PathFrame]()
    for time, sights in frames:
        places = [
            PathBox(str(link.path), link.length, link.began, link.name, link.votes, sight.box, sight.name)
            for link, sight in zip(linker.step(time, sights), sights, strict=True)
        ]
        paths.append(PathFrame(time, width, height, places))
    first_of = {place.path: str(linker.origin(int(place.path))) for frame in paths for place in frame.places}
    last = {first_of[place.path]: (place, frame.time) for frame in paths for place in frame.places}
    facts = {first: facts_of_last(first, place, time) for first, (place, time) in last.items()}
    return finish_frames(paths, range(len(paths)), facts, first_of)


def _untracked(place: PathBox) -> TrackedBox:
    return TrackedBox("", place.name, place.box)


class _Window:
    """Some frames of a camera in a row."""

    def __init__(self, frames: Sequence[PathFrame]) -> None:
        self._frames = frames
        self._times = [frame.time for frame in frames]

    def finish(self, row: Sequence[tuple[int, int]], facts: TrackFacts) -> Iterator[tuple[int, int | None, TrackedBox]]:
        """Yield the boxes of a track: the index of the frame, the place in it (None for a filled box), and the box.

        `row`: the index of the frame and the place in it of each box that was seen, in the order of time.
        """
        boxes = [TrackBox(index, self._frames[index].places[at].box) for index, at in row]
        if not facts.confirmed:
            levels = {UNCONFIRMED: UNCONFIRMED_LEVEL} if self._has_ends(boxes) else {}
            for index, at in row:
                yield index, at, _untracked(self._frames[index].places[at])._replace(levels=levels)
            return
        places = dict(row)
        jumps = self._jumps(boxes)
        for box in finish(boxes, self._times, facts.steady):
            frame = self._frames[box.frame]
            clipped = repair_box(box.box, frame.width, frame.height)
            if box.frame in places:
                place = frame.places[places[box.frame]]
                levels = self._levels(box.frame, place, facts) | jumps.get(box.frame, {})
                tracked = TrackedBox(facts.id, facts.name, clipped or place.box, levels)
                yield box.frame, places[box.frame], tracked
            elif clipped:
                yield box.frame, None, TrackedBox(facts.id, facts.name, clipped, {FILLED: FILLED_LEVEL})

    def _levels(self, index: int, place: PathBox, facts: TrackFacts) -> dict[str, float]:
        levels = {NAME: max(facts.others, NAME_LEVEL if place.name != facts.name else 0.0)}
        begins = place.path == facts.id and place.length == 1 and self._goes_on(index, -1)
        ends = self._times[index] == facts.last and self._goes_on(index, 1)
        if (begins or ends) and self._is_inside(index, place):
            levels[END] = END_LEVEL
        return levels

    def _jumps(self, boxes: Sequence[TrackBox]) -> dict[int, dict[str, float]]:
        jumps = dict[int, dict[str, float]]()
        for before, box, after in zip(boxes, boxes[1:], boxes[2:], strict=False):
            if self._times[after.frame] - self._times[before.frame] <= FILLED_SECONDS:
                iou = box_iou(box.box, between(before, after, box.frame, self._times).box)
                if iou < WELL_PLACED:
                    jumps[box.frame] = {JUMP: 1.0 - iou}
        return jumps

    def _has_ends(self, boxes: Sequence[TrackBox]) -> bool:
        """Check whether a track began and ended while the camera recorded: it could have become longer."""
        return self._goes_on(boxes[0].frame, -1) and self._goes_on(boxes[-1].frame, 1)

    def _goes_on(self, index: int, step: int) -> bool:
        """Check whether the camera recorded without a pause, and in the same size, before (-1) or after (1) a frame."""
        other = index + step
        if not 0 <= other < len(self._times) or abs(self._times[other] - self._times[index]) > PATIENCE_SECONDS:
            return False
        there, here = self._frames[other], self._frames[index]
        return (there.width, there.height) == (here.width, here.height)

    def _is_inside(self, index: int, place: PathBox) -> bool:
        frame, (left, top, right, bottom) = self._frames[index], place.box
        across, down = _EDGE * frame.width, _EDGE * frame.height
        return left > across and top > down and right < frame.width - across and bottom < frame.height - down
