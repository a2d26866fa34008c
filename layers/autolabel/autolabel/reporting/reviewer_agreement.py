"""Agreement between the reviewers of the same frames, by Krippendorff's alpha.

The units are objects, and the values their classes, or that a reviewer saw no object. See K. Krippendorff, "Computing
Krippendorff's Alpha-Reliability", 2011: nominal data, any number of observers, missing values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import permutations

import msgspec

from autolabel.reporting.pace import MAX_WORKERS, worker_name
from autolabel.verification.consolidation import ABSENT, Consensus

# By two values, how often two observers gave them to one unit: each unit weighs as many as it has values.
Coincidences = dict[str, dict[str, float]]


def count_unit(coincidences: Coincidences, values: Sequence[str], only: int | None = None) -> None:
    """Add the values that the observers of one unit gave it. `only`: count the pairs of this observer with others."""
    for one, other in permutations(range(len(values)), 2):
        if only is None or only in (one, other):
            row = coincidences.setdefault(values[one], {})
            row[values[other]] = row.get(values[other], 0.0) + 1 / (len(values) - 1)


def alpha(coincidences: Coincidences, value: str | None = None) -> float | None:
    """Compute Krippendorff's alpha for nominal values: 1 is agreement, 0 is chance; None if no values differ.

    `value`: take all others as one value.
    """
    totals = {name: sum(row.values()) for name, row in coincidences.items()}
    total = sum(totals.values())
    chosen = totals if value is None else {value: totals.get(value, 0.0)}
    differing = sum(count - coincidences.get(name, {}).get(name, 0.0) for name, count in chosen.items())
    expected = sum(count * (total - count) for count in chosen.values())
    return round(1 - (total - 1) * differing / expected, 3) if expected else None


class ReviewerFrames(msgspec.Struct):
    """What one reviewer answered together with others. `objects`: that any of them drew."""

    frames: int = 0
    objects: int = 0
    coincidences: Coincidences = {}


class ReviewerAlpha(msgspec.Struct, frozen=True):
    """The agreement of one reviewer with the others; `worker`: named as in the pace."""

    worker: str
    frames: int
    objects: int
    alpha: float | None


class ReviewerAgreement(msgspec.Struct, frozen=True):
    """How far the reviewers of the same frames agree, before a person decides where they differ.

    `frames`: with two answers or more; `objects`: in these. `alpha`: over all classes; `classes`: of each class against
    the others and no object. `reviewers`: those with the most frames first.
    """

    frames: int
    objects: int
    alpha: float | None
    classes: dict[str, float | None] = {}
    reviewers: tuple[ReviewerAlpha, ...] = ()


# The most reviewers that the summary lists.
LISTED = 50


class ReviewerTally(msgspec.Struct):
    """Counts the answers of several reviewers, frame by frame."""

    frames: int = 0
    objects: int = 0
    coincidences: Coincidences = {}
    workers: dict[str, ReviewerFrames] = {}

    def take(self, consensus: Consensus) -> None:
        """Take in a frame that several reviewers were asked for."""
        if len(consensus.workers) < 2:
            return
        self.frames += 1
        self.objects += len(consensus.objects)
        for values in consensus.objects:
            count_unit(self.coincidences, values)
        for place, worker in enumerate(consensus.workers):
            # A reviewer of strips has no name where the job left no response.
            if worker and (of := self._of(worker_name(worker))) is not None:
                of.frames += 1
                of.objects += len(consensus.objects)
                for values in consensus.objects:
                    count_unit(of.coincidences, values, place)

    def add(self, other: ReviewerTally) -> None:
        """Add the counts of other frames."""
        self.frames += other.frames
        self.objects += other.objects
        _add(self.coincidences, other.coincidences)
        for name, counts in other.workers.items():
            if (of := self._of(name)) is not None:
                of.frames += counts.frames
                of.objects += counts.objects
                _add(of.coincidences, counts.coincidences)

    def agreement(self) -> ReviewerAgreement | None:
        """Return the agreement; None without a frame that two reviewers answered."""
        if not self.frames:
            return None
        busiest = sorted(self.workers.items(), key=lambda one: (-one[1].frames, one[0]))
        names = Counter({name: sum(row.values()) for name, row in self.coincidences.items() if name != ABSENT})
        return ReviewerAgreement(
            self.frames,
            self.objects,
            alpha(self.coincidences),
            {name: alpha(self.coincidences, name) for name, _ in names.most_common()},
            tuple(ReviewerAlpha(name, of.frames, of.objects, alpha(of.coincidences)) for name, of in busiest[:LISTED]),
        )

    def _of(self, name: str) -> ReviewerFrames | None:
        if name not in self.workers and len(self.workers) == MAX_WORKERS:
            return None
        return self.workers.setdefault(name, ReviewerFrames())


def _add(coincidences: Coincidences, others: Coincidences) -> None:
    for one, row in others.items():
        counts = coincidences.setdefault(one, {})
        for other, count in row.items():
            counts[other] = counts.get(other, 0.0) + count
