"""Tracks: the boxes of one object over time, with gaps filled and noise smoothed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from autolabel.labels.detections import Box
from autolabel.sequences.linking import CONFIRMED, Linker, Sight, lead

# Gaps of at most this length are filled, in tracks of at least this length. On the sequences that the limits were
# chosen on, 109 filled boxes were true and 160 false, so a filled box is never taken for a seen one.
FILLED_SECONDS = 0.55
STEADY_SECONDS = 0.45
# Frames a second. At 2 Hz, two frames are farther apart than PATIENCE_SECONDS, and nothing is linked.
LEAST_RATE = 5.0
# A side of a box is smoothed by the boxes this near in time. A wider window cuts off turns.
SMOOTHED_SECONDS = 0.15


class TrackBox(NamedTuple):
    """A box of a track. `frame`: the index of its frame; `box`: xyxy, pixels; `seen`: False for a filled gap."""

    frame: int
    box: Box
    seen: bool = True


class Track(NamedTuple):
    """One object. `name`: the class that most of its boxes have, of equal ones the first."""

    name: str
    boxes: list[TrackBox]

    @property
    def confirmed(self) -> bool:
        """Whether enough boxes were seen. Reviewers look at the others."""
        return sum(box.seen for box in self.boxes) >= CONFIRMED


def link_frames(frames: Iterable[tuple[float, Sequence[Sight]]]) -> list[Track]:
    """Link the frames of one camera, given by time in seconds, and finish the tracks: fill gaps, smooth sides."""
    linker, times = Linker(), list[float]()
    rows = dict[int, list[tuple[int, Sight]]]()
    for index, (time, sights) in enumerate(frames):
        times.append(time)
        for link, sight in zip(linker.step(time, sights), sights, strict=True):
            rows.setdefault(link.path, []).append((index, sight))
    objects = dict[int, list[tuple[int, Sight]]]()
    for number, row in rows.items():
        objects.setdefault(linker.origin(number), []).extend(row)
    return [_finished(row, times) for row in objects.values()]


def _finished(row: Sequence[tuple[int, Sight]], times: Sequence[float]) -> Track:
    boxes = [TrackBox(index, sight.box) for index, sight in row]
    if times[boxes[-1].frame] - times[boxes[0].frame] >= STEADY_SECONDS:
        boxes = fill_gaps(boxes, times)
    (name, _), *_ = Counter(sight.name for _, sight in row).most_common(1)
    return Track(name, smooth(boxes, times))


def fill_gaps(boxes: Sequence[TrackBox], times: Sequence[float]) -> list[TrackBox]:
    """Fill the short gaps of a track by straight lines. `times`: of all frames, in seconds."""
    filled = [boxes[0]]
    for after in boxes[1:]:
        before = filled[-1]
        begin, end = times[before.frame], times[after.frame]
        if end - begin <= FILLED_SECONDS:
            for frame in range(before.frame + 1, after.frame):
                share = (times[frame] - begin) / (end - begin)
                left, top, right, bottom = (a + (b - a) * share for a, b in zip(before.box, after.box, strict=True))
                filled.append(TrackBox(frame, (left, top, right, bottom), seen=False))
        filled.append(after)
    return filled


def smooth(boxes: Sequence[TrackBox], times: Sequence[float]) -> list[TrackBox]:
    """Smooth the sides of a track's boxes by straight lines through their neighbours in time."""
    when = [times[box.frame] for box in boxes]
    smoothed = []
    for box, time in zip(boxes, when, strict=True):
        near = range(bisect_left(when, time - SMOOTHED_SECONDS), bisect_right(when, time + SMOOTHED_SECONDS))
        if len(near) < CONFIRMED:
            smoothed.append(box)
            continue
        neighbours = [Sight(when[at], boxes[at].box) for at in near]
        smoothed.append(box._replace(box=lead(neighbours, time)))
    return smoothed
