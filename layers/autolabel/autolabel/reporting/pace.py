"""Pace: how long people took for frames, as far as their back-end tells."""

from __future__ import annotations

import hashlib
from collections import Counter

import msgspec

from autolabel.labels.reviews import Effort, Review
from autolabel.reporting.spread import Spread

# Who leaves a frame as it was in less has hardly looked at all of it. Where frames are easy and few boxes are shown,
# many are seen rightly in that time: the figure tells something beside others'.
HASTY_SECONDS = 2.0
# The kinds of edits that pages of ours tell.
EDITS = ("add", "delete", "move", "relabel", "accept")
# What a browser claims beyond these is no work.
_MOST_SECONDS = 3_600.0
_MOST_COUNT = 10_000
# Workers are told apart up to so many, and named by so many characters.
MAX_WORKERS = 1_000
_NAME = 8


class Seconds(msgspec.Struct, frozen=True):
    """Active seconds a frame, of the `frames` of which they are known."""

    frames: int
    median: float
    p90: float
    total: float


class Pace(msgspec.Struct, frozen=True):
    """How one worker, or all, worked; None is what the back-end does not tell.

    `frames` were shown with a pre-label; of these `untouched` were left as they were, `hasty` ones of them in less than
    HASTY_SECONDS. `changes`: boxes that differ from the pre-label; `keys_per_change`: keys pressed for each.
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
        """`changes`: how many boxes the person changed."""
        untouched = not changes
        self._frames += 1
        self._untouched += untouched
        self._changes += changes
        if review.keys is not None:
            self._keys += min(max(review.keys, 0), _MOST_COUNT)
            self._keyed += changes
        if review.seconds is not None:
            self._seconds.take(review.seconds)
            self._hasty += untouched and review.seconds < HASTY_SECONDS

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
    """Gathers seconds of frames."""

    def __init__(self) -> None:
        self._spread = Spread(step=0.1, most=_MOST_SECONDS)

    def take(self, seconds: float) -> None:
        self._spread.take(seconds)

    @property
    def seconds(self) -> Seconds | None:
        """None when nothing was taken."""
        spread = self._spread
        if not spread.count:
            return None
        return Seconds(spread.count, spread.quantile(0.5), spread.quantile(0.9), round(spread.total, 1))


class EffortTally:
    """Gathers how often each kind of edit was made, and how long it took."""

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
    """What a worker is called where all can read it: the first of a hash, since back-ends' names may be people's."""
    return hashlib.sha256(worker.encode(errors="replace")).hexdigest()[:_NAME]
