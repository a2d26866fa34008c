"""Interventions of operators: redrive a run, stop it, relabel its drive."""

from __future__ import annotations

import getpass
import hashlib
import time
from contextlib import suppress
from typing import NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from autolabel.aws import AwsAnnouncements, error_code
from autolabel.contracts.drive import execution_name
from autolabel.contracts.errors import OtherReview
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import REVIEW_CHANGED, ReviewChoice
from autolabel.contracts.wording import counted
from autolabel.drives import Closing
from autolabel.labels import job_labels
from autolabel.models import Catalogue
from autolabel.verification import taken_over_by
from autolabel_cli.drives.log_status import redrive_logs
from autolabel_cli.errors import CommandError
from autolabel_cli.operations.advice import waits_for
from autolabel_cli.operations.drive_status import NOT_STARTED, Execution
from autolabel_cli.operations.inspection import Inspection
from autolabel_cli.stack import Stack

# What a relabelling does with the labels of reviewers, by its choice.
_REVIEWS: dict[ReviewChoice, str] = {
    "changed": "it keeps the {labels} that the new pre-labels do not contradict",
    "none": "it keeps the {labels} whose jobs offered all its classes",
    "all": "reviewers get all frames again, in spite of the {labels}",
}


class Intervention(NamedTuple):
    """Result of a command. `outcome`: a word for programs; `detail`: a sentence for operators."""

    drive: str
    run: str
    outcome: str
    detail: str


def redrive_run(stack: Stack, drive: str, named: str | None = None, *, force: bool = False) -> Intervention:
    """Resume a drive: its failed extractions of logs, else a run that ended badly or that waits.

    CommandError for a drive without a run, for a run that cannot be redriven or whose reviewers' work a later run took
    over, and, without `force`, for one that a later run followed. Otherwise reviewers would get the same frames twice.
    """
    if logs := redrive_logs(stack, drive):
        return Intervention(
            drive, "", "redriven", f"the extraction of {counted(len(logs), 'log')} of drive {drive} is redriven"
        )
    run = _known_run(stack, drive, named)
    inspection = Inspection(stack, drive, now=time.time())
    execution = inspection.execution(run)
    if execution.status == NOT_STARTED:
        raise CommandError(f"run {run} of drive {drive} has no execution: autolabel relabel {drive} starts one")
    if execution.status == "SUCCEEDED":
        return Intervention(drive, run, "nothing", f"run {run} of drive {drive} succeeded: there is nothing to redrive")
    if execution.status == "RUNNING":
        return _wake(stack, drive, run, execution)
    latest = stack.run_of(drive)
    if by := taken_over_by(stack.labels, RunFolder(drive, run)):
        raise CommandError(
            f"run {run} of drive {drive} cannot go on, because run {by} took over the work of its reviewers: "
            f"autolabel status {drive} shows run {by}"
        )
    if run != latest and not force:
        raise CommandError(
            f"run {run} of drive {drive} was followed by run {latest}: a redrive would ask reviewers for the same "
            "frames again; --force does it anyway"
        )
    if execution.not_redrivable:
        raise CommandError(
            f"run {run} of drive {drive} cannot be redriven ({execution.not_redrivable}): "
            f"autolabel relabel {drive} labels it as a new run"
        )
    if inspection.forgets_answers(run, execution):
        raise CommandError(
            f"run {run} of drive {drive} began with an earlier version, and a redrive would ask reviewers again for "
            f"frames that they have answered: autolabel relabel {drive} takes their answers into a new run"
        )
    try:
        stack.client("stepfunctions").redrive_execution(executionArn=execution.arn, clientToken=_token(execution))
    except ClientError as e:
        # Another command was faster, so report its result.
        if error_code(e) != "ExecutionNotRedrivable" or inspection.execution(run).status != "RUNNING":
            raise
        return _wake(stack, drive, run, inspection.execution(run))
    return Intervention(
        drive,
        run,
        "redriven",
        f"run {run} of drive {drive} is redriven: it continues where it ended as {execution.status}",
    )


