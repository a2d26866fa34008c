"""Advice on a drive: what it waits for, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from autolabel.contracts.wording import counted
from autolabel_cli.drives.job_attempts import Unit
from autolabel_cli.drives.log_status import ENDED_BADLY
from autolabel_cli.operations.drive_status import (
    NOT_STARTED,
    DriveStatus,
    JobStatus,
    ModelStatus,
    ProjectStatus,
    RunStatus,
    Upload,
)

# The outermost states of statemachine/label_drive.asl.yaml, and what a run does in them.
STATES = {
    "Reconcile": "compares listing, answers and ledger",
    "Everything answered?": "compares listing, answers and ledger",
    "AwaitFrames": "waits for expected frames",
    "FailedUnits": "fails, because a model failed on most frames",
    "AwaitInference": "waits for answers",
    "PlanShards": "divides the drive into shards",
    "Any frames?": "divides the drive into shards",
    "TakeOver": "ends the reviewers' jobs of earlier runs, and collects their labels",
    "Taken over?": "ends the reviewers' jobs of earlier runs, and collects their labels",
    "WaitForEarlierJobs": "waits for the last labels of an earlier run's jobs",
    "LabelShards": "turns answers into pre-labels",
    "Link": "links the boxes of neighbouring frames",
    "All linked?": "links the boxes of neighbouring frames",
    "Assemble": "joins the shards",
    "FailedFrames": "fails, because S3 does not give out most frames",
    "RetryFrames": "begins again with the frames that S3 did not give out",
    "Verify": "waits for reviewers",
    "Every job labelled?": "waits for reviewers",
    "FailedJobs": "fails, because labelling jobs have no labels",
    "PlanParts": "divides the dataset into parts",
    "Cuboids?": "divides the dataset into parts",
    "LiftParts": "lifts the boxes of the labels to cuboids",
    "Verify cuboids?": "divides the cuboids into jobs",
    "PlanCuboidJobs": "divides the cuboids into jobs",
    "Any cuboids?": "divides the cuboids into jobs",
    "CuboidsVerified": "divides the dataset into parts",
    "More than one part?": "divides the dataset into parts",
    "PublishParts": "writes the parts of the dataset",
    "Publish": "writes the dataset",
}
# The states in which the report of the latest reconcile pass says what is missing.
ASKING_STATES = frozenset({"Reconcile", "Everything answered?", "AwaitFrames", "FailedUnits", "AwaitInference"})

# TimeoutSeconds of statemachine/label_drive.asl.yaml.
_LONGEST_EXECUTION = timedelta(days=180)


def waits_for(status: DriveStatus) -> list[str]:
    """Say what the drive waits for. Empty while the pipeline works on it, and when nothing is left to do."""
    if status.upload:
        return list(_waiting_logs(status, status.upload)) or [_open(status.upload)]
    run = status.run
    if run is None or run.execution.status == "SUCCEEDED":
        return []
    if run.execution.status != "RUNNING":
        return ["an operator: " + _ended(run)]
    return [*(_logs_under_way(status) if run.logs else ()), *_running(run)]


def next_step(status: DriveStatus) -> str:
    """Say in one line what to do next."""
    if status.upload:
        return _next_of_open(status, status.upload)
    run = status.run
    if run is None:
        return "nothing"
    if run.execution.status == "SUCCEEDED":
        return _next_of_labelled(status, run)
    if run.execution.status == NOT_STARTED:
        return f"autolabel relabel {status.drive}: it starts run {run.run}, which is allocated but has no execution"
    if run.execution.status in ENDED_BADLY:
        return _next_of_ended(status, run)
    return _next_of_running(status, run)


def _waiting_logs(status: DriveStatus, upload: Upload) -> Iterator[str]:
    """Say what an open drive of logs waits for."""
    if status.logs_refused:
        yield f"an operator: {status.logs_refused}"
    under_way = list(_logs_under_way(status))
    yield from under_way
    if status.logs and not under_way and not status.logs_refused and upload.document == "none":
        yield "more logs: all that came were extracted"


def _logs_under_way(status: DriveStatus) -> Iterator[str]:
    for log in status.logs:
        if log.state == "failed":
            yield f"an operator: the extraction of log {log.name} failed: {log.detail}"
        if log.state == "waiting":
            yield f"an operator or the fleet: {log.detail}"
    extracting = sum(log.state == "extracting" for log in status.logs)
    if extracting:
        yield f"the extraction of {counted(extracting, 'log')}"


def _next_of_logs(status: DriveStatus) -> str:
    """Say what to do about logs that are under way; empty if none is."""
    failed = [log for log in status.logs if log.state == "failed"]
    # Only an open drive can be closed without a log.
    without = f"autolabel close {status.drive} --without {failed[0].name}" if failed and status.upload else ""
    if any(log.redrivable for log in failed):
        other = f"; or {without} leaves it out" if without else ""
        return f"fix the cause, then autolabel redrive {status.drive}{other}"
    if failed:
        way = (
            f"upload it under another name, then {without}"
            if without
            else "delete it, and upload it under another name"
        )
        return f"log {failed[0].name} cannot be redriven any more: {way}"
    if waiting := [log.name for log in status.logs if log.state == "waiting"]:
        return f"upload logs/recording.json with the start of {waiting[0]}; its extraction begins by itself"
    return "wait: the logs are extracted" if any(log.state == "extracting" for log in status.logs) else ""


def _open(upload: Upload) -> str:
    if upload.document == "refused":
        return f"a valid drive.json; the last one was refused: {upload.refused}"
    if upload.document == "waiting":
        return "the submit function to read its drive.json"
    return "its drive.json, which closes it"


def _next_of_open(status: DriveStatus, upload: Upload) -> str:
    moved = _move_dead_letters(status)
    if logs := _next_of_logs(status):
        return logs
    if status.logs_refused:
        return "upload readable logs, or a valid logs/recording.json; or close the drive with a drive.json of your own"
    if status.logs and upload.document == "none" and not moved:
        return (
            "wait; the drive is closed after its last log: the last that logs/recording.json names, or when none has "
            "come for a while"
        )
    if upload.document == "refused":
        return "upload a valid drive.json; it closes the drive"
    if moved:
        return moved
    if upload.document == "waiting":
        return f"wait; if its event was lost, the sweep has it read{_after(upload.closes)}"
    return f"wait for frames, or upload drive.json; if neither comes, the sweep closes it{_after(upload.closes)}"


def _after(time: datetime | None) -> str:
    return f" after {time:%Y-%m-%d %H:%M} UTC" if time else ""


def _ended(run: RunStatus) -> str:
    if run.execution.status == NOT_STARTED:
        return f"run {run.run} is allocated but has no execution"
    how = {"FAILED": "failed", "TIMED_OUT": "timed out", "ABORTED": "was stopped"}[run.execution.status]
    return f"run {run.run} {how}" + (f" in {run.state}" if run.state else "")


def _running(run: RunStatus) -> Iterator[str]:
    if run.missing:
        yield counted(run.missing, "expected frame that has", "expected frames that have") + " not arrived"
    if run.state in ASKING_STATES:
        for model in run.models:
            if model.paused and model.pending:
                yield f"{_endpoint(model)}: {_pending(model)}{_patience(run, model)}"
            elif model.pending:
                yield f"answers of {model.model}: {_pending(model)}"
        if not run.models:
            yield from run.paused or _unanswered(run)
    yield from _work_teams([job for job in run.jobs if job.status == "InProgress"])
    for project in run.projects:
        yield _project(project)


def _work_teams(jobs: Sequence[JobStatus]) -> Iterator[str]:
    """Say for each work team where it works, how far it is and how fast it was so far."""
    for workteam, portal in dict.fromkeys((job.workteam, job.portal) for job in jobs):
        theirs = [job for job in jobs if (job.workteam, job.portal) == (workteam, portal)]
        where = (f" in work team {workteam}" if workteam else "") + (f" at {portal}" if portal else "")
        done, frames = (sum(counts) for counts in zip(*((job.labelled, job.frames) for job in theirs), strict=True))
        unit = theirs[0].unit
        pace = _pace(sum(job.hourly or 0 for job in theirs), unit)
        which = f"labelling job {theirs[0].job}" if len(theirs) == 1 else counted(len(theirs), "labelling job")
        yield f"reviewers{where}: {done:,} of {counted(frames, unit)} done{pace} ({which})"


def _pace(hourly: float | None, unit: Unit = "frame") -> str:
    if not hourly:
        return ""
    return f", {counted(round(hourly), unit) if hourly >= 1 else f'less than 1 {unit}'} an hour so far"


def _project(project: ProjectStatus) -> str:
    if not project.project:
        return f"Label Studio: the project of job {project.job} is being created"
    done = f"{counted(project.frames, 'frame')}, not counted yet"
    if project.done is not None and project.total is not None:
        done = f"{project.done:,} of {counted(project.total, 'frame')} done at the last count{_pace(project.hourly)}"
    return f"reviewers in Label Studio project {project.project}: {done} (job {project.job})"


def _unanswered(run: RunStatus) -> list[str]:
    return ["answers: " + counted(run.pending, "unit is", "units are") + " pending"] if run.pending else []


def _pending(model: ModelStatus) -> str:
    return counted(model.pending, "unit is", "units are") + " pending"


def _endpoint(model: ModelStatus) -> str:
    # Without an endpoint the catalogue is broken, and the state says how.
    return f"endpoint {model.endpoint}, which is {model.endpoint_state}" if model.endpoint else model.endpoint_state


def _patience(run: RunStatus, model: ModelStatus) -> str:
    """Say until when units wait for an endpoint that is missing; empty for one in another state."""
    if model.endpoint_state != "missing":
        return ""
    if model.gives_up:
        return (
            f"; the model was removed, so the last of them is failed{_after(model.gives_up)}, and the run continues "
            "without its answers"
        )
    last = run.execution.started + _LONGEST_EXECUTION if run.execution.started else None
    return f"; they wait until it is back{f', at most until {last:%Y-%m-%d}, when the run is ended' if last else ''}"


def _next_of_labelled(status: DriveStatus, run: RunStatus) -> str:
    if not run.latest:
        return f"nothing: run {status.runs[-1].run} followed this one; autolabel status {status.drive} shows it"
    if run.changes.any:
        return f"autolabel relabel {status.drive}: a new run takes in what came or changed after this one began"
    if run.many_rejected:
        return (
            f"autolabel fetch {status.drive} --to FOLDER: its rejected.jsonl names {sum(run.rejected.values()):,} of "
            f"{counted(run.objects, 'object')} with the reason; mend or upload them again, then autolabel relabel "
            f"{status.drive}"
        )
    check = f"; autolabel status {status.drive} --full checks whether the objects reported since then are late"
    unsure = check if run.changes.more else ""
    return f"nothing; autolabel fetch {status.drive} --to FOLDER downloads the dataset{unsure}"


def _next_of_ended(status: DriveStatus, run: RunStatus) -> str:
    if not run.latest:
        return f"nothing: run {status.runs[-1].run} followed this one; autolabel status {status.drive} shows it"
    if run.execution.not_redrivable:
        return f"autolabel relabel {status.drive}: this run cannot be redriven ({run.execution.not_redrivable})"
    redrive = f"autolabel redrive {status.drive}"
    away = _back(run)
    if away:
        return f"{away}, then {redrive}"
    return f"{redrive}, to resume the run" if run.execution.status == "ABORTED" else f"fix the cause, then {redrive}"


def _next_of_running(status: DriveStatus, run: RunStatus) -> str:
    if run.logs:
        return _next_of_logs(status) or "wait: the run goes on at its next look"
    if run.missing:
        return f"upload the missing frames, or wait: the run continues without them{_after(run.patient_until)}"
    if run.state in ASKING_STATES:
        away, moved = _back(run), _move_dead_letters(status)
        if away:
            return f"{away}; the run then continues by itself"
        if moved:
            return moved
        overdue = sum(model.overdue for model in run.models)
        if overdue:
            return (
                f"wait: the next reconcile pass submits {counted(overdue, 'unit')} again; "
                f"autolabel redrive {status.drive} starts it now"
            )
        if run.state == "AwaitInference" and not any(model.pending for model in run.models):
            return f"wait: the run continues at its next reconcile pass; autolabel redrive {status.drive} starts it now"
    failed = [job for job in run.jobs if _left_nothing(job)]
    if failed:
        again = f"autolabel redrive {status.drive} makes it again"
        return f"wait for the other jobs; then the run fails because of {failed[0].job}, and {again}"
    opening = [project.job for project in run.projects if not project.project]
    if opening:
        return f"wait; if it takes long, check that Label Studio is up and lets the stack create {opening[0]}"
    if run.projects:
        projects = ", ".join(project.project for project in run.projects)
        return f"label the open frames in Label Studio (project {projects}); the run then continues by itself"
    if asked := [job for job in run.jobs if job.status == "InProgress"]:
        where = f"at {asked[0].portal}" if asked[0].portal else "at the portal of the work team"
        return f"label the open {asked[0].unit}s {where}; the run then continues by itself"
    return "wait"


def _left_nothing(job: JobStatus) -> bool:
    return job.status in ("Failed", "Stopped")


def _back(run: RunStatus) -> str:
    away = [model for model in run.models if model.paused and (model.pending or model.failed)]
    if not away:
        return ""
    if not away[0].endpoint:
        return f"repair the catalogue ({away[0].endpoint_state})"
    return ", and ".join(map(_restore, away))


def _restore(model: ModelStatus) -> str:
    if model.endpoint_state != "missing":
        return f"restore endpoint {model.endpoint} (it is {model.endpoint_state})"
    name, _, revision = model.model.rpartition(".")
    return f"autolabel models restore {name}@{revision} (its endpoint {model.endpoint} is missing)"


def _move_dead_letters(status: DriveStatus) -> str:
    commands = [f"autolabel redrive --queue {letters.queue}" for letters in status.dead_letters if letters.of_drive]
    return f"fix the cause of its dead letters, then {' and '.join(commands)}" if commands else ""
