"""What a drive waits for and what to do about it, in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from autolabel_cli.operations.drive_status import (
    ENDED_BADLY,
    NOT_STARTED,
    DriveStatus,
    JobStatus,
    ModelStatus,
    ProjectStatus,
    RunStatus,
    Upload,
)

# The outermost states of statemachine/label_drive.asl.yaml, and what happens in them.
STATES = {
    "Reconcile": "listing, answers and ledger are compared",
    "Everything answered?": "listing, answers and ledger are compared",
    "AwaitFrames": "promised frames are waited for",
    "FailedUnits": "the run stops where a model failed most frames",
    "AwaitInference": "answers are waited for",
    "PlanShards": "the drive is cut into shards",
    "Any frames?": "the drive is cut into shards",
    "LabelShards": "answers are turned into labels",
    "Assemble": "the shards are put together",
    "Verify": "people look at the labels",
    "Every job labelled?": "people look at the labels",
    "FailedJobs": "the run stops where labelling jobs left no labels",
    "Publish": "the dataset is written",
}
# Those in which the report of the latest turn says what is missing.
ASKING_STATES = frozenset({"Reconcile", "Everything answered?", "AwaitFrames", "FailedUnits", "AwaitInference"})


def waits_for(status: DriveStatus) -> list[str]:
    """What the drive waits for; empty when it is worked on, or when nothing is left to do."""
    if status.upload:
        return [_open(status.upload)]
    run = status.run
    if run is None or run.execution.status == "SUCCEEDED":
        return []
    if run.execution.status != "RUNNING":
        return ["a person: " + _ended(run)]
    return list(_running(run))


def next_step(status: DriveStatus) -> str:
    """What to do next, as one line."""
    if status.upload:
        return _next_of_open(status, status.upload)
    run = status.run
    if run is None:
        return "nothing"
    if run.execution.status == "SUCCEEDED":
        return _next_of_labelled(status, run)
    if run.execution.status == NOT_STARTED:
        return f"autolabel relabel {status.drive}: it starts run {run.run}, which was allocated and not started"
    if run.execution.status in ENDED_BADLY:
        return _next_of_ended(status, run)
    return _next_of_running(status, run)


def _open(upload: Upload) -> str:
    if upload.document == "refused":
        return f"a good drive.json: the one that came was refused: {upload.refused}"
    if upload.document == "waiting":
        return "its drive.json to be taken from the submit queue"
    return "its drive.json, which closes it"


def _next_of_open(status: DriveStatus, upload: Upload) -> str:
    moved = _move_dead_letters(status)
    if upload.document == "refused":
        return "upload a good drive.json; it closes the drive"
    if moved:
        return moved
    if upload.document == "waiting":
        return f"wait; if its event was lost, the schedule asks for it{_after(upload.closes)}"
    return f"wait for the upload, or put drive.json; if nothing comes, the schedule closes it{_after(upload.closes)}"


def _after(time: datetime | None) -> str:
    return f" after {time:%Y-%m-%d %H:%M} UTC" if time else ""


def _ended(run: RunStatus) -> str:
    if run.execution.status == NOT_STARTED:
        return f"run {run.run} was allocated and its execution is not there"
    how = {"FAILED": "failed", "TIMED_OUT": "ran out of time", "ABORTED": "was stopped"}[run.execution.status]
    return f"run {run.run} {how}" + (f" in {run.state}" if run.state else "")


def _running(run: RunStatus) -> Iterator[str]:
    if run.missing:
        yield f"promised frames that have not arrived: {run.missing:,}"
    if run.state in ASKING_STATES:
        for model in run.models:
            if model.paused and model.pending:
                yield f"{_endpoint(model)}: {model.pending:,} units wait for it"
            elif model.pending:
                yield f"answers of {model.model}: {model.pending:,} units are pending"
    for job in run.jobs:
        if job.status == "InProgress":
            yield f"people: {job.unlabelled:,} frames of labelling job {job.job} are not labelled"
    for project in run.projects:
        yield _project(project)


def _project(project: ProjectStatus) -> str:
    if not project.project:
        return f"Label Studio, in which job {project.job} is being opened"
    if project.done is None or project.total is None:
        return f"people: project {project.project} of Label Studio, {project.job}, has {project.frames:,} frames"
    left = max(0, project.total - project.done)
    return f"people: {left:,} of {project.total:,} frames of project {project.project} of Label Studio, {project.job}"


def _endpoint(model: ModelStatus) -> str:
    # Without an endpoint the catalogue is what is amiss, and the state says how.
    return f"endpoint {model.endpoint}, which is {model.endpoint_state}" if model.endpoint else model.endpoint_state


def _next_of_labelled(status: DriveStatus, run: RunStatus) -> str:
    if not run.latest:
        return f"nothing: run {status.runs[-1].run} came after this one; autolabel status {status.drive} tells of it"
    if run.changes.any:
        return f"autolabel relabel {status.drive}: it takes in what came or changed after the run began"
    # A message that is delivered again looks the same until the schedule compares the drive with the listing.
    unsure = "; the schedule still looks whether what was reported since is late" if run.changes.more else ""
    return f"nothing; autolabel fetch {status.drive} --to FOLDER has the dataset{unsure}"


def _next_of_ended(status: DriveStatus, run: RunStatus) -> str:
    if not run.latest:
        return f"nothing: run {status.runs[-1].run} came after this one; autolabel status {status.drive} tells of it"
    if run.execution.not_redrivable:
        return f"autolabel relabel {status.drive}: this run cannot be redriven ({run.execution.not_redrivable})"
    redrive = f"autolabel redrive {status.drive}"
    away = _back(run)
    if away:
        return f"{away}, then {redrive}"
    return f"{redrive} to go on" if run.execution.status == "ABORTED" else f"mend the cause, then {redrive}"


def _next_of_running(status: DriveStatus, run: RunStatus) -> str:
    if run.missing:
        return f"upload the missing frames, or wait; it is labelled without them{_after(run.patient_until)}"
    if run.state in ASKING_STATES:
        away, moved = _back(run), _move_dead_letters(status)
        if away:
            return f"{away}; the run goes on by itself"
        if moved:
            return moved
        overdue = sum(model.overdue for model in run.models)
        if overdue:
            return (
                f"wait: the next turn asks again for {overdue:,}; autolabel redrive {status.drive} has it look at once"
            )
        if run.state == "AwaitInference" and not any(model.pending for model in run.models):
            return f"wait: it goes on at its next turn; autolabel redrive {status.drive} has it look at once"
    failed = [job for job in run.jobs if _left_nothing(job)]
    if failed:
        again = f"autolabel redrive {status.drive} starts it again"
        return f"wait for the other jobs; then the run fails for {failed[0].job} and {again}"
    opening = [project.job for project in run.projects if not project.project]
    if opening:
        return f"wait; if it lasts, see that Label Studio is up and lets the stack open {opening[0]}"
    if run.projects:
        projects = ", ".join(project.project for project in run.projects)
        return (
            f"label what is open in Label Studio (project {projects}); the run goes on by itself after the last frame"
        )
    return "wait"


def _left_nothing(job: JobStatus) -> bool:
    return job.status in ("Failed", "Stopped")


def _back(run: RunStatus) -> str:
    away = [model for model in run.models if model.paused and (model.pending or model.failed)]
    if not away:
        return ""
    if not away[0].endpoint:
        return f"put the catalogue right ({away[0].endpoint_state})"
    return "bring back endpoint " + ", ".join(f"{model.endpoint} (it is {model.endpoint_state})" for model in away)


def _move_dead_letters(status: DriveStatus) -> str:
    commands = [f"autolabel redrive --queue {letters.queue}" for letters in status.dead_letters if letters.of_drive]
    return f"mend what its dead letters tell of, then {' and '.join(commands)}" if commands else ""
