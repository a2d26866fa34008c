"""What past reviews say about how much doubt may be accepted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import BLIND_AUDIT, VerifyUncertain
from autolabel.triage.audits import Evidence, acceptance_status, read_evidence
from autolabel.triage.hindsight import Hindsight, Outcome, Reviewed, best_setting
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack

_LABELS = "labels/"
_HEADINGS = ("floor", "max doubt", "frames", "seen", "faulty", "seconds", "accepted", "proven")
_LEGEND = (
    "frames: in so little doubt; seen, faulty, seconds: of these, seen by people, wrong, and people's time (where it "
    "is known); accepted: show proven classes only"
)


class PublishedRun(NamedTuple):
    """A drive's newest run that was reviewed, with its evidence."""

    drive: str
    run: str
    evidence: Evidence


class Retrospect(msgspec.Struct, frozen=True):
    """What reviews of one recipe's runs say. `left_out`: runs of other recipes. `blind`: frames audited blind."""

    recipe: str
    runs: tuple[str, ...]
    left_out: tuple[str, ...]
    target: float
    frames: int
    verified: int
    blind: int
    outcomes: tuple[Outcome, ...]
    proposal: Outcome | None
    standings: tuple[str, ...]


def look_back(
    stack: Stack, drives: Sequence[str], max_doubts: Sequence[float], floors: Sequence[float], policy: VerifyUncertain
) -> Retrospect:
    """What settings would have come to in drives, or in all; of the recipe of the run that was published last.

    The proposal is for the first of `floors`. CommandError when nothing was reviewed.
    """
    found = [run for drive in drives or stack.labels.folders(_LABELS) if (run := _reviewed_run(stack, drive))]
    missing = sorted(set(drives) - {run.drive for run in found})
    if missing:
        raise CommandError(f"no run of drive {missing[0]} was published with reviews")
    if not found:
        raise CommandError("no run was published with reviews: there is nothing to learn from yet")
    recipe = max(found, key=lambda run: run.evidence.order).evidence.recipe
    runs = [run for run in found if run.evidence.recipe == recipe]
    settings = [
        Hindsight(uncertainty, floor, target=policy.target, stretch=policy.stretch)
        for floor in floors
        for uncertainty in max_doubts
    ]
    frames = verified = blind = 0
    for run in runs:
        for frame in _frames(stack, run):
            frames += 1
            verified += frame.verified
            blind += frame.verified and frame.triage == BLIND_AUDIT
            for setting in settings:
                setting.take(run.drive, frame)
    outcomes = tuple(setting.outcome() for setting in settings)
    return Retrospect(
        recipe=recipe,
        runs=tuple(f"{run.drive} {run.run}" for run in runs),
        left_out=tuple(f"{run.drive} {run.run}" for run in found if run.evidence.recipe != recipe),
        target=policy.target,
        frames=frames,
        verified=verified,
        blind=blind,
        outcomes=outcomes,
        proposal=best_setting(outcomes, floors[0]),
        standings=tuple(acceptance_status(list(read_evidence(stack.labels, recipe)), policy).values()),
    )


def show_retrospect(console: Console, found: Retrospect) -> None:
    """Print what a person reads of it."""
    console.print(
        f"{len(found.runs)} runs, {found.frames} frames, {found.verified} seen by people, {found.blind} of them blind"
    )
    if found.left_out:
        console.print(f"left out, of other models or classes: {', '.join(found.left_out)}")
    table = Table(
        title="What would have been accepted",
        title_justify="left",
        caption=_LEGEND,
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading in ("faulty", "proven") else "right")
    for one in found.outcomes:
        seconds = f"{one.seconds:.0f}" if one.timed else "-"
        proven = ", ".join(one.proven) or "-"
        row = (one.floor, one.max_uncertainty, one.acceptable, one.seen, _faults(one), seconds, one.accepted, proven)
        table.add_row(*map(str, row), style="bold" if one == found.proposal else "")
    console.print(table)
    if found.proposal is None:
        console.print(f"no setting is proven to reach {found.target}: {_nearest(found.outcomes)}")
    else:
        one = found.proposal
        console.print(
            f"proposed: max_doubt {one.max_uncertainty}: {one.accepted} of {one.frames} frames accepted; "
            f"of {one.seen} frames of so little doubt that people saw, {one.faulty} were faulty"
        )
    if not found.blind:
        console.print("no frame was audited blind: what people were shown hides what they missed with it")
    for said in found.standings:
        console.print(said)


def _faults(one: Outcome) -> str:
    """Faulty frames, and what was wrong in them, by kind."""
    kinds = {
        "missed": one.missed,
        "false alarms": one.false_alarms,
        "misnamed": one.misnamed,
        "misplaced": one.misplaced,
    }
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    return f"{one.faulty}: {told}" if told else str(one.faulty)


def _nearest(outcomes: Sequence[Outcome]) -> str:
    """What is proven least of the setting with the most evidence."""
    if not any(one.bounds for one in outcomes):
        return "people saw no object in a frame of so little doubt"
    fullest = max(outcomes, key=lambda one: sum(b.trials for sides in one.bounds.values() for b in sides.values()))
    said = (
        f"{name} {side} ≥ {bound.bound:.3f} ({bound.errors} of {bound.trials} objects wrong)"
        for name, sides in fullest.bounds.items()
        for side, bound in sides.items()
    )
    return f"at max doubt {fullest.max_uncertainty} and floor {fullest.floor}, " + ", ".join(said)


def _reviewed_run(stack: Stack, drive: str) -> PublishedRun | None:
    for run in sorted(stack.labels.folders(f"{_LABELS}{drive}/"), reverse=True):
        folder = RunFolder(drive, run)
        body = stack.labels.read(folder.audit)
        if body is not None and stack.labels.exists(folder.reviewed):
            return PublishedRun(drive, run, msgspec.json.decode(body, type=Evidence))
    return None


def _frames(stack: Stack, run: PublishedRun) -> Iterator[Reviewed]:
    return map(msgspec.json.Decoder(Reviewed).decode, stack.labels.lines(RunFolder(run.drive, run.run).reviewed))