def stop_run(stack: Stack, drive: str, named: str | None = None) -> Intervention:
    """Stop a run's execution, and record the caller as the cause. CommandError for a run without an execution."""
    run = _known_run(stack, drive, named)
    inspection = Inspection(stack, drive, now=time.time())
    execution = inspection.execution(run)
    if execution.status == NOT_STARTED:
        raise CommandError(f"run {run} of drive {drive} has no execution to stop")
    if execution.status != "RUNNING":
        return Intervention(drive, run, "ended", f"run {run} of drive {drive} already ended as {execution.status}")
    who = caller(stack)
    stack.client("stepfunctions").stop_execution(
        executionArn=execution.arn, error="Stopped", cause=f"by {who} with autolabel stop"
    )
    progress = ""
    # The run is stopped, and a failed count must not look like a failed stop.
    with suppress(ClientError, BotoCoreError):
        answered = inspection.answered(run, execution)
        if answered.of:
            rest = ", and the rest is open" if answered.done < answered.of else ""
            progress = f"; reviewers have answered {answered.done:,} of {counted(answered.of, answered.unit)}{rest}"
    return Intervention(
        drive, run, "stopped", f"run {run} of drive {drive} is stopped{progress}; autolabel redrive {drive} resumes it"
    )


def relabel_drive(stack: Stack, drive: str, review: ReviewChoice = REVIEW_CHANGED) -> Intervention:
    """Label a closed drive again as a new run. CommandError while its latest run is running.

    `review`: which frames with a person's label from an earlier run reviewers get again.
    """
    latest = _known_run(stack, drive)
    inspection = Inspection(stack, drive, now=time.time())
    if stack.executions.status(execution_name(drive, latest)) == "RUNNING":
        raise CommandError(
            f"run {latest} of drive {drive} is running: wait for it, or stop it first: autolabel stop {drive}"
        )
    closing = Closing(
        ingest=stack.ingest,
        label_bucket=stack.labels,
        ledger=stack.ledger,
        catalogue=Catalogue(stack.labels.read, time.time),
        executions=stack.executions,
        announcements=AwsAnnouncements(),
        job_labels=job_labels(stack.parameter("JobLabels")),
        privacy=stack.shows_views,
        now=time.time,
    )
    answered = inspection.answered(latest, inspection.execution(latest))
    try:
        run = closing.relabel(drive, review).run
    except OtherReview as e:
        raise CommandError(str(e)) from e
    what = "is labelled again as" if run != latest else "had a run without an execution, and is labelled as"
    labels = f"{counted(answered.done, 'label' if answered.unit == 'frame' else 'strip')} of run {latest}"
    kept = f"; {_REVIEWS[review].format(labels=labels)}" if answered.done else ""
    return Intervention(
        drive, run, "started", f"drive {drive} {what} run {run}{kept}; autolabel watch {drive} follows it"
    )


def _known_run(stack: Stack, drive: str, named: str | None = None) -> str:
    """Return the named run or the latest. For a drive without runs, CommandError says what it waits for."""
    latest = stack.ledger.latest_run(drive)
    if latest is None:
        status = Inspection(stack, drive, now=time.time()).drive()
        raise CommandError(f"drive {drive} has no run yet: it waits for {'; '.join(waits_for(status))}")
    return stack.ledger.run(drive, named).run if named else latest.run


def _wake(stack: Stack, drive: str, run: str, execution: Execution) -> Intervention:
    """Wake a running execution if it waits, so that it begins its next reconcile pass."""
    after = f" (redrives so far: {execution.redrives})" if execution.redrives else ""
    for waiting in stack.ledger.waiting_runs(drive):
        if waiting.run == run:
            woken = stack.executions.wake(waiting.token)
            stack.ledger.stop_waiting(waiting)
            if woken:
                return Intervention(
                    drive, run, "woken", f"run {run} of drive {drive} was waiting, and now reconciles again{after}"
                )
    return Intervention(
        drive, run, "running", f"run {run} of drive {drive} is running{after}: there is nothing to redrive"
    )


def _token(execution: Execution) -> str:
    """Make one token for each end of an execution, so that two requests for a redrive are one redrive."""
    return hashlib.sha256(f"{execution.arn} {execution.ended}".encode()).hexdigest()


def caller(stack: Stack) -> str:
    """Return who gives the command: the ARN, or the user of this machine if STS does not tell."""
    try:
        return str(stack.client("sts").get_caller_identity()["Arn"])
    except (BotoCoreError, ClientError):
        return getpass.getuser()
