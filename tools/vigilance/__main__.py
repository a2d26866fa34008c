"""`python -m tools.vigilance`: simulate runs; exit status 1 if the bound breaks its promise."""

from __future__ import annotations

import sys
from functools import cache
from statistics import median
from typing import NamedTuple

import click
import numpy as np

from autolabel.reporting.vigilance import CONFIDENCE, least_rate, most_overlooked

SEED = 20_261_130
ERRORS = 333
RATE = 0.9
# The rate and the errors each have a bound, which is wrong in 5 % at most.
MOST_WRONG = 2 * (1 - CONFIDENCE)


class Scenario(NamedTuple):
    """Reviewers who share the work evenly. `rates`: their catch rates of seeds; `harder`: by how much those of real
    errors are lower."""

    name: str
    seeds: int
    rates: tuple[float, ...]
    harder: float


class Figures(NamedTuple):
    """Medians over runs of overlooked errors, as they are, as estimated and as bounded. `wrong`: the share of runs in
    which more were overlooked than the bound says."""

    overlooked: float
    estimated: float
    bound: float
    wrong: float


def scenarios() -> list[Scenario]:
    same = [
        Scenario(f"all catch {RATE:.0%} of seeds", seeds, (RATE,), harder)
        for seeds in (50, 100, 400, 1_600)
        for harder in (0.0, 0.05, 0.1, 0.2)
    ]
    return [*same, *(Scenario("half catch 99%, half 60%", 100, (0.99, 0.6), harder) for harder in (0.0, 0.1))]


def simulate(scenario: Scenario, runs: int, seed: int) -> Figures:
    """Simulate runs with ERRORS errors of the models."""
    draw = np.random.default_rng(seed)
    rates = np.asarray(scenario.rates)
    of = len(rates)
    caught = draw.binomial(scenario.seeds // of, rates, (runs, of)).sum(axis=1)
    errors = draw.multinomial(ERRORS, [1 / of] * of, runs)
    corrected = draw.binomial(errors, rates - scenario.harder).sum(axis=1)
    overlooked = ERRORS - corrected
    pairs = [(int(x), int(c)) for x, c in zip(corrected, caught, strict=True)]
    bounds = [_bound(x, scenario.seeds, c) for x, c in pairs]
    return Figures(
        median(overlooked.tolist()),
        median(x * (scenario.seeds - c) / c for x, c in pairs),
        median(bounds),
        float(np.mean(overlooked > np.asarray(bounds))),
    )


@cache
def _bound(corrected: int, seeds: int, caught: int) -> int:
    return most_overlooked(corrected, _least(seeds, caught))


_least = cache(least_rate)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--runs", default=2_000, show_default=True, help="Simulated runs of each row.")
@click.option("--seed", default=SEED, show_default=True, help="Seed of what is drawn.")
def main(runs: int, seed: int) -> None:
    """Simulate how many errors reviewers overlook, and what seeded errors say about it."""
    print(f"{runs:,} runs with {ERRORS} errors of the models; medians, and the share of runs over the bound")
    print(f"{'reviewers':26} {'seeds':>5} {'harder':>6} {'overlooked':>10} {'estimated':>9} {'bound':>5} {'over':>6}")
    broken = False
    for one in scenarios():
        found = simulate(one, runs, seed)
        counts = f"{found.overlooked:10.0f} {found.estimated:9.0f} {found.bound:5.0f} {found.wrong:6.1%}"
        print(f"{one.name:26} {one.seeds:5} {one.harder:6.0%} {counts}", flush=True)
        if not one.harder and found.wrong > MOST_WRONG:
            broken = True
            print(f"  BROKEN: over the bound in {found.wrong:.1%} of runs, more than {MOST_WRONG:.0%}", flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
