"""Finds label issues by time: verified boxes that do not go with those of their object in neighbouring frames.

The boxes of the final labels are linked anew, so a box that a person drew is followed like all others. A frame is
judged once the frames after it are known; memory is bounded by the frames of such a window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from statistics import median_high
from typing import Generic, NamedTuple, TypeVar

from autolabel.labels.agreement import IGNORE, corners, share_in
from autolabel.labels.detections import Box
from autolabel.labels.manifest import LabelledBox, whole_pixels
from autolabel.reporting.label_errors import LabelIssue, PixelBox
from autolabel.sequences.linking import Linker, Sight
from autolabel.sequences.tracks import LEAST_RATE

MISSING = "missing between"
OUT_OF_LINE = "out of line"
CLASS_CHANGE = "class change"
SINGLE = "single box"
# Frames before and after a frame that tell what to expect in it.
REACH = 3
# Below this `suspicion` nothing is said.
LEAST = 0.3
# A longer pause between two labelled frames begins a new sequence: at LEAST_RATE, with some jitter.
MAX_PAUSE = 1.25 / LEAST_RATE

# The `suspicion` of a missing box, by the steps from the last box before to the first after; of a class that no
# neighbour has; of a box without neighbours.
_GAPS = {2: 0.95, 3: 0.75, 4: 0.5, 5: 0.35, 6: 0.25}
_CHANGE = 0.97
_ALONE = 0.7
_HALF = 0.5
# If a larger share of an expected box is in another one, the object may be hidden.
_HIDDEN = 0.6
# A box this near to the edge of the picture, in pixels, may show an object that comes or goes.
_EDGE = 2
# A side that is off by this share of the box is half suspicious.
_NOISE = 0.06
# How far the boxes of a track are off that is too short to tell.
_UNKNOWN = 0.05

T = TypeVar("T")


class TimedLabel(NamedTuple):
    """The final label of a frame. `time`: seconds; `by_person`: False if the policy accepted the models' boxes."""

    time: float
    width: int
    height: int
    boxes: Sequence[LabelledBox]
    by_person: bool = True


class TimedIssues(NamedTuple, Generic[T]):
    """The issues of a frame, the most suspicious first; the items of the frame and of those before and after it."""

    issues: list[LabelIssue]
    here: T
    before: T | None
    after: T | None


class _Frame(NamedTuple, Generic[T]):
    """A frame of the window. `objects`: its boxes by the number of their path; `ignored`: its regions."""

    item: T
    label: TimedLabel
    objects: dict[int, LabelledBox]
    ignored: list[Box]


class _Neighbour(NamedTuple):
    """A box of the same object in another frame. `steps`: frames from here to there, negative before; `box`: xyxy."""

    steps: int
    time: float
    name: str
    box: Box


class TimeSearch(Generic[T]):
    """Searches the frames of one camera, which pass in the order of time. `item`: what the caller needs of a frame."""

    def __init__(self) -> None:
        self._linker = Linker()
        # The frame to judge is followed by REACH frames, or by fewer at the end.
        self._window = deque[_Frame[T]](maxlen=2 * REACH + 1)

    def take(self, item: T, label: TimedLabel) -> Iterator[TimedIssues[T]]:
        """Take in the next frame, and yield the issues of each frame whose neighbours are now known."""
        if self._window and not 0 < label.time - self._window[-1].label.time <= MAX_PAUSE:
            yield from self.end()
        objects = [box for box in label.boxes if box.name != IGNORE]
        sights = [Sight(label.time, corners(box), box.name) for box in objects]
        paths = [link.path for link in self._linker.step(label.time, sights, (label.width, label.height))]
        # Longer gaps than those of the window say nothing here.
        self._linker.joins.clear()
        ignored = [corners(box) for box in label.boxes if box.name == IGNORE]
        self._window.append(_Frame(item, label, dict(zip(paths, objects, strict=True)), ignored))
        if len(self._window) > REACH:
            yield self._judge(len(self._window) - 1 - REACH)

    def end(self) -> Iterator[TimedIssues[T]]:
        """Yield the issues of the last frames; the next frame begins a new sequence."""
        for at in range(max(0, len(self._window) - REACH), len(self._window)):
            yield self._judge(at)
        self._window.clear()
        self._linker = Linker()

    def _judge(self, at: int) -> TimedIssues[T]:
        here = self._window[at]
        before = self._window[at - 1] if at else None
        after = self._window[at + 1] if at + 1 < len(self._window) else None
        found = [issue for issue in self._issues(at, here, before, after) if issue.suspicion >= LEAST]
        found.sort(key=lambda issue: -issue.suspicion)
        return TimedIssues(found, here.item, before and before.item, after and after.item)

    def _issues(
        self, at: int, here: _Frame[T], before: _Frame[T] | None, after: _Frame[T] | None
    ) -> Iterator[LabelIssue]:
        near: dict[int, list[_Neighbour]] = {path: [] for path in here.objects}
        for place, frame in enumerate(self._window):
            if 0 < abs(place - at) <= REACH:
                for path, box in frame.objects.items():
                    near.setdefault(path, []).append(_Neighbour(place - at, frame.label.time, box.name, corners(box)))
        sides = [frame for frame in (before, after) if frame and (frame.label.by_person or not here.label.by_person)]
        for path, neighbours in near.items():
            if path not in here.objects:
                yield from _missing(here, neighbours)
                continue
            box = here.objects[path]
            if neighbours:
                yield from _changed(here.label, box, neighbours)
                yield from _out_of_line(here.label, box, neighbours)
            elif len(sides) == 2:
                # A person's box that is alone among accepted frames is one that the models missed there.
                yield _issue(SINGLE, _single(here.label, box), here.label, None, box)


