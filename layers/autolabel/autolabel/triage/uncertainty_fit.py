"""Fits an uncertainty map to the frames that people reviewed. Only the command line uses it; no function imports it.

A person who sees a pre-label overlooks some of its errors, so frames of blind audits count up to the highest level that
enough of them reach. Above it no frame is drawn for an audit, and all are shown: there the frames that were shown
count, and the shares tend to be too low.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from autolabel.contracts.verification import BLIND_AUDIT
from autolabel.contracts.wording import counted
from autolabel.labelling.uncertainty import frame_level
from autolabel.labelling.uncertainty_map import UncertaintyMap
from autolabel.triage.hindsight import Reviewed
from autolabel.triage.intervals import share_interval

# Frames of a stretch show the same objects, so what counts is the number of stretches: for a map, and for blind audits
# to be taken instead of shown frames.
LEAST_STRETCHES = 100
LEAST_BLIND_STRETCHES = 40
# Each bin has this number of stretches' frames or more, and a map at most this number of bins.
_STRETCHES_IN_BIN = 10
_MOST_BINS = 20


class ReviewedLevel(NamedTuple):
    """A frame that a person labelled. `level`: its own, before a map; `changed`: whether the pre-label had an error.

    `stretch`: names its audit stretch; `blind`: the person did not see the pre-label.
    """

    level: float
    changed: bool
    stretch: str
    blind: bool


class Step(msgspec.Struct, frozen=True):
    """Neighbouring levels to which a map gives one share. `low`, `high`: the levels; `points`: those of its points.

    `share_low`, `share_high`: the interval of the share at 95 %, as if each stretch were one frame.
    """

    low: float
    high: float
    points: tuple[float, float]
    frames: int
    stretches: int
    changed: int
    share: float
    share_low: float
    share_high: float


class Fit(NamedTuple):
    """The steps of a map, their levels and shares rising. `stretches`: of all its frames.

    `reach`: the level up to which only blind audits count; 0 without enough of them.
    """

    steps: tuple[Step, ...]
    stretches: int
    reach: float

    @property
    def frames(self) -> int:
        return sum(step.frames for step in self.steps)


class TooFewStretches(Exception):
    """The frames that count are of too few audit stretches. `found`: their number."""

    def __init__(self, found: int) -> None:
        super().__init__(
            f"reviewed frames of {counted(found, 'audit stretch', 'audit stretches')} are too few to calibrate "
            f"uncertainty: {LEAST_STRETCHES} are needed"
        )
        self.found = found


def reviewed_level(drive: str, frame: Reviewed, stretch: int) -> ReviewedLevel | None:
    """Return what a frame tells; None if no person labelled it, it has no pre-label, or it is certain to be reviewed.

    `stretch`: the number of frames in an audit stretch.
    """
    if frame.level is None or not frame.verified:
        return None
    level = frame_level(frame.boxes, frame.candidates, frame.failed)
    if level >= 1.0:
        return None
    changed = any(of.faults for of in frame.classes.values())
    place = f"{drive}/{frame.camera}/{frame.position // stretch}"
    return ReviewedLevel(level, changed, place, frame.triage == BLIND_AUDIT)


def fit_steps(reviewed: Iterable[ReviewedLevel]) -> Fit:
    """Fit a map to reviewed frames. Raises TooFewStretches if those that count are of fewer than LEAST_STRETCHES.

    The levels are cut into bins of as many frames. The share of a bin is that of its changed frames, with one more
    changed and one more unchanged frame, so that few frames give neither 0 nor 1. Bins whose shares would fall with the
    level are pooled (isotonic regression).
    """
    frames, reach = _counted(list(reviewed))
    stretches = _stretches(frames)
    if stretches < LEAST_STRETCHES:
        raise TooFewStretches(stretches)
    blocks = list[_Block]()
    for one in _bins(frames, min(_MOST_BINS, stretches // _STRETCHES_IN_BIN)):
        block = _Block(one, 1)
        while blocks and blocks[-1].share >= block.share:
            before = blocks.pop()
            block = _Block(before.frames + block.frames, before.bins + block.bins)
        blocks.append(block)
    return Fit(tuple(map(_step, blocks)), stretches, reach)


class _Block(NamedTuple):
    """The frames of some neighbouring bins, by level."""

    frames: list[ReviewedLevel]
    bins: int

    @property
    def changed(self) -> int:
        return sum(one.changed for one in self.frames)

    @property
    def share(self) -> float:
        return (self.changed + self.bins) / (len(self.frames) + 2 * self.bins)


def _counted(reviewed: Sequence[ReviewedLevel]) -> tuple[list[ReviewedLevel], float]:
    """Return the frames that count, by level, and the level up to which only blind audits do."""
    blind = [one for one in reviewed if one.blind]
    reach = max(one.level for one in blind) if _stretches(blind) >= LEAST_BLIND_STRETCHES else 0.0
    return sorted(one for one in reviewed if one.blind or not reach or one.level > reach), reach


def _stretches(frames: Iterable[ReviewedLevel]) -> int:
    return len({one.stretch for one in frames})


def _bins(frames: Sequence[ReviewedLevel], count: int) -> Iterator[list[ReviewedLevel]]:
    """Cut frames, given by level, into bins of about as many frames; frames of one level stay together."""
    begin = 0
    for number in range(1, count + 1):
        end = round(number * len(frames) / count)
        while begin < end < len(frames) and frames[end].level == frames[end - 1].level:
            end += 1
        if end > begin:
            yield list(frames[begin:end])
            begin = end


def _step(block: _Block) -> Step:
    """Make the step of a block. Its points are in the middle of its first and of its last bin."""
    frames, stretches = block.frames, _stretches(block.frames)
    half = len(frames) // (2 * block.bins)
    low, high = share_interval(block.changed / len(frames), stretches)
    return Step(
        frames[0].level,
        frames[-1].level,
        (frames[half].level, frames[max(half, len(frames) - 1 - half)].level),
        len(frames),
        stretches,
        block.changed,
        round(block.share, 4),
        round(low, 4),
        round(high, 4),
    )


def as_map(fit: Fit, recipe: str, revision: str) -> UncertaintyMap:
    """Return the map of a fit. `recipe`: without a map."""
    points = [(level, step.share) for step in fit.steps for level in dict.fromkeys(step.points)]
    levels, shares = zip(*points, strict=True)
    return UncertaintyMap(recipe, revision, levels, shares, fit.frames, fit.stretches, fit.reach)
