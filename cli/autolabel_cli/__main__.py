"""The `autolabel` command (`python -m autolabel_cli`).

They end with 0 when what was asked for is done or was done before, with 1 when it is refused or failed (the reason is
one line on standard error), and with 2 when the command itself is wrong.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import click
import msgspec
from rich.console import Console

from autolabel.contracts.verification import Policy, VerifyDoubtful
from autolabel.labelling.uncertainty import FLOOR
from autolabel_cli.datasets.commands import export
from autolabel_cli.drives.display import RunDisplay
from autolabel_cli.drives.progress import RunView
from autolabel_cli.drives.recordings import find_recording
from autolabel_cli.drives.results import fetch_run
from autolabel_cli.drives.uploads import EVERYTHING, check_names, close_drive, document_of, upload_frames
from autolabel_cli.errors import CommandError, CommandGroup
from autolabel_cli.models.catalogue import check_models
from autolabel_cli.models.commands import models
from autolabel_cli.operations.advice import next_step, waits_for
from autolabel_cli.operations.dead_letters import QUEUES, DeadLetterQueue
from autolabel_cli.operations.inspection import Inspection
from autolabel_cli.operations.interventions import Intervention, redrive_run, relabel_drive, stop_run
from autolabel_cli.operations.status_display import show_status
from autolabel_cli.operations.triage import look_back, show_retrospect
from autolabel_cli.stack import Stack

_REASONS_SHOWN = 10
# With the contract's defaults; who wants others writes drive.json.
_POLICIES: dict[str, Policy] = {"all": EVERYTHING, "doubtful": VerifyDoubtful()}
_MAX_DOUBTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7)
_FLOORS = (FLOOR, 0.1, 0.25)
console = Console()
stack_option = click.option("--stack", "stack_name", default="autolabel", show_default=True, help="The deployed stack.")
run_option = click.option("--run", help="The run of the drive; without it, the latest.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Turn recorded drives into labelled datasets."""


@main.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--drive", required=True, help="The drive's name.")
@click.option("--camera", default="front", show_default=True, help="The camera's name.")
@click.option("--vehicle", default="unknown", show_default=True, help="The vehicle that recorded it.")
@click.option("--model", "models", multiple=True, help="A model instead of the active ones; may be repeated.")
@click.option("--note", "notes", multiple=True, help="What readers of the report should know.")
@click.option("--limit", type=click.IntRange(min=1), help="Upload the first frames only.")
@click.option(
    "--policy",
    type=click.Choice(list(_POLICIES)),
    default="all",
    show_default=True,
    help="Frames that people verify: all, or the doubtful ones and audits.",
)
@stack_option
def upload(
    source: Path,
    drive: str,
    camera: str,
    vehicle: str,
    models: tuple[str, ...],
    notes: tuple[str, ...],
    limit: int | None,
    policy: str,
    stack_name: str,
) -> None:
    """Upload SOURCE, a video file or a folder of images, as a drive of one camera, and close it."""
    check_names(drive, camera)
    recording = find_recording(source)
    stack = Stack.find(stack_name)
    if models:
        check_models(stack, models)
    with RunDisplay(console) as display:
        total, frames = recording.count(limit), recording.frames(limit)
        count = upload_frames(stack, drive, camera, frames, lambda n: display.count("uploaded", n, total))
    close_drive(stack, drive, document_of(vehicle, camera, count, models or None, notes, _POLICIES[policy]))
    skipped = f", skipped {len(recording.skipped)} files that are no PNG or JPEG" if recording.skipped else ""
    console.print(f"drive {drive}: {count} frames uploaded and closed{skipped}", highlight=False)


@main.command()
@click.argument("drive")
@run_option
@stack_option
def watch(drive: str, run: str | None, stack_name: str) -> None:
    """Follow the run of DRIVE until its execution ends."""
    stack = Stack.find(stack_name)
    view = RunView(stack, drive, stack.run_of(drive, run))
    with RunDisplay(console) as display:
        progress = view.follow(display.show)
    if progress.status != "SUCCEEDED":
        raise CommandError(f"{view.arn} ended as {progress.status}: {progress.failure}")
    console.print(f"{view.arn}: SUCCEEDED", highlight=False)


@main.command()
@click.argument("drive")
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, help="The folder to write into.")
@run_option
@stack_option
def fetch(drive: str, folder: Path, run: str | None, stack_name: str) -> None:
    """Fetch the summary, manifests and report of DRIVE."""
    stack = Stack.find(stack_name)
    summary = fetch_run(stack, drive, stack.run_of(drive, run), folder)
    frames = ", ".join(f"{count} {name}" for name, count in summary["frames"].items())
    console.print(f"{folder}: frames {frames}; {summary['boxes']} boxes", highlight=False, soft_wrap=True)


