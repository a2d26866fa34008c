"""What `status` says a drive waits for, and what it says to do, situation by situation."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from rich.console import Console

from autolabel_cli.operations.advice import next_step, waits_for
from autolabel_cli.operations.drive_status import (
    Changes,
    DeadLetters,
    DriveStatus,
    Execution,
    JobStatus,
    ModelStatus,
    ProjectStatus,
    RunEntry,
    RunStatus,
    Upload,
)
from autolabel_cli.operations.status_display import show_status

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LATER = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
RUNNING = Execution("arn", "RUNNING", started=AT)
SUCCEEDED = Execution("arn", "SUCCEEDED", started=AT, ended=AT)
FAILED = Execution("arn", "FAILED", started=AT, ended=AT, error="LabelingFailed: job-1")
STOPPED = Execution("arn", "ABORTED", started=AT, ended=AT)
OLD = Execution("arn", "TIMED_OUT", started=AT, ended=AT, not_redrivable="Execution ended more than 14 days ago")
SERVING = ModelStatus("m.0001", "yolo", "InService", answered=5)
AWAY = msgspec.structs.replace(SERVING, endpoint_state="missing")


def model(of: ModelStatus = SERVING, **counts: Any) -> ModelStatus:
    return msgspec.structs.replace(of, **counts)


def status_of(run: RunStatus | None = None, upload: Upload | None = None, *letters: DeadLetters) -> DriveStatus:
    runs = (RunEntry(run.run, AT, "", run.execution),) if run else ()
    return DriveStatus("d1", AT, upload, 0, runs, run, letters)


def running(state: str = "AwaitInference", **more: Any) -> DriveStatus:
    return status_of(RunStatus("0001", True, RUNNING, state, AT, turn=3, frames=10, **more))


def ended(execution: Execution, state: str = "", **more: Any) -> DriveStatus:
    return status_of(RunStatus("0001", True, execution, state, **more))


def followed(execution: Execution) -> DriveStatus:
    status = ended(execution)
    first = msgspec.structs.replace(status.run, latest=False)
    return msgspec.structs.replace(status, run=first, runs=(*status.runs, RunEntry("0002", AT, "", RUNNING)))


def opened(document: Any = "none", refused: str = "", *letters: DeadLetters) -> DriveStatus:
    closes = None if refused else LATER
    return status_of(None, Upload(2, AT, document, refused, closes), *letters)


BURIED = DeadLetters("collect", 4, 2, {"KeyError: 'x'": 2})
OTHERS = DeadLetters("submit", 4)
PEOPLE = JobStatus("d1-0001-000-1", "InProgress", labelled=3, unlabelled=7, failed=0)
PROJECT = ProjectStatus("d1-0001-000", "7", frames=1_200, done=3, total=1_200)
OPENING = ProjectStatus("d1-0001-001", "", frames=10)
STOPPED_JOB = JobStatus("d1-0001-001-1", "Stopped", labelled=0, unlabelled=10, failed=0)

SITUATIONS: dict[str, tuple[DriveStatus, list[str], str]] = {
    "an upload under way": (
        opened(),
        ["its drive.json, which closes it"],
        "wait for the upload, or put drive.json; if nothing comes, the schedule closes it after 2026-11-23 09:30 UTC",
    ),
    "a document that nobody took yet": (
        opened("waiting"),
        ["its drive.json to be taken from the submit queue"],
        "wait; if its event was lost, the schedule asks for it after 2026-11-23 09:30 UTC",
    ),
    "a document whose event was buried": (
        opened("waiting", "", DeadLetters("submit", 1, 1, {"KeyError: 'x'": 1})),
        ["its drive.json to be taken from the submit queue"],
        "mend what its dead letters tell of, then autolabel redrive --queue submit",
    ),
    "a refused document": (
        opened("refused", "drives/d1/drive.json is not JSON"),
        ["a good drive.json: the one that came was refused: drives/d1/drive.json is not JSON"],
        "upload a good drive.json; it closes the drive",
    ),
    "a run that was never started": (
        ended(Execution("arn")),
        ["a person: run 0001 was allocated and its execution is not there"],
        "autolabel relabel d1: it starts run 0001, which was allocated and not started",
    ),
    "promised frames": (
        running("AwaitFrames", missing=1_200, patient_until=LATER),
        ["promised frames that have not arrived: 1,200"],
        "upload the missing frames, or wait; it is labelled without them after 2026-11-23 09:30 UTC",
    ),
    "answers on their way": (
        running(models=(model(queued=3, invoked=2),)),
        ["answers of m.0001: 5 units are pending"],
        "wait",
    ),
    "answers that are overdue": (
        running(models=(model(invoked=2, overdue=3),)),
        ["answers of m.0001: 5 units are pending"],
        "wait: the next turn asks again for 3; autolabel redrive d1 has it look at once",
    ),
    "an endpoint that is missing": (
        running(models=(model(AWAY, parked=5),)),
        ["endpoint yolo, which is missing: 5 units wait for it"],
        "bring back endpoint yolo (it is missing); the run goes on by itself",
    ),
    "an endpoint that is away and that nothing waits for": (
        running("Assemble", models=(AWAY,)),
        [],
        "wait",
    ),
    "a model that the catalogue does not have": (
        running(models=(ModelStatus("m.0001", "", "the label bucket has no m/0001.json", parked=1),)),
        ["the label bucket has no m/0001.json: 1 units wait for it"],
        "put the catalogue right (the label bucket has no m/0001.json); the run goes on by itself",
    ),
    "answers whose notifications were buried": (
        msgspec.structs.replace(running(models=(model(invoked=2),)), dead_letters=(OTHERS, BURIED)),
        ["answers of m.0001: 2 units are pending"],
        "mend what its dead letters tell of, then autolabel redrive --queue collect",
    ),
    "dead letters of other drives": (
        msgspec.structs.replace(running(models=(model(invoked=2),)), dead_letters=(OTHERS,)),
        ["answers of m.0001: 2 units are pending"],
        "wait",
    ),
    "nothing pending any more": (
        running(models=(SERVING,)),
        [],
        "wait: it goes on at its next turn; autolabel redrive d1 has it look at once",
    ),
    "people at work": (
        running("Verify", jobs=(PEOPLE,)),
        ["people: 7 frames of labelling job d1-0001-000-1 are not labelled"],
        "wait",
    ),
    "people at work beside a job that was stopped": (
        running("Verify", jobs=(PEOPLE, STOPPED_JOB)),
        ["people: 7 frames of labelling job d1-0001-000-1 are not labelled"],
        "wait for the other jobs; then the run fails for d1-0001-001-1 and autolabel redrive d1 starts it again",
    ),
    "people at work in Label Studio": (
        running("Verify", projects=(PROJECT,)),
        ["people: 1,197 of 1,200 frames of project 7 of Label Studio, d1-0001-000"],
        "label what is open in Label Studio (project 7); the run goes on by itself after the last frame",
    ),
    "projects of Label Studio that the run has not looked at yet": (
        running("Verify", projects=(ProjectStatus("a", "7", 5), ProjectStatus("b", "8", 6))),
        [
            "people: project 7 of Label Studio, a, has 5 frames",
            "people: project 8 of Label Studio, b, has 6 frames",
        ],
        "label what is open in Label Studio (project 7, 8); the run goes on by itself after the last frame",
    ),
    "a project that Label Studio has not taken yet": (
        running("Verify", projects=(PROJECT, OPENING)),
        [
            "people: 1,197 of 1,200 frames of project 7 of Label Studio, d1-0001-000",
            "Label Studio, in which job d1-0001-001 is being opened",
        ],
        "wait; if it lasts, see that Label Studio is up and lets the stack open d1-0001-001",
    ),
    "a failed run": (
        ended(FAILED, "FailedJobs"),
        ["a person: run 0001 failed in FailedJobs"],
        "mend the cause, then autolabel redrive d1",
    ),
    "a run that failed for an endpoint that is away": (
        ended(FAILED, "FailedUnits", models=(model(AWAY, failed=20),)),
        ["a person: run 0001 failed in FailedUnits"],
        "bring back endpoint yolo (it is missing), then autolabel redrive d1",
    ),
    "a stopped run": (
        ended(STOPPED, "Verify"),
        ["a person: run 0001 was stopped in Verify"],
        "autolabel redrive d1 to go on",
    ),
    "a run that ended too long ago": (
        ended(OLD),
        ["a person: run 0001 ran out of time"],
        "autolabel relabel d1: this run cannot be redriven (Execution ended more than 14 days ago)",
    ),
    "a failed run that a later one has followed": (
        followed(FAILED),
        ["a person: run 0001 failed"],
        "nothing: run 0002 came after this one; autolabel status d1 tells of it",
    ),
    "a labelled drive": (
        ended(SUCCEEDED),
        [],
        "nothing; autolabel fetch d1 --to FOLDER has the dataset",
    ),
    "a labelled drive to which a frame came late": (
        ended(SUCCEEDED, changes=Changes(late=1, more=AT)),
        [],
        "autolabel relabel d1: it takes in what came or changed after the run began",
    ),
    "a labelled drive of which something was reported again": (
        ended(SUCCEEDED, changes=Changes(more=AT)),
        [],
        "nothing; autolabel fetch d1 --to FOLDER has the dataset; the schedule still looks whether what was reported "
        "since is late",
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_status_says_what_a_drive_waits_for_and_what_to_do(situation: str) -> None:
    status, waits, step = SITUATIONS[situation]
    assert waits_for(status) == waits
    assert next_step(status) == step


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_status_ends_with_what_to_do_on_any_terminal(situation: str, width: int) -> None:
    status, waits, step = SITUATIONS[situation]
    console = Console(width=width, record=True, file=io.StringIO())
    show_status(console, status)
    lines = console.export_text().splitlines()
    assert lines[-1] == f"next: {step}"
    assert sum(line.startswith("waits for") for line in lines) == len(waits)
    assert all(len(line) <= width for line in lines[:-1])
