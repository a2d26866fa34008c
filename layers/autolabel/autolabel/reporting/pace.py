"""Pace: the time that reviewers took for frames, as far as their back-end reports it."""

from __future__ import annotations

import hashlib
from collections import Counter

import msgspec

from autolabel.labels.reviews import Effort, Review
from autolabel.reporting.spread import Spread

# A reviewer who submits a frame untouched in less time has hardly looked at all of it. But easy frames with few boxes
# can be checked in that time, so the count means something only in comparison with other reviewers.
HASTY_SECONDS = 2.0
# The kinds of edits that worker pages report: our page of a frame, and after these the portal's page of a strip.
EDITS = (
    *("add", "delete", "move", "relabel", "accept"),
    *("draw", "reach", "place", "key", "unkey", "revert", "hide", "rename", "start", "end", "split", "merge"),
)
# Limits: higher numbers from a browser cannot be work.
_MOST_SECONDS = 3_600.0
_MOST_COUNT = 10_000
# The most reviewers that are counted separately, and the characters of their names.
MAX_WORKERS = 1_000
_NAME = 8


class Seconds(msgspec.Struct, frozen=True):
    """Active seconds of a frame. `frames`: the number of frames with known seconds."""

    frames: int
    median: float
    p90: float
    total: float


class Pace(msgspec.Struct, frozen=True):
    """The pace of one reviewer, or of all. None means that the back-end does not report the value.

    `frames`: frames that were shown with a pre-label; `untouched`: those left unchanged; `hasty`: those left unchanged
    in less than HASTY_SECONDS. `changes`: boxes that differ from the pre-label; `keys_per_change`: keys pressed for
    each change.
    """

    worker: str = ""
    frames: int = 0
    untouched: int = 0
    changes: int = 0
    seconds: Seconds | None = None
    hasty: int | None = None
    keys_per_change: float | None = None


class PaceTally:
    """Gathers the pace of frames that were shown with a pre-label."""

    def __init__(self, worker: str = "") -> None:
        self.worker = worker
        self._frames = self._untouched = self._changes = self._hasty = 0
        self._keys = self._keyed = 0
        self._seconds = SecondsTally()

    def take(self, review: Review, changes: int) -> None:
        """Take in a frame. `changes`: the number of boxes that the reviewer changed."""
        untouched = not changes
        self._frames += 1
        self._untouched += untouched
        self._changes += changes
        if review.keys is not None:
            self._keys += min(max(review.keys, 0), _MOST_COUNT)
            self._keyed += changes
        if review.seconds is not None:
            self._seconds.take(review.seconds)
            # A frame of a strip has its share of the strip's seconds.
            self._hasty += untouched and review.seconds * max(review.strip, 1) < HASTY_SECONDS

    @property
    def pace(self) -> Pace:
        seconds = self._seconds.seconds
        return Pace(
            worker=self.worker,
            frames=self._frames,
            untouched=self._untouched,
            changes=self._changes,
            seconds=seconds,
            hasty=self._hasty if seconds else None,
            keys_per_change=round(self._keys / self._keyed, 2) if self._keyed and self._keys else None,
        )


class SecondsTally:
    """Gathers the seconds of frames."""

    def __init__(self) -> None:
        self._spread = Spread(step=0.1, most=_MOST_SECONDS)

    def take(self, seconds: float) -> None:
        self._spread.take(seconds)

    @property
    def seconds(self) -> Seconds | None:
        """The seconds so far; None before the first."""
        spread = self._spread
        if not spread.count:
            return None
        return Seconds(spread.count, spread.quantile(0.5), spread.quantile(0.9), round(spread.total, 1))


class EffortTally:
    """Counts the edits of each kind, and adds up their seconds."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._seconds = dict.fromkeys(EDITS, 0.0)

    def take(self, edits: dict[str, Effort]) -> None:
        for kind in EDITS:
            if effort := edits.get(kind):
                self._counts[kind] += min(max(effort.count, 0), _MOST_COUNT)
                self._seconds[kind] += min(max(effort.seconds, 0.0), _MOST_SECONDS)

    @property
    def efforts(self) -> dict[str, Effort]:
        return {kind: Effort(self._counts[kind], round(self._seconds[kind], 1)) for kind in EDITS if self._counts[kind]}


def worker_name(worker: str) -> str:
    """Name a reviewer in public: by the beginning of a hash, because a back-end's name may be a person's name."""
    return hashlib.sha256(worker.encode(errors="replace")).hexdigest()[:_NAME]
