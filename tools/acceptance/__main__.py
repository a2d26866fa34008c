"""`python -m tools.acceptance [--short]`: simulate fleets; exit status 1 when a promise is broken."""

from __future__ import annotations

import sys

import click

from tools.acceptance.fleets import SOON, objections, scenarios, simulate

SEED = 20_261_130


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--short", is_flag=True, help="Simulate 100 fleets of 1,000 stretches, not 400 of 3,000.")
@click.option("--seed", default=SEED, show_default=True, help="Seed of what is drawn.")
def main(short: bool, seed: int) -> None:
    """Simulate fleets under the rule of acceptance, for a target of 0.95 and five objects a stretch."""
    fleets, stretches = (100, 1_000) if short else (400, 3_000)
    print(f"{fleets} fleets of {stretches:,} audit stretches; shares of fleets, medians of stretches")
    print(f"{'precision':58} corr. accepted wrongly within {SOON}  after  noticed")
    broken = 0
    for scenario in scenarios(stretches):
        found = simulate(scenario, fleets, seed)
        medians = (f"{value:6.0f}" if value is not None else f"{'-':>6}" for value in (found.after, found.noticed))
        shares = f"{found.accepted:8.1%} {found.wrongly:7.1%} {found.soon:10.1%}"
        print(f"{scenario.name:58} {scenario.correlation:5} {shares} {'  '.join(medians)}", flush=True)
        for objection in objections(scenario, found):
            broken += 1
            print(f"  BROKEN: {objection}", flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
