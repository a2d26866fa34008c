"""How long reviewers take for a frame by its boxes, as their back-ends measured it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import msgspec

from autolabel.labels import read_exclusions
from autolabel_cli.operations.triage import PublishedRun, reviewed_frames, reviewed_runs
from autolabel_cli.stack import Stack

# Runs that are read, the newest first: enough for a mean of how reviewers work now.
_MOST_RUNS = 50
# A frame that was open for longer was not worked on all the time.
_MOST_SECONDS = 3_600.0


class ReviewTimes(msgspec.Struct, frozen=True):
    """Seconds of a frame without boxes, and of each box more. `frames`: measured ones, 0 if the times are given.

    `least`, `most`: boxes of the measured frames.
    """

    frame: float
    box: float
    frames: int = 0
    least: int = 0
    most: int = 0

    def seconds(self, boxes: float) -> float:
        """Return the mean seconds of a frame with this number of boxes."""
        return self.frame + self.box * boxes


class ReviewNeed(msgspec.Struct, frozen=True):
    """What an hour of a load needs of reviewers. `seconds`: of a frame; `reviewers`: who work at the same time.

    `hours`: active ones. `dollars`: their pay.
    """

    boxes: float
    times: ReviewTimes
    seconds: float
    hours: float
    reviewers: int
    dollars: float


class TimedFrame(NamedTuple):
    """A frame that a person reviewed: the boxes of the label that was left, and the active seconds."""

    boxes: int
    seconds: float


def measure_reviews(stack: Stack) -> ReviewTimes | None:
    """Fit times to the newest published runs without exclusions; None if no back-end told any."""
    exclusions = read_exclusions(stack.labels)
    known = sorted(reviewed_runs(stack, ()), key=lambda run: run.evidence.order, reverse=True)
    runs = list(islice((run for run in known if not exclusions.covers(run.drive, run.run)), _MOST_RUNS))
    return fit_times(frame for run in runs for frame in _timed(stack, run))


def _timed(stack: Stack, run: PublishedRun) -> Iterator[TimedFrame]:
    for frame in reviewed_frames(stack, run):
        if frame.verified and frame.seconds is not None:
            boxes = sum(of.kept + of.moved + of.added + of.gained for of in frame.classes.values())
            yield TimedFrame(boxes, min(frame.seconds, _MOST_SECONDS))


def fit_times(frames: Iterable[TimedFrame]) -> ReviewTimes | None:
    """Fit a line to the seconds by least squares; neither a look nor a box takes less than no time.

    None without frames. If all frames have equally many boxes, or those with more take less time, all time is the
    frame's.
    """
    count, sums = 0, [0.0] * 4
    least, most = math.inf, 0
    for boxes, seconds in frames:
        count += 1
        for place, value in enumerate((boxes, seconds, boxes * boxes, boxes * seconds)):
            sums[place] += value
        least, most = min(least, boxes), max(most, boxes)
    if not count:
        return None
    x, y, xx, xy = (of / count for of in sums)
    spread = xx - x * x
    box = max(0.0, (xy - x * y) / spread) if least < most else 0.0
    frame = y - box * x
    if frame < 0:
        frame, box = 0.0, xy / xx
    return ReviewTimes(round(frame, 3), round(box, 3), count, int(least), most)
