"""Vigilance: how many seeded errors reviewers caught, and how many errors of the models they may have overlooked."""

from __future__ import annotations

import math

import msgspec

from autolabel.reporting.pace import MAX_WORKERS, worker_name
from autolabel.triage.seeds import SeedVerdict

# One-sided bounds: of the catch rate, and of the errors at its bound.
CONFIDENCE = 0.95
# With fewer seeds, a rate says nothing about one reviewer.
LEAST_SEEDS = 50
_STEPS = 60
# Below the mean by more standard deviations, chances are too small to count.
_SPREADS = 12


class CatchRate(msgspec.Struct, frozen=True):
    """The seeds that a reviewer, or all, decided, and those of them that were caught; `least`: bound of the rate."""

    worker: str
    seeds: int
    caught: int
    rate: float
    least: float


class Vigilance(msgspec.Struct, frozen=True):
    """How awake the reviewers of a run were.

    `corrections`: errors of shown boxes that they corrected. `residual`: the errors that they overlooked, if these are
    as easy to see as seeds; `most`: its upper bound. Both are None if no seed was caught. `workers`: reviewers with at
    least LEAST_SEEDS seeds.
    """

    all: CatchRate
    corrections: int
    residual: int | None
    most: int | None
    workers: tuple[CatchRate, ...] = ()


class SeedTally(msgspec.Struct):
    """Counts seeds by reviewer, as [seeds, caught].

    `stretches`: by name, who decided the frames of a seed over a stretch, empty if several reviewers did; and whether
    one of them caught it. They count at the end only, since a stretch may be in two parts of a run.
    """

    workers: dict[str, list[int]] = {}
    stretches: dict[str, tuple[str, bool]] = {}

    def take(self, verdict: SeedVerdict) -> None:
        if verdict.counts:
            worker = worker_name(verdict.worker) if verdict.worker else ""
            if verdict.stretch:
                self._join(verdict.stretch, worker, verdict.caught)
            else:
                self._count(worker, 1, verdict.caught)

    def add(self, other: SeedTally) -> None:
        for worker, (seeds, caught) in other.workers.items():
            self._count(worker, seeds, caught)
        for stretch, (worker, is_caught) in other.stretches.items():
            self._join(stretch, worker, is_caught)

    def vigilance(self, corrections: int) -> Vigilance | None:
        """Return the vigilance of a run with this number of corrections; None if no seed was decided."""
        total = SeedTally()
        total.add(self)
        for worker, is_caught in total.stretches.values():
            total._count(worker, 1, is_caught)
        workers = total.workers
        seeds, caught = (sum(counts) for counts in zip(*workers.values(), strict=True)) if workers else (0, 0)
        if not seeds:
            return None
        known = sorted((name, counts) for name, counts in workers.items() if name and counts[0] >= LEAST_SEEDS)
        everyone = catch_rate("", seeds, caught)
        return Vigilance(
            all=everyone,
            corrections=corrections,
            residual=round(corrections * (seeds - caught) / caught) if caught else None,
            most=most_overlooked(corrections, least_rate(seeds, caught)) if caught else None,
            workers=tuple(catch_rate(name, *counts) for name, counts in known),
        )

    def _join(self, stretch: str, worker: str, caught: bool) -> None:
        """Take a frame of a stretch, or more of them: they are one seed, caught if one of them is."""
        before, was_caught = self.stretches.get(stretch, (worker, False))
        self.stretches[stretch] = (worker if worker == before else "", was_caught or caught)

    def _count(self, worker: str, seeds: int, caught: int) -> None:
        if worker not in self.workers and len(self.workers) >= MAX_WORKERS:
            worker = ""
        before = self.workers.setdefault(worker, [0, 0])
        self.workers[worker] = [before[0] + seeds, before[1] + caught]


def catch_rate(worker: str, seeds: int, caught: int) -> CatchRate:
    """Return the rate of caught seeds with its bound."""
    return CatchRate(worker, seeds, caught, round(caught / seeds, 4), round(least_rate(seeds, caught), 4))


def least_rate(seeds: int, caught: int) -> float:
    """Return the lower bound of the catch rate (Clopper and Pearson, one-sided): 0 if nothing was caught."""
    low, high = 0.0, caught / seeds
    for _ in range(_STEPS if caught else 0):
        middle = (low + high) / 2
        # The chance to catch as many or more, at this rate.
        chance = math.fsum(math.exp(_log_binomial(seeds, count, middle)) for count in range(caught, seeds + 1))
        low, high = (middle, high) if chance < 1 - CONFIDENCE else (low, middle)
    return low


def most_overlooked(corrections: int, rate: float) -> int:
    """Return the upper bound of the overlooked errors: a quantile of the negative binomial distribution.

    If reviewers, who catch each error by chance `rate`, overlooked more, they would have corrected more than
    `corrections`, but for a chance of 1 - CONFIDENCE. So it is the quantile for `corrections` + 1 successes, and it is
    above 0 without any correction.
    """
    if rate >= 1.0:
        return 0
    successes, passed = corrections + 1, 0.0
    spread = math.sqrt(successes * (1 - rate)) / rate
    overlooked = max(0, int(successes * (1 - rate) / rate - _SPREADS * spread))
    while True:
        passed += math.exp(
            math.lgamma(successes + overlooked)
            - math.lgamma(successes)
            - math.lgamma(overlooked + 1)
            + successes * math.log(rate)
            + overlooked * math.log1p(-rate)
        )
        if passed >= CONFIDENCE:
            return overlooked
        overlooked += 1


def _log_binomial(trials: int, count: int, rate: float) -> float:
    """Return the logarithm of the chance of `count` in `trials`, each by chance `rate` between 0 and 1."""
    ways = math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)
    return ways + count * math.log(rate) + (trials - count) * math.log1p(-rate)