def _missing(here: _Frame[T], neighbours: Sequence[_Neighbour]) -> Iterator[LabelIssue]:
    beside = _beside(neighbours)
    if not beside:
        return
    before, after = beside
    expected = _between(before, after, here.label.time)
    if any(share_in(expected, region) > _HIDDEN for region in here.ignored):
        return
    # The longer the gap, the more likely the object was hidden.
    suspicion = _GAPS[after.steps - before.steps]
    if any(share_in(expected, corners(box)) > _HIDDEN for box in here.objects.values()):
        suspicion *= _HALF
    names = [one.name for one in neighbours]
    name = max(names, key=names.count)
    yield _issue(MISSING, suspicion, here.label, (name, expected), None)


def _changed(label: TimedLabel, box: LabelledBox, neighbours: Sequence[_Neighbour]) -> Iterator[LabelIssue]:
    names = [one.name for one in neighbours]
    name = max(names, key=names.count)
    if name != box.name and (count := names.count(name)) > 1:
        yield _issue(CLASS_CHANGE, count / len(names) * _CHANGE, label, (name, corners(box)), box)


def _out_of_line(label: TimedLabel, box: LabelledBox, neighbours: Sequence[_Neighbour]) -> Iterator[LabelIssue]:
    beside = _beside(neighbours)
    if not beside:
        return
    expected = _between(*beside, label.time)
    off = _off(corners(box), expected)
    if off / (off + _NOISE) >= LEAST:
        # A track that shakes anyway says less.
        yield _issue(OUT_OF_LINE, off / (off + _NOISE + _shakes(neighbours)), label, (box.name, expected), box)


def _between(before: _Neighbour, after: _Neighbour, time: float) -> Box:
    """Return the box at a time on the straight line between two others, xyxy."""
    share = (time - before.time) / (after.time - before.time)
    one, other = before.box, after.box
    return (
        one[0] + (other[0] - one[0]) * share,
        one[1] + (other[1] - one[1]) * share,
        one[2] + (other[2] - one[2]) * share,
        one[3] + (other[3] - one[3]) * share,
    )


def _beside(neighbours: Sequence[_Neighbour]) -> tuple[_Neighbour, _Neighbour] | None:
    """Return the nearest neighbours before and after; None if all are on one side."""
    after = next((at for at, one in enumerate(neighbours) if one.steps > 0), 0)
    return (neighbours[after - 1], neighbours[after]) if after else None


def _off(box: Box, expected: Box) -> float:
    """Return how far the worst side of a box is off, as a share of the expected width or height, at least a pixel."""
    across = max(abs(box[0] - expected[0]), abs(box[2] - expected[2])) / max(expected[2] - expected[0], 1.0)
    return max(across, max(abs(box[1] - expected[1]), abs(box[3] - expected[3])) / max(expected[3] - expected[1], 1.0))


def _shakes(neighbours: Sequence[_Neighbour]) -> float:
    """Return how far the neighbours themselves are off, as `_off` does; the median of those between others."""
    rows = zip(neighbours, neighbours[1:], neighbours[2:], strict=False)
    offs = [_off(one.box, _between(before, after, one.time)) for before, one, after in rows]
    return median_high(offs) if offs else _UNKNOWN


def _single(label: TimedLabel, box: LabelledBox) -> float:
    left, top, right, bottom = corners(box)
    at_edge = left <= _EDGE or top <= _EDGE or right >= label.width - _EDGE or bottom >= label.height - _EDGE
    return _ALONE * (_HALF if at_edge else 1.0)


def _issue(
    kind: str, suspicion: float, label: TimedLabel, expected: tuple[str, Box] | None, box: LabelledBox | None
) -> LabelIssue:
    return LabelIssue(
        kind,
        round(suspicion, 4),
        expected=expected and PixelBox(expected[0], *whole_pixels(expected[1], label.width, label.height)),
        verified=PixelBox.of(box) if box else None,
    )
