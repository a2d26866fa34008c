"""Display of a drive's status on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autolabel.contracts.wording import counted
from autolabel_cli.drives.log_status import LogStatus
from autolabel_cli.operations.advice import STATES, next_step, waits_for
from autolabel_cli.operations.drive_status import (
    Changes,
    DriveStatus,
    EarlierLabels,
    Execution,
    JobStatus,
    ModelStatus,
    ProjectStatus,
    RunStatus,
)
from autolabel_cli.output import print_table

COLOURS = {"SUCCEEDED": "green", "RUNNING": "cyan", "FAILED": "red", "TIMED_OUT": "red", "ABORTED": "yellow"}
_RUNS_SHOWN = 5
_LOGS_SHOWN = 20


def show_status(console: Console, status: DriveStatus) -> None:
    """Print a status, one fact a line. The last line says what to do."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, text in _rows(status):
        table.add_row(name, text)
    print_table(console, table)
    console.print(f"[bold]next:[/] {escape(next_step(status))}", highlight=False, soft_wrap=True)


def _rows(status: DriveStatus) -> Iterator[tuple[str, str]]:
    yield "drive", f"[bold]{status.drive}[/], {'open' if status.upload else 'closed'}"
    if status.upload:
        upload = status.upload
        newest = f", the newest from {_ago(upload.newest, status.at)}" if upload.newest else ""
        yield "uploads", counted(upload.objects, "object") + newest
    for log in status.logs[:_LOGS_SHOWN]:
        yield "log", escape(_log(log))
    if len(status.logs) > _LOGS_SHOWN:
        yield "", f"[dim]{counted(len(status.logs) - _LOGS_SHOWN, 'more log')}[/]"
    if status.refused_keys:
        refused = counted(status.refused_keys, "upload with a key", "uploads with keys")
        yield "refused", f"{refused} outside the contract"
    hidden = len(status.runs) - _RUNS_SHOWN
    if hidden > 0:
        yield "", f"[dim]{counted(hidden, 'earlier run')}[/]"
    for entry in status.runs[-_RUNS_SHOWN:]:
        yield f"run {entry.run}", _execution(entry.execution, status.at)
    if status.run:
        yield from _run(status.run, status.at)
    for waits in waits_for(status):
        yield "waits for", escape(waits)
    for letters in status.dead_letters:
        if letters.messages:
            ours = f", {letters.of_drive} of this drive" + _reasons(letters.reasons) if letters.of_drive else ""
            yield "dead letters", f"{letters.queue}: {letters.messages:,}{ours}"


def _log(log: LogStatus) -> str:
    if log.by:
        return f"{log.name}: {log.detail}"
    said = f"{log.name}: {log.state}"
    said += f", {log.done:,} of {counted(log.slices, 'slice')}" if log.slices else ""
    if log.state == "extracted":
        said += f", {counted(log.frames, 'frame')} of {counted(log.messages, 'message')}"
        said += f", {counted(log.clouds, 'point cloud')}" if log.clouds else ""
        said += f", {counted(log.poses, 'pose')}" if log.poses else ""
        said += f", {log.skipped:,} skipped" if log.skipped else ""
    return said + (f": {log.detail}" if log.detail else "")


def _execution(execution: Execution, at: datetime) -> str:
    status = f"[{COLOURS.get(execution.status, 'default')}]{execution.status}[/]"
    times = f", started {_ago(execution.started, at)}" if execution.started else ""
    times += f", ended {_ago(execution.ended, at)}" if execution.ended else ""
    redrives = f", redrives: {execution.redrives}" if execution.redrives else ""
    error = f": {escape(execution.error)}" if execution.error else ""
    return status + times + redrives + error


def _run(run: RunStatus, at: datetime) -> Iterator[tuple[str, str]]:
    if not run.latest:
        yield "", f"[dim]about run {run.run}:[/]"
    if run.state:
        turn = f", reconcile pass {run.turn}" if run.turn else ""
        what = f": {STATES[run.state]}" if run.execution.status == "RUNNING" else ", where the run ended"
        yield "state", f"{run.state} since {_ago(run.since, at)}{turn}{what}"
    if run.frames is not None:
        yield "frames", f"{run.frames:,}"
    if run.rejected:
        rejected = f"{sum(run.rejected.values()):,} of {counted(run.objects, 'object')}"
        yield "rejected", f"{rejected}{_reasons(run.rejected)}"
    for model in run.models:
        yield "model", _model(model)
    if run.earlier:
        yield "earlier", _earlier(run.earlier)
    for job in run.jobs:
        yield "job", _job(job)
    for project in run.projects:
        yield "job", _project(project)
    if run.changes.any or run.changes.more:
        yield "changed", _changes(run.changes, at)


def _model(model: ModelStatus) -> str:
    state = f"[{'red' if model.paused else 'green'}]{escape(model.endpoint_state)}[/]"
    counts = {
        "answered": model.answered,
        "in the queue": model.queued,
        "parked": model.parked,
        "at the endpoint": model.invoked,
        "overdue": model.overdue,
        "failed": model.failed,
    }
    said = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    endpoint = f"endpoint {model.endpoint} is {state}" if model.endpoint else state
    return f"{model.model}: {said or 'no units'}{_reasons(model.reasons)}; {endpoint}"


def _job(job: JobStatus) -> str:
    failed = f", {job.failed:,} failed" if job.failed else ""
    reason = f" ({escape(job.reason)})" if job.reason else ""
    return f"{job.job}: {job.status}{reason}, {job.labelled:,} of {counted(job.frames, job.unit)} labelled{failed}"


def _earlier(earlier: EarlierLabels) -> str:
    collected = ", ".join(f"{count:,} of run {run}" for run, count in earlier.collected.items())
    said = [f"labels of reviewers: {collected or 'none'}"]
    if earlier.kept is not None and earlier.again is not None:
        said += [f"kept {count:,} of run {run}" for run, count in earlier.kept.items()]
        said += [f"asked again {count:,}, because {why}" for why, count in earlier.again.items()]
    said += [f"{counted(count, 'label')} of job {job} did not come" for job, count in earlier.missing.items()]
    return escape("; ".join(said))


def _project(project: ProjectStatus) -> str:
    if not project.project:
        return f"{project.job}: its project in Label Studio is being created, {counted(project.frames, 'frame')}"
    done = "not counted yet"
    if project.done is not None and project.total is not None:
        done = f"{project.done:,} of {counted(project.total, 'task')} done at the last count"
    return f"{project.job}: project {project.project} in Label Studio, {counted(project.frames, 'frame')}, {done}"


def _changes(changes: Changes, at: datetime) -> str:
    counts = {"late": changes.late, "overwritten": changes.overwritten, "deleted": changes.deleted}
    said = [f"{count:,} {what}" for what, count in counts.items() if count]
    return ", ".join(said + ([f"objects reported {_ago(changes.more, at)}, not checked yet"] if changes.more else []))


def _reasons(reasons: Mapping[str, int]) -> str:
    return f" ({escape('; '.join(f'{count:,} × {reason}' for reason, count in reasons.items()))})" if reasons else ""


def _ago(time: datetime | None, at: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC ({age(time, at)} ago)" if time else "unknown"


def age(time: datetime, at: datetime) -> str:
    """Write the time that has passed, in the largest unit that gives at least two: 90 s, 119 min, 3 d."""
    seconds = max(0, int((at - time).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
