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


def at_work(job: JobStatus, name: str, **more: Any) -> JobStatus:
    return msgspec.structs.replace(job, job=name, **more)


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
TEAM = msgspec.structs.replace(
    PEOPLE, workteam="night-shift", portal="https://x.labeling.eu-west-1.sagemaker.aws", hourly=1.2
)
SLOW = msgspec.structs.replace(PEOPLE, workteam="day-shift", hourly=0.6)
PROJECT = ProjectStatus("d1-0001-000", "7", frames=1_200, done=3, total=1_200)
OPENING = ProjectStatus("d1-0001-001", "", frames=10)
STOPPED_JOB = JobStatus("d1-0001-001-1", "Stopped", labelled=0, unlabelled=10, failed=0)

SITUATIONS: dict[str, tuple[DriveStatus, list[str], str]] = {
    "an upload under way": (
        opened(),
        ["its drive.json, which closes it"],
        "wait for frames, or upload drive.json; if neither comes, the sweep closes it after 2026-11-23 09:30 UTC",
    ),
    "a document that nobody took yet": (
        opened("waiting"),
        ["the submit function to read its drive.json"],
        "wait; if its event was lost, the sweep has it read after 2026-11-23 09:30 UTC",
    ),
    "a document whose event was buried": (
        opened("waiting", "", DeadLetters("submit", 1, 1, {"KeyError: 'x'": 1})),
        ["the submit function to read its drive.json"],
        "fix the cause of its dead letters, then autolabel redrive --queue submit",
    ),
    "a refused document": (
        opened("refused", "drives/d1/drive.json is not JSON"),
        ["a valid drive.json; the last one was refused: drives/d1/drive.json is not JSON"],
        "upload a valid drive.json; it closes the drive",
    ),
    "a run that was never started": (
        ended(Execution("arn")),
        ["an operator: run 0001 is allocated but has no execution"],
        "autolabel relabel d1: it starts run 0001, which is allocated but has no execution",
    ),
    "expected frames": (
        running("AwaitFrames", missing=1_200, patient_until=LATER),
        ["1,200 expected frames that have not arrived"],
        "upload the missing frames, or wait: the run continues without them after 2026-11-23 09:30 UTC",
    ),
    "answers on their way": (
        running(models=(model(queued=3, invoked=2),)),
        ["answers of m.0001: 5 units are pending"],
        "wait",
    ),
    "answers that are overdue": (
        running(models=(model(invoked=2, overdue=3),)),
        ["answers of m.0001: 5 units are pending"],
        "wait: the next reconcile pass submits 3 units again; autolabel redrive d1 starts it now",
    ),
    "an endpoint that is missing": (
        running(models=(model(AWAY, parked=5),)),
        [
            "endpoint yolo, which is missing: 5 units are pending; they wait until it is back, at most until "
            "2027-05-21, when the run is ended"
        ],
        "autolabel models restore m@0001 (its endpoint yolo is missing); the run then continues by itself",
    ),
    "an endpoint that is missing after its model was removed": (
        running(models=(model(AWAY, invoked=5, gives_up=LATER),)),
        [
            "endpoint yolo, which is missing: 5 units are pending; the model was removed, so the last of them is "
            "failed after 2026-11-23 09:30 UTC, and the run continues without its answers"
        ],
        "autolabel models restore m@0001 (its endpoint yolo is missing); the run then continues by itself",
    ),
    "an endpoint that is being created": (
        running(models=(model(SERVING, endpoint_state="Creating", parked=5),)),
        ["endpoint yolo, which is Creating: 5 units are pending"],
        "restore endpoint yolo (it is Creating); the run then continues by itself",
    ),
    "an endpoint that is away and that nothing waits for": (
        running("Assemble", models=(AWAY,)),
        [],
        "wait",
    ),
    "a model that the catalogue does not have": (
        running(models=(ModelStatus("m.0001", "", "the label bucket has no m/0001.json", parked=1),)),
        ["the label bucket has no m/0001.json: 1 unit is pending"],
        "repair the catalogue (the label bucket has no m/0001.json); the run then continues by itself",
    ),
    "answers whose notifications were buried": (
        msgspec.structs.replace(running(models=(model(invoked=2),)), dead_letters=(OTHERS, BURIED)),
        ["answers of m.0001: 2 units are pending"],
        "fix the cause of its dead letters, then autolabel redrive --queue collect",
    ),
    "dead letters of other drives": (
        msgspec.structs.replace(running(models=(model(invoked=2),)), dead_letters=(OTHERS,)),
        ["answers of m.0001: 2 units are pending"],
        "wait",
    ),
    "nothing pending any more": (
        running(models=(SERVING,)),
        [],
        "wait: the run continues at its next reconcile pass; autolabel redrive d1 starts it now",
    ),
    "people at work": (
        running("Verify", jobs=(PEOPLE,)),
        ["reviewers: 3 of 10 frames done (labelling job d1-0001-000-1)"],
        "label the open frames at the portal of the work team; the run then continues by itself",
    ),
    "people at work on tracks": (
        running("Verify", jobs=(msgspec.structs.replace(PEOPLE, unit="strip", hourly=0.5),)),
        ["reviewers: 3 of 10 strips done, less than 1 strip an hour so far (labelling job d1-0001-000-1)"],
        "label the open strips at the portal of the work team; the run then continues by itself",
    ),
    "a work team at its portal": (
        running("Verify", jobs=(TEAM,)),
        [
            "reviewers in work team night-shift at https://x.labeling.eu-west-1.sagemaker.aws: "
            "3 of 10 frames done, 1 frame an hour so far (labelling job d1-0001-000-1)"
        ],
        "label the open frames at https://x.labeling.eu-west-1.sagemaker.aws; the run then continues by itself",
    ),
    "a work team with several jobs, and a slow one": (
        running("Verify", jobs=(TEAM, at_work(TEAM, "d1-0001-001-1", hourly=1_200.4), at_work(SLOW, "d1-0001-002-1"))),
        [
            "reviewers in work team night-shift at https://x.labeling.eu-west-1.sagemaker.aws: "
            "6 of 20 frames done, 1,202 frames an hour so far (2 labelling jobs)",
            "reviewers in work team day-shift: 3 of 10 frames done, less than 1 frame an hour so far "
            "(labelling job d1-0001-002-1)",
        ],
        "label the open frames at https://x.labeling.eu-west-1.sagemaker.aws; the run then continues by itself",
    ),
    "people at work beside a job that was stopped": (
        running("Verify", jobs=(PEOPLE, STOPPED_JOB)),
        ["reviewers: 3 of 10 frames done (labelling job d1-0001-000-1)"],
        "wait for the other jobs; then the run fails because of d1-0001-001-1, and autolabel redrive d1 makes it again",
    ),
    "people at work in Label Studio": (
        running("Verify", projects=(PROJECT,)),
        ["reviewers in Label Studio project 7: 3 of 1,200 frames done at the last count (job d1-0001-000)"],
        "label the open frames in Label Studio (project 7); the run then continues by itself",
    ),
    "projects of Label Studio that the run has not looked at yet": (
        running("Verify", projects=(ProjectStatus("a", "7", 5), ProjectStatus("b", "8", 1))),
        [
            "reviewers in Label Studio project 7: 5 frames, not counted yet (job a)",
            "reviewers in Label Studio project 8: 1 frame, not counted yet (job b)",
        ],
        "label the open frames in Label Studio (project 7, 8); the run then continues by itself",
    ),
    "a project that Label Studio has not taken yet": (
        running("Verify", projects=(msgspec.structs.replace(PROJECT, hourly=12.3), OPENING)),
        [
            "reviewers in Label Studio project 7: 3 of 1,200 frames done at the last count, 12 frames an hour so far "
            "(job d1-0001-000)",
            "Label Studio: the project of job d1-0001-001 is being created",
        ],
        "wait; if it takes long, check that Label Studio is up and lets the stack create d1-0001-001",
    ),
    "a failed run": (
        ended(FAILED, "FailedJobs"),
        ["an operator: run 0001 failed in FailedJobs"],
        "fix the cause, then autolabel redrive d1",
    ),
    "a run that failed for an endpoint that is away": (
        ended(FAILED, "FailedUnits", models=(model(AWAY, failed=20),)),
        ["an operator: run 0001 failed in FailedUnits"],
        "autolabel models restore m@0001 (its endpoint yolo is missing), then autolabel redrive d1",
    ),
    "a stopped run": (
        ended(STOPPED, "Verify"),
        ["an operator: run 0001 was stopped in Verify"],
        "autolabel redrive d1, to resume the run",
    ),
    "a run that ended too long ago": (
        ended(OLD),
        ["an operator: run 0001 timed out"],
        "autolabel relabel d1: this run cannot be redriven (Execution ended more than 14 days ago)",
    ),
    "a failed run that a later one has followed": (
        followed(FAILED),
        ["an operator: run 0001 failed"],
        "nothing: run 0002 followed this one; autolabel status d1 shows it",
    ),
    "a labelled drive": (
        ended(SUCCEEDED),
        [],
        "nothing; autolabel fetch d1 --to FOLDER downloads the dataset",
    ),
    "a labelled drive of which few objects were rejected": (
        ended(SUCCEEDED, frames=99, refused=1, rejected={"rotated": 9, "empty-object": 1}),
        [],
        "nothing; autolabel fetch d1 --to FOLDER downloads the dataset",
    ),
    "a labelled drive of which many objects were rejected": (
        ended(SUCCEEDED, frames=5, refused=1, rejected={"rotated": 5, "empty-object": 1}),
        [],
        "autolabel fetch d1 --to FOLDER: its rejected.jsonl names 6 of 6 objects with the reason; mend or upload "
        "them again, then autolabel relabel d1",
    ),
    "a labelled drive to which a frame came late": (
        ended(SUCCEEDED, changes=Changes(late=1, more=AT)),
        [],
        "autolabel relabel d1: a new run takes in what came or changed after this one began",
    ),
    "a labelled drive of which something was reported again": (
        ended(SUCCEEDED, changes=Changes(more=AT)),
        [],
        "nothing; autolabel fetch d1 --to FOLDER downloads the dataset; autolabel status d1 --full checks whether the "
        "objects reported since then are late",
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
