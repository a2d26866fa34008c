"""Triage in retrospect: how much uncertainty past reviews allow to accept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import BLIND_AUDIT, VerifyKeyFrames, VerifyUncertain
from autolabel.contracts.wording import counted
from autolabel.drives import is_canary
from autolabel.labelling import UncertaintyMap, map_key
from autolabel.labels import read_exclusions
from autolabel.triage import (
    Evidence,
    Hindsight,
    InterpolationRecords,
    Outcome,
    Reviewed,
    acceptance_sentences,
    best_setting,
    class_records,
    count_old_evidence,
    read_evidence,
)
from autolabel_cli.errors import CommandError
from autolabel_cli.output import print_table
from autolabel_cli.stack import Stack

_LABELS = "labels/"
_NAMED = 5
_HEADINGS = ("floor", "max_doubt", "frames", "seen", "faulty", "seconds", "saves", "accepted", "proven")
_LEGEND = (
    "frames: with an uncertainty up to max_doubt; of these: seen by reviewers, faulty, seconds that reviewers spent "
    "(where known), and accepted, because they show proven classes only. saves: the share of the reviewers' time for "
    "all frames, once all classes are proven"
)


class PublishedRun(NamedTuple):
    """Newest reviewed run of a drive, with its evidence."""

    drive: str
    run: str
    evidence: Evidence

    def __str__(self) -> str:
        return f"{self.drive} {self.run}"


class FoundRuns(NamedTuple):
    """The reviewed runs of one `recipe`, without a map; `newest`: that was published last.

    `left_out`: those of other recipes, and excluded ones.
    """

    recipe: str
    newest: PublishedRun
    runs: tuple[PublishedRun, ...]
    left_out: tuple[PublishedRun, ...]


class Retrospect(msgspec.Struct, frozen=True):
    """Findings from the reviewed runs of one recipe. `left_out`: runs of other recipes. `blind`: blind audits.

    `uncertainty_map`: the revision of the map that the frames' uncertainty comes from; empty without one.
    """

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
    uncertainty_map: str = ""


def look_back(
    stack: Stack, drives: Sequence[str], max_doubts: Sequence[float], floors: Sequence[float], policy: VerifyUncertain
) -> Retrospect:
    """Compute what settings would have accepted in drives, or in all drives.

    Only runs with the recipe of the run that was published last count. The proposal is for the first of `floors`.
    CommandError when no run was reviewed.
    """
    found = find_runs(stack, drives)
    uncertainty_map = read_current_map(stack, found.recipe)
    settings = [
        Hindsight(uncertainty, floor, policy, uncertainty_map) for floor in floors for uncertainty in max_doubts
    ]
    frames = verified = blind = 0
    for run in found.runs:
        for frame in reviewed_frames(stack, run):
            frames += 1
            verified += frame.verified
            blind += frame.verified and frame.triage == BLIND_AUDIT
            for setting in settings:
                setting.take(run.drive, frame)
    outcomes = tuple(setting.outcome() for setting in settings)
    return Retrospect(
        recipe=found.recipe,
        runs=tuple(map(str, found.runs)),
        left_out=tuple(map(str, found.left_out)),
        uncertainty_map=uncertainty_map.revision if uncertainty_map else "",
        target=policy.target,
        frames=frames,
        verified=verified,
        blind=blind,
        outcomes=outcomes,
        proposal=best_setting(outcomes, floors[0]),
        standings=_acceptance(stack, found.newest.evidence.recipe),
    )


def find_runs(stack: Stack, drives: Sequence[str]) -> FoundRuns:
    """Find the newest reviewed run of each drive, or of all drives. CommandError when no run was reviewed."""
    reviewed = reviewed_runs(stack, drives)
    missing = sorted(set(drives) - {run.drive for run in reviewed})
    if missing:
        raise CommandError(f"drive {missing[0]} has no published run with reviews: name other drives, or none for all")
    exclusions = read_exclusions(stack.labels)
    found = [run for run in reviewed if not exclusions.covers(run.drive, run.run)]
    if reviewed and not found:
        raise CommandError(
            f"all reviewed runs are excluded ({', '.join(map(str, reviewed[:_NAMED]))}): name other drives, or label "
            "these again: autolabel relabel DRIVE"
        )
    if not found:
        raise CommandError("no published run has reviews yet: run this command after a run with reviewers is published")
    # Under the policy key-frames, uncertainty decides nothing: such runs count only among themselves.
    newest = max(found, key=lambda run: (not run.evidence.iou, run.evidence.order))
    recipe = newest.evidence.base_recipe
    runs = tuple(run for run in found if run.evidence.base_recipe == recipe)
    return FoundRuns(recipe, newest, runs, tuple(run for run in reviewed if run not in runs))


def reviewed_runs(stack: Stack, drives: Sequence[str]) -> list[PublishedRun]:
    """Find the newest reviewed run of each drive, or of all drives but canaries; excluded ones too."""
    named = drives or [drive for drive in stack.labels.folders(_LABELS) if not is_canary(drive)]
    return [run for drive in named if (run := _reviewed_run(stack, drive))]


def read_current_map(stack: Stack, recipe: str) -> UncertaintyMap | None:
    """Read the map that the next runs of a recipe take; None if there is none."""
    body = stack.labels.read(map_key(recipe))
    return msgspec.json.decode(body, type=UncertaintyMap) if body else None


def reviewed_frames(stack: Stack, run: PublishedRun) -> Iterator[Reviewed]:
    return map(msgspec.json.Decoder(Reviewed).decode, stack.labels.lines(RunFolder(run.drive, run.run).reviewed))


def _acceptance(stack: Stack, recipe: str) -> tuple[str, ...]:
    """Say how far each class of a recipe is, under the policy of its newest evidence."""
    evidence, old = list(read_evidence(stack.labels, recipe)), count_old_evidence(stack.labels, recipe)
    newest = max(evidence, key=lambda one: one.order, default=None)
    if newest and newest.iou:
        return InterpolationRecords(evidence, VerifyKeyFrames(newest.iou, target=newest.target)).sentences()
    policy = VerifyUncertain()
    if newest:
        policy = VerifyUncertain(newest.max_uncertainty, target=newest.target, stretch=newest.stretch, task=newest.task)
    return acceptance_sentences(class_records(evidence, policy), evidence, policy, old)


def show_retrospect(console: Console, found: Retrospect) -> None:
    """Print the findings as a table with a proposal."""
    console.print(
        f"runs: {len(found.runs)}; frames: {found.frames}, seen by reviewers: {found.verified}, "
        f"of these in blind audits: {found.blind}"
    )
    if found.left_out:
        console.print(f"left out, because of other models or classes, or excluded: {', '.join(found.left_out)}")
    # Not as the table's title and caption, which rich wraps at the table's width.
    console.print("\n[italic]Frames that would have been accepted[/]")
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading in ("faulty", "proven") else "right")
    for one in found.outcomes:
        seconds = f"{one.seconds:.0f}" if one.timed else "-"
        saves = "-" if one.most_saved is None else f"{one.most_saved:.0%}"
        proven = ", ".join(one.proven) or "-"
        row = (one.floor, one.max_uncertainty, one.acceptable, one.seen, _faults(one), seconds, saves, one.accepted)
        table.add_row(*map(str, row), proven, style="bold" if one == found.proposal else "")
    print_table(console, table)
    console.print(_LEGEND, style="dim italic", highlight=False)
    if found.proposal is None:
        console.print(f"no setting is proven to reach {found.target}: {_nearest(found.outcomes)}")
    else:
        one = found.proposal
        console.print(
            f"proposed: max_doubt {one.max_uncertainty}: {one.accepted:,} of {counted(one.frames, 'frame')} accepted; "
            f"of {counted(one.seen, 'frame')} within it that reviewers saw, {counted(one.faulty, 'was', 'were')} faulty"
        )
        if one.saved is not None:
            console.print(f"it saves {one.saved:.0%} of the reviewers' time")
    if found.uncertainty_map:
        console.print(
            f"uncertainty is calibrated by map {found.uncertainty_map}: a max_doubt of 0.2 accepts frames of which at "
            "most one in five needs a change"
        )
    else:
        console.print("uncertainty is not calibrated: autolabel triage --calibrate says what a level of 0.2 means")
    if not found.blind:
        console.print("no frame was in a blind audit: reviewers who see the pre-label overlook some of its errors")
    for said in found.standings:
        console.print(said)


def _faults(one: Outcome) -> str:
    """Format the number of faulty frames with their errors by kind."""
    kinds = {
        "missed": one.missed,
        "false alarm": one.false_alarms,
        "misnamed": one.misnamed,
        "misplaced": one.misplaced,
    }
    told = ", ".join(
        counted(count, kind) if kind == "false alarm" else f"{count:,} {kind}" for kind, count in kinds.items() if count
    )
    return f"{one.faulty}: {told}" if told else str(one.faulty)


def _nearest(outcomes: Sequence[Outcome]) -> str:
    """Format the bounds of the setting with the most evidence."""
    if not any(one.bounds for one in outcomes):
        return "reviewers saw no object in a frame within a limit"
    fullest = max(outcomes, key=lambda one: sum(b.stretches for sides in one.bounds.values() for b in sides.values()))
    said = (
        f"{name} {side} ≥ {bound.bound:.3f} ({bound.errors:,} of {counted(bound.trials, 'object')} wrong in "
        f"{counted(bound.stretches, 'audit stretch', 'audit stretches')})"
        for name, sides in fullest.bounds.items()
        for side, bound in sides.items()
    )
    return f"at max_doubt {fullest.max_uncertainty} and floor {fullest.floor}, " + ", ".join(said)


def _reviewed_run(stack: Stack, drive: str) -> PublishedRun | None:
    for run in sorted(stack.labels.folders(f"{_LABELS}{drive}/"), reverse=True):
        folder = RunFolder(drive, run)
        body = stack.labels.read(folder.audit)
        if body is not None and stack.labels.exists(folder.reviewed):
            return PublishedRun(drive, run, msgspec.json.decode(body, type=Evidence))
    return None
