"""`python -m tools.chaos [--short] [--seed S] [--plans N]`: run plans; exit status 1 if a frame is lost or doubled."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tools.chaos.plans import Plan, named_plans, random_plan
from tools.chaos.rehearsal import Outcome, Rehearsal
from tools.chaos.stage import set_stage
from tools.demo.deployment import PROJECT
from tools.permission_use import keep_permission_use

FOLDER = PROJECT / "build" / "chaos"
SEEDS = Path(__file__).with_name("seeds.txt")


def regression_seeds() -> list[int]:
    """Read the seeds of random plans that failed in the past."""
    lines = (line.partition("#")[0].strip() for line in SEEDS.read_text().splitlines())
    return [int(line) for line in lines if line]


def choose_plans(short: bool, seed: int | None, count: int | None, only: str) -> Iterator[Plan]:
    """All named plans, regression seeds and 20 random plans; or, when given, `count` random plans from `seed` on.

    `short`: every second named plan and the regression seeds. Neighbours in the list mostly are two forms of a fault.
    """
    if only:
        yield from (plan for plan in named_plans() if only in plan.name)
        return
    if seed is None and count is None:
        yield from named_plans()[:: 2 if short else 1]
        yield from map(random_plan, regression_seeds())
    if not short:
        first = seed if seed is not None else 1
        yield from (random_plan(first + i) for i in range(count or (1 if seed is not None else 20)))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--short", is_flag=True, help="Run only every second named plan and the regression seeds.")
@click.option("--seed", type=int, help="Seed of the first random plan; without --plans, run only that plan.")
@click.option("--plans", type=int, help="Number of random plans; the named ones are left out.")
@click.option("--only", default="", help="Run only named plans whose name contains this text.")
def main(short: bool, seed: int | None, plans: int | None, only: str) -> None:
    """Run plans of faults on the embedded cloud, and report frames that were lost or doubled."""
    console = Console(width=None if sys.stdout.isatty() else 180, highlight=False)
    folder = FOLDER / "cloud"
    shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()
    outcomes: list[Outcome] = []
    console.print("[dim]starting the embedded cloud and deploying the stack ...[/]")
    with set_stage(folder) as stage:
        console.print(f"[dim]ready after {time.monotonic() - began:.0f} s[/]")
        for number, plan in enumerate(choose_plans(short, seed, plans, only)):
            try:
                outcome = Rehearsal(stage, plan, f"c{number:03d}").run()
            except BaseException:
                console.print("interrupted in:", *plan.lines(), sep="\n    ", markup=False)
                raise
            outcomes.append(outcome)
            _tell(console, outcome)
        keep_permission_use(stage.cloud, "chaos")
        denials = [line for line in stage.cloud.log.read_text(errors="replace").splitlines() if "denied: " in line]
    _write(outcomes, denials)
    console.print(_table(outcomes))
    for line in denials[:10]:
        console.print(f"[bold red]IAM {line}[/]")
    failed = [outcome for outcome in outcomes if not outcome.good]
    frames, seconds = sum(o.frames for o in outcomes), time.monotonic() - began
    console.print(f"{len(outcomes)} plans, {len(failed)} failed; {frames} frames, {seconds:.0f} s")
    if failed or denials or not outcomes:
        sys.exit(1)


def _tell(console: Console, outcome: Outcome) -> None:
    faults = sum(outcome.injected.values())
    verdict = "[green]ok[/]" if outcome.good else "[bold red]FAILED[/]"
    console.print(f"{verdict} {outcome.plan.name}: {faults} faults, {outcome.frames} frames, {outcome.seconds:.1f} s")
    if outcome.good:
        return
    for line in (*outcome.plan.lines(), *outcome.stuck):
        console.print(f"    {line}", markup=False)
    for drive, found in outcome.verdicts.items():
        for line in (*(f"lost {key}" for key in found.lost), *(f"doubled {k}" for k in found.doubled), *found.problems):
            console.print(f"    {drive}: {line}", markup=False)


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(title="Plans of faults", title_justify="left")
    table.add_column("plan")
    table.add_column("faults injected", max_width=70)
    for name in ("frames", "lost", "doubled", "redrives", "swept", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("")
    for o in outcomes:
        counts = (o.frames, o.lost, o.doubled, o.redrives, o.swept)
        table.add_row(
            o.plan.name,
            "; ".join(f"{count} x {name}" for name, count in o.injected.items()),
            *map(str, counts),
            f"{o.seconds:.1f}",
            _fault(o),
        )
    return table


def _fault(outcome: Outcome) -> str:
    if outcome.good:
        return ""
    return "[bold red]" + ("stuck" if outcome.stuck else "no fault struck" if outcome.idle else "FAIL") + "[/]"


def _write(outcomes: list[Outcome], denials: list[str]) -> None:
    document = {"plans": [outcome.as_json() for outcome in outcomes], "denials": denials}
    (FOLDER / "chaos.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
