"""The commands `autolabel list`, `status`, `logs`, `redrive`, `close`, `relabel`, `stop`, `triage`, `doctor`,
`capacity`, `cost`, `forget`, `deploy` and `destroy`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import boto3
import click
import msgspec
from rich.table import Table

from autolabel.contracts.verification import REVIEW_CHANGED, ReviewChoice, VerifyUncertain
from autolabel.contracts.wording import counted
from autolabel.labelling import FLOOR
from autolabel.labels import ExcludedKind
from autolabel_cli.completion import complete_drives, complete_models
from autolabel_cli.errors import CommandError
from autolabel_cli.operations.advice import next_step, waits_for
from autolabel_cli.operations.capacity import Capacity, Load, plan_capacity
from autolabel_cli.operations.checks import Diagnosis, Verdict, diagnose
from autolabel_cli.operations.dead_letters import QUEUES, DeadLetterQueue
from autolabel_cli.operations.deployment import deploy_stack, deployed_parameters, next_commands
from autolabel_cli.operations.drive_cost import CostItem, DriveCost, cost_of
from autolabel_cli.operations.excluding import ExclusionReceipt, Touched, decide, find_touched
from autolabel_cli.operations.forgetting import Forgetting, Receipt
from autolabel_cli.operations.inspection import Inspection
from autolabel_cli.operations.interventions import Intervention, redrive_run, relabel_drive, stop_run
from autolabel_cli.operations.leaving_out import close_without
from autolabel_cli.operations.log_lines import LEVELS, DriveLog, LogLine
from autolabel_cli.operations.overview import Wanted, look_over
from autolabel_cli.operations.overview_display import show_overview
from autolabel_cli.operations.review_times import ReviewNeed, ReviewTimes
from autolabel_cli.operations.status_display import show_status
from autolabel_cli.operations.teardown import check_idle, destroy_stack, what_stays
from autolabel_cli.operations.triage import look_back, show_retrospect
from autolabel_cli.operations.uncertainty_calibration import calibrate_uncertainty, show_calibration
from autolabel_cli.options import json_option, run_option, stack_option
from autolabel_cli.output import console, print_json, print_table
from autolabel_cli.stack import Stack

TIME = click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"])
_REASONS_SHOWN = 10
_MAX_DOUBTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7)
_FLOORS = (FLOOR, 0.1, 0.25)


@click.command()
@click.argument("drive", shell_complete=complete_drives)
@run_option
@click.option("--full", is_flag=True, help="Count answers and compare objects one by one: minutes for a large drive.")
@json_option
@stack_option
def status(drive: str, run: str | None, full: bool, as_json: bool, stack_name: str) -> None:
    """Show how far DRIVE is, what it waits for and what to do."""
    found = Inspection(Stack.find(stack_name), drive, now=time.time(), full=full).drive(run)
    if as_json:
        said = {"waits_for": waits_for(found), "next": next_step(found)}
        print_json({**msgspec.structs.asdict(found), **said})
    else:
        show_status(console, found)


@click.command("list")
@click.option("--waiting", is_flag=True, help="Only drives that wait: for uploads, answers, reviewers or an operator.")
@click.option(
    "--failed", is_flag=True, help="Only drives whose latest run failed, timed out, was stopped or has no execution."
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Show at most this number of drives."
)
@json_option
@stack_option
def list_drives(waiting: bool, failed: bool, limit: int, as_json: bool, stack_name: str) -> None:
    """List the drives with their state, and what they wait for.

    Open drives come first, then those whose latest run began last. The age is the time since the latest run began, or
    since the first upload of an open drive. `autolabel status` says more about one drive.
    """
    wanted = Wanted(failed, waiting)
    overview = look_over(Stack.find(stack_name), wanted, limit, time.time())
    if as_json:
        print_json(overview)
    else:
        show_overview(console, overview, wanted)


@click.command("logs")
@click.argument("drive", shell_complete=complete_drives)
@click.option("--run", help="Run of the drive, for example 0002: only the lines from its beginning to its end.")
@click.option(
    "--since",
    type=TIME,
    metavar="TIME",
    help="Only lines from this time on; by default from the drive's first upload on.",
)
@click.option("--until", type=TIME, metavar="TIME", help="Only lines before this time.")
@click.option("--level", type=click.Choice(LEVELS), default="INFO", show_default=True, help="Lowest level of a line.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=10_000, show_default=True, help="Show at most these lines."
)
@click.option("--follow", is_flag=True, help="Go on with new lines until the drive's latest run has ended.")
@json_option
@stack_option
def log_lines(
    drive: str,
    run: str | None,
    since: datetime | None,
    until: datetime | None,
    level: str,
    limit: int,
    follow: bool,
    as_json: bool,
    stack_name: str,
) -> None:
    """Show what all functions logged about DRIVE, in order.

    These are the lines that name the drive, and the other lines of the same calls, of at most 200 calls of each
    function. Times without a zone are UTC. With --json and --follow, each line is a JSON object of its own.
    """
    if follow and (run or until):
        raise click.UsageError("--follow has no end: leave out --run and --until")
    log = DriveLog(Stack.find(stack_name), drive, level)
    window = log.window(run, _seconds(since), _seconds(until))
    if follow:
        for line in log.follow(window, limit):
            if as_json:
                click.echo(msgspec.json.encode(line))
            else:
                _show_line(line)
        return
    found = log.read(window, limit)
    if as_json:
        print_json(found)
        return
    for line in found.lines:
        _show_line(line)
    if not found.lines:
        console.print(f"no line of {level} or above names drive {drive} since {found.since:%Y-%m-%d %H:%M:%S} UTC")
    elif not found.complete:
        last = found.lines[-1].at.isoformat(timespec="milliseconds")
        console.print(f"there are more lines: --since {last} goes on", style="yellow", highlight=False)


def _show_line(line: LogLine) -> None:
    at = line.at.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    more = f" {msgspec.json.encode(line.more).decode()}" if line.more else ""
    said = f"{at} {line.source:<12} {line.level:<8} {line.message}{more}"
    style = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}.get(line.level)
    console.print(said, style=style, highlight=False, markup=False, soft_wrap=True)


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


@click.command()
@click.argument("drive", required=False, shell_complete=complete_drives)
@run_option
@click.option("--queue", type=click.Choice(list(QUEUES)), help="Move back the dead letters of this queue.")
@click.option("--force", is_flag=True, help="Redrive a run even if a later run followed it.")
@json_option
@stack_option
def redrive(drive: str | None, run: str | None, queue: str | None, force: bool, as_json: bool, stack_name: str) -> None:
    """Resume the run of DRIVE, or move dead letters back.

    A run that failed, timed out or was stopped continues at the state where it ended. A run that waits begins its next
    reconcile pass now. If extractions of the drive's logs failed, they are resumed instead. It is safe to do this
    twice.
    """
    if (drive is None) == (queue is None):
        raise click.UsageError("give either a DRIVE or a --queue")
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
        console.print(f"the {queue.queue} dead-letter queue is empty")
    elif move.outcome == "already":
        console.print(f"another command is moving the {queue.queue} dead letters back: {move.moved} so far")
    else:
        console.print(f"moved {counted(move.moved, 'message')} back to the {queue.queue} queue")


@click.command()
@click.argument("drive", shell_complete=complete_drives)
@click.option("--without", "names", metavar="LOG", multiple=True, required=True, help="Name of the log; repeatable.")
@json_option
@stack_option
def close(drive: str, names: tuple[str, ...], as_json: bool, stack_name: str) -> None:
    """Close DRIVE without a log.

    This is for a log whose extraction failed and is not redriven, or that logs/recording.json names and that does not
    come. The drive is closed when its other logs have ended; its notes say who left the log out, and when. It is safe
    to do this twice.
    """
    _tell(close_without(Stack.find(stack_name), drive, names, time.time()), as_json)


@click.command()
@click.argument("drive", shell_complete=complete_drives)
@click.option(
    "--review",
    type=click.Choice(get_args(ReviewChoice)),
    default=REVIEW_CHANGED,
    show_default=True,
    help="Which frames with a reviewer's label from an earlier run reviewers get again: those that the new pre-labels "
    "contradict, none, or all. Three kinds come again with every choice: a reviewer was unsure; the job did not offer "
    "a class of the new run; the label cannot be used.",
)
@json_option
@stack_option
def relabel(drive: str, review: ReviewChoice, as_json: bool, stack_name: str) -> None:
    """Label DRIVE again as a new run.

    The new run uses the drive.json, the frames and the models as they are now. It uses existing answers again, and
    submits frames that came late, were overwritten or failed. It ends the open jobs of earlier runs, and keeps what
    reviewers have answered. Audits are asked in any case.
    """
    _tell(relabel_drive(Stack.find(stack_name), drive, review), as_json)


@click.command()
@click.argument("drive", shell_complete=complete_drives)
@run_option
@json_option
@stack_option
def stop(drive: str, run: str | None, as_json: bool, stack_name: str) -> None:
    """Stop the run of DRIVE.

    `autolabel redrive` resumes it. The labelling jobs of the run stop as well; after a redrive, new jobs ask for the
    frames that have no answer. Endpoints still answer the frames that they have taken, and the answers are kept.
    """
    _tell(stop_run(Stack.find(stack_name), drive, run), as_json)


@click.command()
@click.argument("drives", nargs=-1, shell_complete=complete_drives)
@click.option(
    "--max-doubt",
    "max_doubts",
    multiple=True,
    type=click.FloatRange(0, 1, max_open=True),
    default=_MAX_DOUBTS,
    show_default=True,
    help="Limit of the uncertainty to examine; repeatable.",
)
@click.option(
    "--floor",
    "floors",
    multiple=True,
    type=click.FloatRange(0, 1),
    default=_FLOORS,
    show_default=True,
    help="Confidence from which a candidate below the threshold makes a frame uncertain; repeatable.",
)
@click.option(
    "--target",
    type=click.FloatRange(0.5, 0.999),
    default=VerifyUncertain().target,
    show_default=True,
    help="Lower bound of precision and recall from which a class is proven.",
)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Fit the uncertainty of frames to what reviewers changed; later runs use it, and proof starts anew.",
)
@json_option
@stack_option
def triage(
    drives: tuple[str, ...],
    max_doubts: tuple[float, ...],
    floors: tuple[float, ...],
    target: float,
    calibrate: bool,
    as_json: bool,
    stack_name: str,
) -> None:
    """Show which frames could have been accepted without a reviewer.

    The frames are those of the published DRIVES, or of all drives. For each limit (`max_doubt`) and floor, the table
    shows how many frames are within the limit, the errors and seconds of those that reviewers saw, and how many show
    proven classes only. The proposal is the limit that accepts the most frames at the first floor, by default
    the pipeline's own.

    With --calibrate it shows instead, by uncertainty, the share of the reviewed frames that needed a change, and writes
    the map that later runs use: then 0.2 means that one in five such frames needs a change.
    """
    stack = Stack.find(stack_name)
    if calibrate:
        fitted = calibrate_uncertainty(stack, drives, VerifyUncertain().stretch)
        return print_json(fitted) if as_json else show_calibration(console, fitted)
    found = look_back(stack, drives, max_doubts, floors, VerifyUncertain(target=target))
    if as_json:
        print_json(found)
    else:
        show_retrospect(console, found)
    return None


@click.command()
@click.option("--fire", is_flag=True, help="Also set one alarm to ALARM for a moment, to see whether it publishes.")
@click.option("--frames-per-hour", "frames", type=click.IntRange(min=1), help="Load that the quotas must bear.")
@json_option
@stack_option
@click.pass_context
def doctor(context: click.Context, fire: bool, frames: int | None, as_json: bool, stack_name: str) -> None:
    """Check that the stack can take drives, and can tell operators when it cannot.

    The checks are of the deployment, your permissions, the work team or Label Studio, the buckets, the queues, the
    endpoints, the account's quotas, the subscribers of the ops topic, and the alarms. Each finding says what to do.
    Nothing is changed, unless you give --fire. The exit status is 1 if there is a fault.
    """
    found = diagnose(Stack.find(stack_name), time.time(), fire=fire, load=Load(frames) if frames else None)
    if as_json:
        print_json(found)
    else:
        _show_diagnosis(found)
    if not found.healthy:
        context.exit(1)


def _show_diagnosis(found: Diagnosis) -> None:
    styles: dict[Verdict, str] = {"ok": "green", "warning": "yellow", "fault": "red", "unknown": "dim"}
    for one in found.findings:
        said = f"{one.verdict:<8} {one.check}: {one.detail}"
        console.print(said, style=styles[one.verdict], highlight=False, markup=False, soft_wrap=True)
        if one.fix:
            console.print(f"         → {one.fix}", highlight=False, markup=False, soft_wrap=True)
    counts = Counter(one.verdict for one in found.findings)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in styles if counts[verdict])
    console.print(f"stack {found.stack}: {said}", highlight=False, markup=False, soft_wrap=True)


@click.command()
@click.option("--frames-per-hour", "frames", type=click.IntRange(min=1), required=True, help="Frames that come.")
@click.option("--drives", type=click.IntRange(min=1), default=1, show_default=True, help="Drives that come in an hour.")
@click.option(
    "--reviewed",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="Share of the frames that reviewers get; `autolabel triage` shows what the policy doubtful would accept.",
)
@click.option("--seconds", "given", metavar="MODEL=SECONDS", multiple=True, help="Time of a frame; repeatable.")
@click.option("--boxes", type=click.FloatRange(0), help="Boxes in a frame: plan the reviewers as well.")
@click.option(
    "--review-seconds",
    "times",
    type=click.FloatRange(0),
    nargs=2,
    metavar="FRAME BOX",
    help="Seconds of a reviewer for a frame without boxes, and for each box more; by default as measured.",
)
@click.option("--wage", default=20.0, show_default=True, type=click.FloatRange(0), help="Dollars of an hour of review.")
@json_option
@stack_option
def capacity(
    frames: int,
    drives: int,
    reviewed: float,
    given: tuple[str, ...],
    boxes: float | None,
    times: tuple[float, float] | None,
    wage: float,
    as_json: bool,
    stack_name: str,
) -> None:
    """Say what a load needs: instances, concurrency, dollars, and quotas to request.

    The time of a frame in each model is what CloudWatch measured in 14 days, unless you give it. The prices are of one
    Region and date, which the output names; they are for planning. With --boxes it also says how many reviewers the
    load needs, by the times that the back-end measured in published runs.
    """
    if times and boxes is None:
        raise click.UsageError("--review-seconds needs --boxes")
    seconds = dict(map(_model_seconds, given))
    known = ReviewTimes(*times) if times else None
    planned = plan_capacity(Stack.find(stack_name), Load(frames, drives, reviewed, seconds, boxes, known, wage))
    if as_json:
        print_json(planned)
    else:
        _show_capacity(planned)


def _model_seconds(text: str) -> tuple[str, float]:
    model, _, seconds = text.partition("=")
    try:
        given = float(seconds)
    except ValueError:
        given = 0.0
    if not model or not 0 < given < 3_600:
        raise click.BadParameter(f"{text!r} is not MODEL=SECONDS, for example yolox-nano=0.05", param_hint="--seconds")
    return model, given


@click.command()
@click.argument("drive", shell_complete=complete_drives)
@run_option
@json_option
@stack_option
def cost(drive: str, run: str | None, as_json: bool, stack_name: str) -> None:
    """Estimate what DRIVE cost, and what its storage costs a month.

    Each item says whether its quantity was counted or estimated. The prices are of one Region and date, which the
    output names; they are for planning.
    """
    found = cost_of(Stack.find(stack_name), drive, run)
    if as_json:
        print_json(found)
    else:
        _show_cost(found)


def _show_cost(found: DriveCost) -> None:
    table = Table(title=f"{found.drive}, run {found.run}: {counted(found.frames, 'frame')}", title_justify="left")
    for name in ("what", "quantity", "dollars", "known", "note"):
        table.add_column(name, justify="right" if name in ("quantity", "dollars") else "left")

    def rows(items: Iterable[CostItem], total: str, dollars: float) -> None:
        for item in items:
            price = "unknown" if item.dollars is None else f"{item.dollars:,.4f}"
            table.add_row(item.what, f"{item.quantity:,.4g} {item.unit}", price, item.known, item.note)
        table.add_row(total, "", f"{dollars:,.4f}", "", end_section=True)

    left_out = f" without {', '.join(found.unknown)}" if found.unknown else ""
    rows(found.items, f"once{left_out}", found.once)
    rows(found.storage, "storage, each month", found.monthly)
    print_table(console, table)
    other = "" if found.prices_region == found.region else f"; the stack is in {found.region}"
    said = f"prices: {found.prices_region}, {found.prices_date}{other}; {found.prices_source}"
    console.print(said, style="dim", highlight=False, soft_wrap=True)


def _show_capacity(planned: Capacity) -> None:
    for need in planned.models:
        how = "measured" if need.measured else "given"
        price = "price unknown" if need.dollars is None else f"${need.dollars:,.2f} an hour"
        said = (
            f"{need.model}: {counted(need.instances, 'instance')} of {need.instance} ({price}); a frame takes "
            f"{need.seconds:.3f} s ({how}), {need.at_once} at once on an instance"
        )
        console.print(said, highlight=False, markup=False, soft_wrap=True)
    functions = ", ".join(f"{name} {count}" for name, count in planned.functions.items())
    console.print(f"concurrent calls: {functions}", highlight=False, soft_wrap=True)
    spent = planned.dollars
    inference = "unknown" if spent.inference is None else f"${spent.inference:,.2f}"
    said = (
        f"an hour: inference {inference}, orchestration ${spent.orchestration:,.2f}, Ground Truth ${spent.review:,.2f}"
    )
    console.print(said, highlight=False, soft_wrap=True)
    if planned.review:
        _show_review(planned.review)
    prices = planned.prices
    other = "" if prices.region == planned.region else f"; the stack is in {planned.region}"
    said = f"prices: {prices.region}, {prices.date}{other}; {prices.source}"
    console.print(said, style="dim", highlight=False, soft_wrap=True)
    for request in (*planned.changes, *(f"quota {quota}" for quota in planned.quotas)):
        console.print(f"→ {request}", highlight=False, markup=False, soft_wrap=True)


def _show_review(need: ReviewNeed) -> None:
    times = need.times
    how = f"measured on {counted(times.frames, 'frame')}" if times.frames else "given"
    said = (
        f"reviewers: {counted(need.reviewers, 'reviewer')} at a time; {need.hours:,.1f} active hours and "
        f"${need.dollars:,.2f} for each hour of the load; a frame of {need.boxes:g} boxes takes {need.seconds:.1f} s: "
        f"{times.frame:.1f} s, and {times.box:.1f} s for each box ({how})"
    )
    console.print(said, highlight=False, markup=False, soft_wrap=True)
    if times.frames and not times.least <= need.boxes <= times.most:
        said = f"→ the measured frames have {times.least} to {times.most} boxes: {need.boxes:g} is a guess"
        console.print(said, style="yellow", highlight=False, markup=False, soft_wrap=True)


@click.command()
@click.argument("drive", required=False, shell_complete=complete_drives)
@click.option("--reviewer", help="Reviewer whose labels to find: the back-end's name, or the digits in the report.")
@click.option(
    "--model", shell_complete=complete_models, help="Model whose labels to find: NAME, or NAME.REVISION for one."
)
@click.option("--exclude", "decision", flag_value="exclude", help="Let the labels that were found count no longer.")
@click.option("--include", "decision", flag_value="include", help="Take an exclusion back.")
@click.option("--relabel", is_flag=True, help="Exclude the labels, and label each of the drives again.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--receipt", type=click.Path(path_type=Path, dir_okay=False), help="Also write the receipt into this file, as JSON."
)
@json_option
@stack_option
def forget(
    drive: str | None,
    reviewer: str | None,
    model: str | None,
    decision: str | None,
    relabel: bool,
    yes: bool,
    receipt: Path | None,
    as_json: bool,
    stack_name: str,
) -> None:
    """Erase DRIVE everywhere, for good; or find and exclude the labels of a reviewer or a model.

    Of a DRIVE, all versions of its objects in both buckets, its items in the ledger, its dead letters, its projects in
    Label Studio and its evidence are erased, and its labelling jobs are stopped. The receipt counts them, and says what
    AWS does not let anybody erase. Give the command again when it was broken off. Do not use the drive's name again for
    90 days.

    With --reviewer or --model, the command lists the published runs with their labels, and changes nothing. --exclude
    writes a decision into the label bucket: exports, training, calibrations, comparisons, evidence and later runs leave
    these labels out. Datasets stay as they are, and --include takes the decision back.
    """
    if sum(one is not None for one in (drive, reviewer, model)) != 1:
        raise click.UsageError("give either a DRIVE, a --reviewer or a --model")
    if drive is not None:
        if decision or relabel:
            raise click.UsageError("--exclude, --include and --relabel go with --reviewer or --model")
        return _forget_drive(drive, yes=yes, receipt=receipt, as_json=as_json, stack_name=stack_name)
    if relabel and decision == "include":
        raise click.UsageError("--relabel excludes the labels: leave out --include")
    kind: ExcludedKind = "reviewer" if reviewer is not None else "model"
    stack = Stack.find(stack_name)
    with console.status("") if console.is_terminal and not as_json else nullcontext() as shown:

        def tell(what: str) -> None:
            if shown:
                shown.update(what)

        touched = find_touched(stack, kind, reviewer or model or "", tell)
        if shown:
            shown.stop()
        if not as_json:
            _show_touched(touched)
        if not (decision or relabel):
            if receipt:
                _write_receipt(receipt, touched)
            return print_json(touched) if as_json else None
        if not yes:
            _ask(f"This {_says(decision, relabel)} {kind} {touched.name}.", touched.name)
        if shown:
            shown.start()
        done = decide(stack, touched, time.time(), excluded=decision != "include", relabel=relabel, tell=tell)
    if receipt:
        _write_receipt(receipt, done)
    if as_json:
        print_json(done)
    else:
        _show_decision(done)
    if not done.complete:
        raise CommandError("some drives were not labelled again: the reasons are above; give the command again then")
    return None


def _says(decision: str | None, relabel: bool) -> str:
    if decision == "include":
        return "lets labels count again of"
    return "excludes the labels" + (", and labels the drives again," if relabel else "") + " of"


def _show_touched(touched: Touched) -> None:
    for run in touched.runs:
        said = f"  {run.drive} {run.run}: {counted(run.frames, 'frame')} with {counted(run.boxes, 'box', 'boxes')}"
        if run.shown:
            said += f"; shown to persons in {counted(run.shown, 'further frame')}"
        if learnt := run.evidence + run.corrections:
            said += f"; {counted(learnt, 'object')} that later runs learn from"
        console.print(said, highlight=False, markup=False, soft_wrap=True)
    state = ", excluded" if touched.excluded else ""
    said = (
        f"{touched.kind} {touched.name}{state}: {counted(touched.frames, 'frame')} in "
        f"{counted(len(touched.runs), 'published run')} of {counted(len(touched.drives), 'drive')}"
    )
    console.print(said, highlight=False, markup=False, soft_wrap=True)
    if touched.open_runs:
        said = f"not published yet, and so not looked at: {', '.join(touched.open_runs)}"
        console.print(said, style="yellow", highlight=False, markup=False, soft_wrap=True)


def _show_decision(done: ExclusionReceipt) -> None:
    state = "is excluded" if done.excluded else "counts again"
    said = f"{done.touched.kind} {done.touched.name} {state}: {done.document}"
    console.print(said, highlight=False, markup=False, soft_wrap=True)
    for one in done.relabelled:
        console.print(f"  {one.detail}", highlight=False, markup=False, soft_wrap=True)
    if done.excluded and done.touched.open_runs:
        said = "→ give the command again when the open runs are published, to exclude their evidence too"
        console.print(said, highlight=False, markup=False, soft_wrap=True)


def _write_receipt(path: Path, receipt: msgspec.Struct) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(receipt), indent=2) + b"\n")


def _forget_drive(drive: str, *, yes: bool, receipt: Path | None, as_json: bool, stack_name: str) -> None:
    with console.status("") if console.is_terminal and not as_json else nullcontext() as shown:
        forgetting = Forgetting(
            Stack.find(stack_name), drive, lambda what: shown.update(f"erasing: {what}") if shown else None
        )
        if shown:
            shown.stop()
        if not yes:
            runs = counted(len(forgetting.runs), "run")
            _ask(f"This erases all frames, labels and records of drive {drive} ({runs}) for good.", drive)
        if shown:
            shown.start()
        done = forgetting.erase()
    if receipt:
        _write_receipt(receipt, done)
    if as_json:
        print_json(done)
    else:
        _show_receipt(done)
    if not done.complete:
        raise CommandError(f"something still writes data of drive {drive}: give the command again in an hour")


def _ask(warning: str, name: str) -> None:
    """Ask for the name of what goes. CommandError when another one is typed."""
    if not sys.stdin.isatty():
        raise click.UsageError("without a terminal, give --yes")
    if click.prompt(f"{warning}\nType {name} to go on", err=True, default="", show_default=False) != name:
        raise CommandError(f"nothing was done, because {name} was not typed")


def _show_receipt(receipt: Receipt) -> None:
    for one in receipt.erased:
        console.print(f"  {one.count:,} {one.what}: {one.place}", highlight=False, markup=False, soft_wrap=True)
    found = "is erased" if receipt.erased else f"is not in stack {receipt.stack}: nothing was erased"
    console.print(f"drive {receipt.drive} {found}", highlight=False, markup=False, soft_wrap=True)
    if receipt.erased:
        console.print("what stays:")
        for stays in receipt.stays:
            until = f" (until {stays.until:%Y-%m-%d})" if stays.until else ""
            console.print(f"  {stays.what}: {stays.why}{until}", highlight=False, markup=False, soft_wrap=True)


@click.command()
@click.option("--workteam", help="Name or ARN of the Ground Truth work team that verifies labels.")
@click.option("--label-studio", help="ARN of the secret with Label Studio's connection, instead of a work team.")
@click.option("--email", help="Address for alarms, failed runs and notices about drives.")
@click.option("--parameter", "given", metavar="NAME=VALUE", multiple=True, help="Further setting; repeatable.")
@click.option("--yes", is_flag=True, help="Do not ask, neither for settings nor before the changes are made.")
@json_option
@stack_option
def deploy(
    workteam: str | None,
    label_studio: str | None,
    email: str | None,
    given: tuple[str, ...],
    yes: bool,
    as_json: bool,
    stack_name: str,
) -> None:
    """Deploy the stack from a checkout, after `make build`.

    It calls `sam deploy`. A first deployment needs a work team or a Label Studio, and asks for what is not given. Later
    ones keep the settings that are not given. docs/operators/deploying.md has all settings.
    """
    before = deployed_parameters(boto3.client("cloudformation"), stack_name)
    if before is None and not (yes or as_json):
        if not (workteam or label_studio):
            workteam = click.prompt("Work team (its name or ARN; empty for Label Studio)", default="", err=True)
            label_studio = (
                None if workteam else click.prompt("ARN of the secret with Label Studio's connection", err=True)
            )
        email = email or click.prompt("E-mail address for alarms (empty for none)", default="", err=True)
    if before is None and not (workteam or label_studio):
        raise click.UsageError("a first deployment needs --workteam or --label-studio")
    parameters = _deployment(workteam, label_studio, email)
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--parameter")
        parameters[name] = value
    deploy_stack(stack_name, parameters, confirm=not (yes or as_json))
    following = next_commands(Stack.find(stack_name))
    if as_json:
        print_json({"stack": stack_name, "parameters": parameters, "next": following})
    else:
        said = f"stack {stack_name} is deployed; next: {', then '.join(following)}"
        console.print(said, highlight=False, markup=False, soft_wrap=True)


def _deployment(workteam: str | None, label_studio: str | None, email: str | None) -> dict[str, str]:
    """Return the parameters of template.yaml for these answers."""
    parameters = dict[str, str]()
    if workteam:
        # The other one is emptied, because an earlier deployment may have set it.
        by_arn = workteam.startswith("arn:")
        parameters |= {"WorkteamArn": workteam if by_arn else "", "WorkteamName": "" if by_arn else workteam}
    if label_studio:
        parameters["LabelStudioConnectionArn"] = label_studio
        if not workteam:
            parameters["VerificationBackEnd"] = "label-studio"
    if email:
        parameters["OpsEmail"] = email
    return parameters


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@stack_option
def destroy(yes: bool, as_json: bool, stack_name: str) -> None:
    """Delete the stack, and its models first.

    The buckets and the ledger stay with their data; docs/operators/deploying.md says how a new stack takes them in. The
    command refuses while runs are running. Give it again when it was broken off.
    """
    stack = Stack.find(stack_name)
    check_idle(stack)
    if not yes:
        stays = "".join(f"  {one}\n" for one in what_stays(stack))
        _ask(f"This deletes stack {stack.name} and the endpoints of its models. What stays:\n{stays}", stack.name)
    with console.status("") if console.is_terminal and not as_json else nullcontext() as shown:
        done = destroy_stack(stack, lambda text: shown.update(text) if shown else None)
    if as_json:
        print_json(done)
        return
    models = f" with {', '.join(done.models)}" if done.models else ""
    kept = f"; endpoints that it did not deploy are kept: {', '.join(done.kept)}" if done.kept else ""
    console.print(f"stack {done.stack} is deleted{models}{kept}", highlight=False, markup=False, soft_wrap=True)
    for one in done.stays:
        console.print(f"  stays: {one}", highlight=False, markup=False, soft_wrap=True)


def _tell(intervention: Intervention, as_json: bool) -> None:
    if as_json:
        print_json(intervention._asdict())
    else:
        console.print(intervention.detail, highlight=False, markup=False, soft_wrap=True)