@main.command()
@click.argument("drive")
@run_option
@click.option("--full", is_flag=True, help="Count the answers one by one; takes minutes for a large drive.")
@json_option
@stack_option
def status(drive: str, run: str | None, full: bool, as_json: bool, stack_name: str) -> None:
    """Tell how far DRIVE is, what it waits for and what to do."""
    found = Inspection(Stack.find(stack_name), drive, now=time.time(), full=full).drive(run)
    if as_json:
        said = {"waits_for": waits_for(found), "next": next_step(found)}
        _print_json({**msgspec.structs.asdict(found), **said})
    else:
        show_status(console, found)


@main.command()
@click.argument("drive", required=False)
@run_option
@click.option("--queue", type=click.Choice(list(QUEUES)), help="Move the dead letters of this queue back instead.")
@click.option("--force", is_flag=True, help="Redrive a run though a later one has followed it.")
@json_option
@stack_option
def redrive(drive: str | None, run: str | None, queue: str | None, force: bool, as_json: bool, stack_name: str) -> None:
    """Have the run of DRIVE go on, or move the dead letters of a queue back.

    A run that ended badly goes on at the state where it ended; one that waits looks once more. Doing it twice does no
    harm.
    """
    if (drive is None) == (queue is None):
        raise click.UsageError("name either a DRIVE or a --queue")
    stack = Stack.find(stack_name)
    if drive:
        _tell(redrive_run(stack, drive, run, force=force), as_json)
    elif queue:
        _redrive_queue(DeadLetterQueue(stack, queue), as_json)


def _redrive_queue(queue: DeadLetterQueue, as_json: bool) -> None:
    reasons = Counter(letter.reason for letter in queue.look(queue.count()))
    if not as_json:
        for reason, count in reasons.most_common(_REASONS_SHOWN):
            console.print(f"  {count} × {reason}", highlight=False, markup=False, soft_wrap=True)
    move = queue.move_back(lambda moved, total: None)
    if as_json:
        _print_json({"queue": queue.queue, "outcome": move.outcome, "moved": move.moved, "reasons": reasons})
    elif move.outcome == "nothing":
        console.print(f"there are no {queue.queue} dead letters")
    elif move.outcome == "already":
        console.print(f"the {queue.queue} dead letters are being moved back already: {move.moved} so far")
    else:
        console.print(f"{move.moved} messages are back in the {queue.queue} queue")


@main.command()
@click.argument("drive")
@json_option
@stack_option
def relabel(drive: str, as_json: bool, stack_name: str) -> None:
    """Label DRIVE again as a new run: with its drive.json, its frames and the models as they are now.

    Answers that are there are used again. Frames that came late, were overwritten or failed are submitted.
    """
    _tell(relabel_drive(Stack.find(stack_name), drive), as_json)


@main.command()
@click.argument("drive")
@run_option
@json_option
@stack_option
def stop(drive: str, run: str | None, as_json: bool, stack_name: str) -> None:
    """Stop the run of DRIVE; `redrive` goes on with it.

    Its labelling jobs are stopped with it: what people have saved stays in S3, but after a redrive new jobs ask for
    these frames again. Frames that endpoints have taken are answered all the same, and the answers are kept.
    """
    _tell(stop_run(Stack.find(stack_name), drive, run), as_json)


@main.command()
@click.argument("drives", nargs=-1)
@click.option(
    "--max-doubt",
    "max_doubts",
    multiple=True,
    type=click.FloatRange(0, 1, max_open=True),
    default=_MAX_DOUBTS,
    show_default=True,
    help="A setting to look at; may be repeated.",
)
@click.option(
    "--floor",
    "floors",
    multiple=True,
    type=click.FloatRange(0, 1),
    default=_FLOORS,
    show_default=True,
    help="The least confidence at which a candidate under the threshold is a doubt; may be repeated.",
)
@click.option("--target", type=click.FloatRange(0.5, 0.999), default=VerifyDoubtful().target, show_default=True)
@json_option
@stack_option
def triage(
    drives: tuple[str, ...],
    max_doubts: tuple[float, ...],
    floors: tuple[float, ...],
    target: float,
    as_json: bool,
    stack_name: str,
) -> None:
    """Tell what of the published DRIVES, or of all, could have been accepted without a person.

    For each setting: how many frames are in so little doubt, what was wrong in those that people saw, the seconds that
    it took them, and how many frames show proven classes only. The proposal accepts the most, at the pipeline's own
    floor.
    """
    found = look_back(Stack.find(stack_name), drives, max_doubts, floors, VerifyDoubtful(target=target))
    if as_json:
        _print_json(found)
    else:
        show_retrospect(console, found)


def _tell(intervention: Intervention, as_json: bool) -> None:
    if as_json:
        _print_json(intervention._asdict())
    else:
        console.print(intervention.detail, highlight=False, markup=False, soft_wrap=True)


def _print_json(document: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))


main.add_command(export)
main.add_command(models)


if __name__ == "__main__":
    main(prog_name="autolabel")
