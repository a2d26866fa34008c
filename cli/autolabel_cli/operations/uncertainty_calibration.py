"""Calibration of uncertainty: fits a map to published runs, and writes it to the catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from autolabel.contracts.wording import counted
from autolabel.labelling import UncertaintyMap, map_key
from autolabel.triage import Step, TooFewStretches, as_map, fit_steps, reviewed_level
from autolabel_cli.errors import CommandError
from autolabel_cli.models.catalogue import FIRST_REVISION
from autolabel_cli.operations.triage import find_runs, reviewed_frames
from autolabel_cli.output import print_table
from autolabel_cli.stack import Stack

_MAX_BYTES = 1_000_000


class UncertaintyCalibration(msgspec.Struct, frozen=True):
    """The map of a recipe. `written`: False if it is the one that the catalogue has.

    `runs`: those that it is fitted to; `left_out`: those of other recipes. `steps`: the shares of frames that needed a
    change, by level.
    """

    uncertainty_map: UncertaintyMap
    written: bool
    runs: tuple[str, ...]
    left_out: tuple[str, ...]
    steps: tuple[Step, ...]


def calibrate_uncertainty(stack: Stack, drives: Sequence[str], stretch: int) -> UncertaintyCalibration:
    """Fit a map to the reviewed frames of drives, or of all drives, and write it as the current one of their recipe.

    Only runs with the recipe of the run that was published last count. `stretch`: the number of frames in an audit
    stretch. CommandError when no run was reviewed, for too few frames, and if another command writes a map meanwhile.
    """
    found = find_runs(stack, drives)
    levels = (
        level
        for run in found.runs
        for frame in reviewed_frames(stack, run)
        if (level := reviewed_level(run.drive, frame, stretch))
    )
    try:
        fit = fit_steps(levels)
    except TooFewStretches as e:
        raise CommandError(f"{e}: publish more drives with reviewers, or name more drives") from e
    key = map_key(found.recipe)
    there = stack.labels.read_tagged(key, _MAX_BYTES)
    current = msgspec.json.decode(there[0], type=UncertaintyMap) if there else None
    revision = f"{int(current.revision) + 1:04d}" if current else FIRST_REVISION
    fitted = as_map(fit, found.recipe, revision)
    # Another revision starts the proof of all classes anew.
    written = current is None or msgspec.structs.replace(fitted, revision=current.revision) != current
    body = msgspec.json.format(msgspec.json.encode(fitted), indent=2)
    if written and not stack.labels.write_over(key, body, there[1] if there else ""):
        raise CommandError("another command wrote an uncertainty map meanwhile: give the command again")
    return UncertaintyCalibration(
        fitted if current is None or written else current,
        written,
        tuple(map(str, found.runs)),
        tuple(map(str, found.left_out)),
        fit.steps,
    )


def show_calibration(console: Console, found: UncertaintyCalibration) -> None:
    """Print the shares by level, what they were fitted to, and what follows."""
    fitted = found.uncertainty_map
    frames = f"{counted(fitted.frames, 'frame')} of {counted(fitted.stretches, 'audit stretch', 'audit stretches')}"
    console.print(f"runs: {len(found.runs)}; {frames} count", highlight=False)
    if found.left_out:
        console.print(f"left out, because of other models or classes, or excluded: {', '.join(found.left_out)}")
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("level", "frames", "stretches", "changed", "share", "95 % interval"):
        table.add_column(heading, justify="right")
    for step in found.steps:
        levels, interval = f"{step.low:.3f}-{step.high:.3f}", f"{step.share_low:.2f}-{step.share_high:.2f}"
        table.add_row(
            levels, f"{step.frames:,}", f"{step.stretches:,}", f"{step.changed:,}", f"{step.share:.3f}", interval
        )
    print_table(console, table)
    for said in _sentences(found):
        console.print(said, highlight=False, markup=False, soft_wrap=True)


def _sentences(found: UncertaintyCalibration) -> list[str]:
    fitted = found.uncertainty_map
    if fitted.reach:
        said = f"up to level {fitted.reach:.3f} only blind audits count; above it, people saw the pre-label"
    else:
        said = "there are too few blind audits, so frames count whose pre-label people saw"
    said += ", and overlooked some errors: these shares are too low"
    if len(found.steps) == 1:
        said += ". One share fits all levels: uncertainty does not tell these frames apart"
    if not found.written:
        return [said, f"map {fitted.revision} has these shares already: nothing was written"]
    return [
        said,
        f"map {fitted.revision} is written: the uncertainty of runs that are planned from now on is such a share. What "
        "max_doubt accepts changes with it, so their classes start their proof anew",
    ]
