"""The commands `autolabel status`, `redrive`, `relabel`, `stop` and `triage`."""

from __future__ import annotations

import time
from collections import Counter

import click
import msgspec

from autolabel.contracts.verification import VerifyUncertain
from autolabel.labelling.uncertainty import FLOOR
from autolabel_cli.operations.advice import next_step, waits_for
from autolabel_cli.operations.dead_letters import QUEUES, DeadLetterQueue
from autolabel_cli.operations.inspection import Inspection
from autolabel_cli.operations.interventions import Intervention, redrive_run, relabel_drive, stop_run
from autolabel_cli.operations.status_display import show_status
from autolabel_cli.operations.triage import look_back, show_retrospect
from autolabel_cli.options import json_option, run_option, stack_option
from autolabel_cli.output import console, print_json
from autolabel_cli.stack import Stack

_REASONS_SHOWN = 10
_MAX_DOUBTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7)
_FLOORS = (FLOOR, 0.1, 0.25)


@click.command()
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
        print_json({**msgspec.structs.asdict(found), **said})
    else:
        show_status(console, found)


@click.command()
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
        print_json({"queue": queue.queue, "outcome": move.outcome, "moved": move.moved, "reasons": reasons})
    elif move.outcome == "nothing":
        console.print(f"there are no {queue.queue} dead letters")
    elif move.outcome == "already":
        console.print(f"the {queue.queue} dead letters are being moved back already: {move.moved} so far")
    else:
        console.print(f"{move.moved} messages are back in the {queue.queue} queue")


@click.command()
@click.argument("drive")
@json_option
@stack_option
def relabel(drive: str, as_json: bool, stack_name: str) -> None:
    """Label DRIVE again as a new run: with its drive.json, its frames and the models as they are now.

    Answers that are there are used again. Frames that came late, were overwritten or failed are submitted.
    """
    _tell(relabel_drive(Stack.find(stack_name), drive), as_json)


@click.command()
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


@click.command()
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
@click.option("--target", type=click.FloatRange(0.5, 0.999), default=VerifyUncertain().target, show_default=True)
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
    found = look_back(Stack.find(stack_name), drives, max_doubts, floors, VerifyUncertain(target=target))
    if as_json:
        print_json(found)
    else:
        show_retrospect(console, found)


def _tell(intervention: Intervention, as_json: bool) -> None:
    if as_json:
        print_json(intervention._asdict())
    else:
        console.print(intervention.detail, highlight=False, markup=False, soft_wrap=True)
