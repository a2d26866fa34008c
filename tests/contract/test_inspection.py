"""What `status` reads of a stack: the ledger, queues and buckets by moto, the executions as a test says."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import boto3
import msgspec
import pytest
import yaml
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.contracts.frames import FrameKey, ListedFrame
from autolabel.contracts.logs import LogFolder, LogRecord
from autolabel.contracts.ports import PendingUnit
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.units import Unit
from autolabel.reporting.summary import FrameCounts, Summary
from autolabel_cli.errors import CommandError, explain
from autolabel_cli.models.catalogue import add_model, change_index, without_model
from autolabel_cli.operations.advice import ASKING_STATES, STATES, next_step, waits_for
from autolabel_cli.operations.dead_letters import DeadLetterQueue
from autolabel_cli.operations.drive_status import Changes, ModelStatus, ProjectStatus
from autolabel_cli.operations.inspection import Inspection
from autolabel_cli.operations.interventions import redrive_run
from autolabel_cli.operations.projects import OPEN, OPENING
from autolabel_cli.stack import Stack
from tests.contract.conftest import create_bucket, create_table
from tests.contract.template import state_machine_text
from tests.fakes.answers import DETECTOR

NOW = 1_000_000.0
MODEL = DETECTOR.id
RUN = Run("d1", "0001", DriveDocument("car", {"front": Camera()}), "e", (MODEL,), "2026.1", ("car",), since=NOW - 60)
PARAMETERS = {
    "LabelStudioConnectionArn": "arn:secret",
    "UnsubmittedAfterSeconds": "3600",
    "AbandonedAfterSeconds": "7200",
    "FramesPatienceSeconds": "600",
}


class States:
    """An execution's description and history, the latest event first. `jobs`: the executions of Verify's map."""

    def __init__(self, status: str, *events: dict[str, Any], jobs: Sequence[States] = (), **more: Any) -> None:
        self.jobs = jobs
        self.described = {"status": status, "startDate": datetime.fromtimestamp(NOW - 60, UTC), **more}
        self.events = [{"timestamp": datetime.fromtimestamp(NOW - i, UTC), **event} for i, event in enumerate(events)]

    def describe_execution(self, **_: Any) -> dict[str, Any]:
        return self.described

    def get_paginator(self, name: str) -> Paginator:
        return Paginator(getattr(self, name))

    def get_execution_history(self, **given: Any) -> Iterator[dict[str, Any]]:
        """One event a page."""
        _, _, index = given["executionArn"].partition("#")
        one = self.jobs[int(index)] if index else self
        return ({"events": [event]} for event in one.events)

    def list_map_runs(self, **_: Any) -> Iterator[dict[str, Any]]:
        """The newest of two map runs of Verify has the jobs."""
        for at, run in enumerate(["old/Jobs:1", "new/Jobs:2", "old/Shards:3"] if self.jobs else []):
            yield {"mapRuns": [{"mapRunArn": run, "startDate": datetime.fromtimestamp(NOW + at, UTC)}]}

    def list_executions(self, **given: Any) -> Iterator[dict[str, Any]]:
        assert given == {"mapRunArn": "new/Jobs:2"}
        for at, one in enumerate(self.jobs):
            yield {"executions": [{"executionArn": f"job#{at}", "status": one.described["status"]}]}


class Paginator:
    def __init__(self, pages: Callable[..., Iterator[dict[str, Any]]]) -> None:
        self.paginate = pages


class SageMaker:
    """Every endpoint serves, and no job was made; `created`: of the endpoints, None when they are missing."""

    def __init__(self) -> None:
        self.created: float | None = 0.0

    def describe_endpoint(self, **_: Any) -> dict[str, Any]:
        if self.created is None:
            raise ClientError({"Error": {"Code": "ValidationException"}}, "DescribeEndpoint")
        return {"EndpointStatus": "InService", "CreationTime": datetime.fromtimestamp(self.created, UTC)}


def entered(name: str, kind: str = "TaskStateEntered", /, **given: Any) -> dict[str, Any]:
    return {"type": kind, "stateEnteredEventDetails": {"name": name, "input": json.dumps(given)}}


def worked(state: str, first: int, **more: Any) -> dict[str, Any]:
    """The job of the shards from `first` on enters a state of its own."""
    job = {"first": first, "back_end": "label-studio", "name": f"d1-{first}", "frames": 5, "rounds": [], "round": 1}
    return entered(state, **job, **more)


def reconciled(**report: Any) -> dict[str, Any]:
    output = json.dumps({"turn": 4, "pending": 0, "missing": 0, "paused": [], "cursor": None, **report})
    return {"type": "TaskStateExited", "stateExitedEventDetails": {"name": "Reconcile", "output": output}}


def stack_of(states: States) -> Stack:
    clients = {name: boto3.client(name) for name in ("s3", "dynamodb", "sqs")}
    queues = {
        f"{kind}Url": clients["sqs"].create_queue(QueueName=kind)["QueueUrl"]
        for kind in ("SubmitQueue", "SubmitDeadLetters", "CollectQueue", "CollectDeadLetters")
    }
    create_table("ledger", clients["dynamodb"])
    outputs = {"LedgerName": "ledger", "StateMachineArn": "arn:aws:states:eu-central-1:1:stateMachine:m", **queues}
    for output, name in (("IngestBucketName", "ingest"), ("LabelBucketName", "labels")):
        create_bucket(name, clients["s3"])
        outputs[output] = name
    known: dict[str, Any] = {**clients, "stepfunctions": states, "sagemaker": SageMaker()}
    stack = Stack("autolabel", outputs, PARAMETERS, known.__getitem__)
    add_model(stack, DETECTOR)
    stack.ledger.allocate_run(RUN)
    return stack


def pending(stack: Stack, index: int, *, since: float, deadline: float = 0.0, failed: str = "") -> None:
    frame = FrameKey("d1", "front", f"{index:019d}", "png")
    unit = PendingUnit(Unit.of(frame, "e", MODEL), frame.key, "e", attempt=1, errors=0, since=since)
    stack.ledger.add_pending(unit)
    if deadline:
        stack.ledger.mark_invoked(unit, invoked=since, deadline=deadline, location="")
    if failed:
        stack.ledger.fail(unit, failed, NOW)


def freeze(stack: Stack, frames: int) -> None:
    listing = {"objects": frames + 1, "frames": frames, "cameras": {"front": frames}, "refused": {"empty-object": 1}}
    stack.labels.write("labels/d1/0001/listing.json", msgspec.json.encode(listing))


@pytest.mark.usefixtures("aws")
def test_pending_units_are_told_apart_by_what_they_wait_for() -> None:
    stack = stack_of(States("RUNNING", entered("AwaitInference"), reconciled(pending=7), entered("Reconcile")))
    freeze(stack, 20)
    for index, since in enumerate([NOW - 10, NOW - 20, 0.0, NOW - 4_000]):
        pending(stack, index, since=since)
    for index, deadline in enumerate([NOW + 5, NOW + 50, NOW - 1], start=10):
        pending(stack, index, since=NOW - 100, deadline=deadline)
    for index in range(20, 23):
        pending(stack, index, since=NOW, failed="out of memory")
    run = Inspection(stack, "d1", now=NOW).drive().run
    assert run is not None
    assert (run.state, run.turn, run.frames, run.refused) == ("AwaitInference", 4, 20, 1)
    (model,) = run.models
    assert (model.queued, model.parked, model.invoked, model.overdue) == (2, 1, 2, 2)
    assert (model.answered, model.failed, model.reasons) == (10, 3, {"out of memory": 3})


@pytest.mark.usefixtures("aws")
def test_units_of_a_lost_endpoint_wait_unless_their_model_was_removed() -> None:
    stack = stack_of(States("RUNNING", entered("AwaitInference")))
    pending(stack, 1, since=NOW - 100, deadline=NOW + 50)
    pending(stack, 2, since=0.0)
    sagemaker = stack.client("sagemaker")

    def model() -> ModelStatus:
        run = Inspection(stack, "d1", now=NOW).drive().run
        assert run is not None
        return run.models[0]

    sagemaker.created = None
    assert (model().invoked, model().parked, model().gives_up) == (1, 1, None)
    sagemaker.created = NOW - 10
    assert (model().invoked, model().overdue, model().gives_up) == (0, 1, None)
    change_index(stack, lambda index: without_model(index, DETECTOR.name))
    assert model().gives_up is None
    sagemaker.created = None
    assert model().gives_up == datetime.fromtimestamp(NOW + 50, UTC)


@pytest.mark.usefixtures("aws")
def test_rejected_objects_are_counted_by_reason_before_and_after_assembly() -> None:
    stack = stack_of(States("RUNNING", entered("LabelShards", "MapStateEntered")))
    freeze(stack, 4)

    def rejected() -> tuple[dict[str, int], int, bool]:
        run = Inspection(stack, "d1", now=NOW).drive().run
        return run.rejected, run.objects, run.many_rejected

    assert rejected() == ({"empty-object": 1}, 5, True)
    counts = {"rejected": {"rotated": 2, "empty-object": 1}, "failed": {"inference-failed": 1}}
    summary = Summary("d1", "0001", FrameCounts(5, 1, 1, 3), 0, {}, counts, {}, (), "", (), ())
    stack.labels.write(RunFolder("d1", "0001").summary, msgspec.json.encode(summary))
    assert rejected() == ({"rotated": 2, "empty-object": 1}, 5, True)


@pytest.mark.usefixtures("aws")
def test_reasons_that_all_differ_are_counted_together() -> None:
    stack = stack_of(States("RUNNING", entered("Reconcile")))
    for index in range(200):
        pending(stack, index, since=NOW, failed=f"request {index} died")
    (model,) = Inspection(stack, "d1", now=NOW).drive().run.models
    assert model.failed == sum(model.reasons.values()) == 200
    assert len(model.reasons) < 100
    assert model.answered is None


@pytest.mark.usefixtures("aws")
def test_units_that_a_turn_left_unasked_while_their_endpoint_is_away_are_not_taken_for_answered() -> None:
    report = reconciled(pending=5, paused=[f"{MODEL}: endpoint is missing"])
    stack = stack_of(States("RUNNING", entered("AwaitInference"), report))
    freeze(stack, 12)
    pending(stack, 1, since=NOW)
    (model,) = Inspection(stack, "d1", now=NOW).drive().run.models
    assert (model.answered, model.queued, model.parked) == (7, 1, 4)


@pytest.mark.parametrize(
    ("events", "state", "turn"),
    [
        ((entered("Reconcile"),), "Reconcile", 0),
        ((entered("AwaitFrames", "WaitStateEntered"), reconciled(turn=2, missing=3)), "AwaitFrames", 2),
        # The states of a map's iterations are not the run's
        ((entered("LabelingJob"), {"type": "MapIterationStarted"}, entered("Verify", "MapStateEntered")), "Verify", 0),
        (({"type": "ExecutionRedriven"}, entered("PlanShards"), reconciled()), "PlanShards", 0),
    ],
)
@pytest.mark.usefixtures("aws")
def test_the_state_of_a_run_is_the_outermost_that_was_entered_last(
    events: tuple[dict[str, Any], ...], state: str, turn: int
) -> None:
    stack = stack_of(States("RUNNING", *events))
    run = Inspection(stack, "d1", now=NOW).drive().run
    assert run is not None
    assert (run.state, run.turn) == (state, turn)


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("execution", "redrivable", "waits", "following"),
    [
        ("RUNNING", True, ["the extraction of 1 log"], "wait: the logs are extracted"),
        ("FAILED", True, ["an operator: the extraction of log a.mcap failed: E: why"], "fix the cause, then autolabel"),
        (
            "FAILED",
            False,
            ["an operator: the extraction of log a.mcap failed: E: why"],
            "log a.mcap cannot be redriven",
        ),
    ],
)
def test_a_drive_of_logs_waits_for_their_extraction(
    execution: str, redrivable: bool, waits: list[str], following: str
) -> None:
    status = "REDRIVABLE" if redrivable else "NOT_REDRIVABLE"
    stack = stack_of(States(execution, error="E", cause="why", redriveStatus=status))
    stack = dataclasses.replace(stack, outputs={**stack.outputs, "ExtractMachineArn": "arn:x:stateMachine:extract"})
    for name in ("a.mcap", "b.bag"):
        stack.ingest.write(f"drives/d9/logs/{name}", name.encode())
    head = stack.ingest.head("drives/d9/logs/b.bag")
    assert head is not None
    cameras = {"front": 7}
    etag = next(thing.etag for thing in stack.ingest.list("drives/d9/logs/a.mcap"))
    for number, part in ((0, "chunks.json"), (0, "frames.jsonl"), (0, "result.json"), (1, "chunks.json")):
        stack.labels.write(LogFolder("d9", "a.mcap", etag).slice(number, part), b"")
    stack.ledger.end_log(LogRecord("d9", "b.bag", head.etag, "extracted", NOW, cameras=cameras, messages=9, skipped=2))
    found = Inspection(stack, "d9", now=NOW).drive()
    assert [(log.name, log.frames) for log in found.logs] == [("a.mcap", 0), ("b.bag", 7)]
    slices = (2, 1) if execution == "RUNNING" else (0, 0)
    assert (found.logs[0].slices, found.logs[0].done) == slices
    assert waits_for(found) == waits
    assert next_step(found).startswith(following)
    assert waits_for(Inspection(stack, "d9", now=NOW).glance(None, "")) == waits


@pytest.mark.usefixtures("aws")
def test_projects_of_label_studio_are_told_by_the_executions_of_the_jobs() -> None:
    stack = stack_of(
        States(
            "RUNNING",
            entered("Verify", "MapStateEntered"),
            jobs=[
                States("RUNNING", worked("AwaitPeople", 4, job="d1-4-again", output="12", looks=0, done=5, total=5)),
                States(
                    "RUNNING",
                    {"type": "TaskScheduled"},
                    worked("AwaitPeople", 0, job="d1-0", output="9", looks=2, done=3, total=5),
                    worked("OpenProject", 0),
                ),
                States("RUNNING", worked("Settle", 8, job="d1-8", output="10", looks=1, done=5, total=5)),
                States("RUNNING", worked("OpenProject", 16)),
                States("SUCCEEDED", worked("AwaitPeople", 20, job="d1-20", output="1")),
            ],
        )
    )
    run = Inspection(stack, "d1", now=NOW).drive().run
    assert run is not None
    assert run.projects == (
        ProjectStatus("d1-0", "9", 5, 3, 5),
        ProjectStatus("d1-16", "", 5),
        ProjectStatus("d1-4-again", "12", 5),
    )


@pytest.mark.usefixtures("aws")
def test_projects_of_an_older_run_are_told_by_its_execution_alone() -> None:
    opened = {"job": "d1-4-again", "output": "12", "looks": 0, "done": 5, "total": 5}
    stack = stack_of(
        States(
            "RUNNING",
            # The second round of one job and a look at another; a third has settled, and a fourth is Ground Truth's.
            worked("AwaitPeople", 4, **opened),
            worked("AwaitPeople", 0, job="d1-0", output="9", looks=2, done=3, total=5, opened=(NOW - 7_201) * 1_000),
            worked("Settle", 8, job="d1-8", output="10", looks=1, done=5, total=5),
            entered("LabelingJob", first=12, back_end="ground-truth", name="d1-12", frames=5),
            worked("LookAtProject", 0, job="d1-0", output="9", looks=1, done=1, total=5),
            worked("OpenProject", 16),
            worked("LookAtProject", 4, job="d1-4", output="11", looks=1, done=5, total=5),
            {"type": "MapIterationStarted"},
            entered("Verify", "MapStateEntered"),
            # Of a try before.
            worked("AwaitPeople", 20, job="d1-20", output="1"),
        )
    )
    run = Inspection(stack, "d1", now=NOW).drive().run
    assert run is not None
    assert run.projects == (
        ProjectStatus("d1-0", "9", 5, 3, 5, hourly=1.5),
        ProjectStatus("d1-4-again", "12", 5),
        ProjectStatus("d1-16", "", 5),
    )


def test_the_states_of_a_project_are_the_state_machines() -> None:
    inner = yaml.safe_load(state_machine_text())["States"]["Verify"]["ItemProcessor"]["States"]
    assert set(inner) >= OPEN | OPENING


@pytest.mark.usefixtures("aws")
def test_a_run_that_cannot_be_redriven_says_why() -> None:
    states = States("FAILED", redriveStatus="NOT_REDRIVABLE", redriveStatusReason="too old", error="E", cause="why")
    execution = Inspection(stack_of(states), "d1", now=NOW).execution("0001")
    assert (execution.not_redrivable, execution.error) == ("too old", "E: why")


def test_every_outermost_state_has_its_words() -> None:
    assert set(STATES) == set(yaml.safe_load(state_machine_text())["States"])
    assert set(STATES) >= ASKING_STATES


@pytest.mark.parametrize(
    ("queue", "body", "drive"),
    [
        ("submit", {"kind": "close", "drive": "d7"}, "d7"),
        ("submit", {"Records": [{"eventName": "ObjectCreated:Put", "s3": {}}]}, None),
        (
            "collect",
            {"eventName": "InferenceResult", "requestParameters": {"inputLocation": "s3://b/drives/d7/c/1"}},
            "d7",
        ),
        ("collect", {"eventName": "InferenceResult"}, None),
        ("collect", "no JSON {", None),
    ],
)
@pytest.mark.usefixtures("aws")
def test_a_dead_letter_is_looked_at_and_stays(queue: str, body: Any, drive: str | None) -> None:
    stack = stack_of(States("RUNNING"))
    text = body if isinstance(body, str) else json.dumps(body)
    stack.client("sqs").send_message(
        QueueUrl=stack.outputs[f"{queue.capitalize()}DeadLettersUrl"],
        MessageBody=text,
        MessageAttributes={"reason": {"DataType": "String", "StringValue": "KeyError: 'x'"}},
    )
    letters = DeadLetterQueue(stack, queue)
    for _ in range(2):
        assert letters.look(letters.count()) == [("KeyError: 'x'", drive)]
    assert letters.count() == 1


def test_a_move_that_somebody_else_has_begun_is_no_error() -> None:
    sqs = boto3.client("sqs", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
    outputs = {"SubmitDeadLettersUrl": "https://sqs/dead", "SubmitQueueUrl": "https://sqs/queue"}
    stack = Stack("autolabel", outputs, {}, lambda service: sqs)
    arn = {"Attributes": {"QueueArn": "arn:aws:sqs:eu-central-1:1:q"}}
    counts = {"Attributes": {"ApproximateNumberOfMessages": "1", "ApproximateNumberOfMessagesNotVisible": "0"}}
    with Stubber(sqs) as stub:
        stub.add_response("get_queue_attributes", arn)
        stub.add_response("list_message_move_tasks", {"Results": []})
        stub.add_response("get_queue_attributes", counts)
        stub.add_response("get_queue_attributes", arn)
        stub.add_client_error("start_message_move_task", "AWS.SimpleQueueService.UnsupportedOperation")
        assert DeadLetterQueue(stack, "submit").move_back(lambda moved, total: None) == ("already", 0)
        stub.add_response("get_queue_attributes", arn)
        task = {"Status": "RUNNING", "ApproximateNumberOfMessagesMoved": 3}
        stub.add_response("list_message_move_tasks", {"Results": [task]})
        assert DeadLetterQueue(stack, "submit").move_back(lambda moved, total: None) == ("already", 3)


def test_a_move_that_ends_half_way_is_told_with_its_reason() -> None:
    sqs = boto3.client("sqs", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
    outputs = {"SubmitDeadLettersUrl": "https://sqs/dead", "SubmitQueueUrl": "https://sqs/queue"}
    stack = Stack("autolabel", outputs, {}, lambda service: sqs)
    arn = {"Attributes": {"QueueArn": "arn:aws:sqs:eu-central-1:1:q"}}
    counts = {"Attributes": {"ApproximateNumberOfMessages": "9", "ApproximateNumberOfMessagesNotVisible": "0"}}
    task = {"Status": "FAILED", "ApproximateNumberOfMessagesMoved": 4, "FailureReason": "AccessDenied"}
    with Stubber(sqs) as stub:
        stub.add_response("get_queue_attributes", arn)
        stub.add_response("list_message_move_tasks", {"Results": []})
        stub.add_response("get_queue_attributes", counts)
        stub.add_response("get_queue_attributes", arn)
        stub.add_response("start_message_move_task", {"TaskHandle": "t"})
        stub.add_response("list_message_move_tasks", {"Results": [task]})
        with pytest.raises(CommandError, match=r"after 4 messages \(AccessDenied\)"):
            DeadLetterQueue(stack, "submit").move_back(lambda moved, total: None)


@pytest.mark.parametrize(
    ("code", "message", "operation", "words"),
    [
        (
            "AccessDeniedException",
            "User: arn:aws:iam::1:user/o is not authorized to perform: states:StopExecution on resource: arn:x",
            "StopExecution",
            "lacks states:StopExecution",
        ),
        ("403", "Forbidden", "HeadObject", "lacks s3:GetObject"),
        ("ThrottlingException", "Rate exceeded", "DescribeExecution", "DescribeExecution failed: Rate exceeded"),
    ],
)
def test_a_refusal_names_the_permission_that_is_missing(code: str, message: str, operation: str, words: str) -> None:
    status = 403 if "ccess" in code or code == "403" else 400
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert words in explain(ClientError(response, operation))


def list_frames(stack: Stack, *indices: int) -> None:
    """Upload frames, and freeze them as the run's listing."""
    for index in indices:
        stack.ingest.write(f"drives/d1/front/{index:019d}.png", b"x")
    there = stack.ingest.list("drives/d1/")
    lines = [ListedFrame(key=thing.key, etag=thing.etag, size=thing.size) for thing in there]
    stack.labels.write("labels/d1/0001/frames.jsonl", b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    freeze(stack, len(indices))


def changes_of(stack: Stack, *, full: bool = False) -> Changes:
    run = Inspection(stack, "d1", now=NOW, full=full).drive().run
    assert run is not None
    return run.changes


@pytest.mark.usefixtures("aws")
def test_uploads_that_were_only_reported_late_are_no_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = stack_of(States("SUCCEEDED", stopDate=datetime.fromtimestamp(NOW, UTC)))
    list_frames(stack, 1, 2)
    assert changes_of(stack) == Changes()
    # The event of a frame that is in the listing comes after the listing is frozen
    stack.ledger.mark_late("d1", NOW)
    assert changes_of(stack) == Changes()
    stack.ingest.write(f"drives/d1/front/{3:019d}.png", b"x")
    stack.ingest.write(f"drives/d1/front/{2:019d}.png", b"y")
    assert changes_of(stack) == Changes(late=1, overwritten=1)
    # Of a large drive, only --full tells
    monkeypatch.setattr("autolabel_cli.operations.inspection._MOST_COMPARED", 2)
    assert changes_of(stack) == Changes(more=datetime.fromtimestamp(NOW, UTC))
    assert changes_of(stack, full=True) == Changes(late=1, overwritten=1)


@pytest.mark.usefixtures("aws")
def test_a_run_without_a_listing_has_no_unchecked_reports() -> None:
    stack = stack_of(States("RUNNING", entered("Reconcile")))
    stack.ledger.mark_late("d1", NOW)
    assert changes_of(stack) == Changes()


class JobAtWork(SageMaker):
    """A private team has labelled 3 of 40 frames of one job in two hours."""

    team = "arn:aws:sagemaker:eu-central-1:1:workteam/private-crowd/night-shift"

    def describe_labeling_job(self, **asked: str) -> dict[str, Any]:
        if not asked["LabelingJobName"].endswith("-0001-000-1"):
            raise ClientError({"Error": {"Code": "ValidationException"}}, "DescribeLabelingJob")
        return {
            "LabelingJobStatus": "InProgress",
            "CreationTime": datetime.fromtimestamp(NOW - 7_200, UTC),
            "HumanTaskConfig": {"WorkteamArn": self.team},
            "InputConfig": {"DataSource": {"S3DataSource": {"ManifestS3Uri": "s3://labels/m"}}},
            "LabelCounters": {"TotalLabeled": 3, "Unlabeled": 37},
        }

    def describe_workteam(self, **asked: str) -> dict[str, Any]:
        assert asked == {"WorkteamName": "night-shift"}
        return {"Workteam": {"SubDomain": "x.labeling.eu-central-1.sagemaker.aws"}}


class HiddenTeam(JobAtWork):
    """The operator may not read work teams."""

    def describe_workteam(self, **asked: str) -> dict[str, Any]:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeWorkteam")


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("sagemaker", "portal"), [(JobAtWork(), "https://x.labeling.eu-central-1.sagemaker.aws"), (HiddenTeam(), "")]
)
def test_a_job_says_where_its_reviewers_work_and_how_fast(sagemaker: SageMaker, portal: str) -> None:
    stack = stack_of(States("RUNNING", entered("Verify", "MapStateEntered")))
    stack.labels.write("labels/d1/0001/manifests/verify-000.manifest", b"")
    given: dict[str, Any] = {name: stack.client(name) for name in ("s3", "dynamodb", "sqs", "stepfunctions")}
    stack = dataclasses.replace(stack, client={**given, "sagemaker": sagemaker}.__getitem__)
    run = Inspection(stack, "d1", now=NOW).drive().run
    assert run is not None
    (job,) = run.jobs
    assert (job.workteam, job.portal, job.hourly) == ("night-shift", portal, 1.5)


class StoppedJob(SageMaker):
    """One job was stopped when reviewers had answered 12 of 40 frames."""

    def describe_labeling_job(self, **asked: str) -> dict[str, Any]:
        if not asked["LabelingJobName"].endswith("-0001-000-1"):
            raise ClientError({"Error": {"Code": "ValidationException"}}, "DescribeLabelingJob")
        return {
            "LabelingJobStatus": "Stopped",
            "InputConfig": {"DataSource": {"S3DataSource": {"ManifestS3Uri": "s3://labels/m"}}},
            "LabelCounters": {"TotalLabeled": 12, "Unlabeled": 28},
        }


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("old", [True, False])
def test_a_run_of_an_old_definition_is_not_redriven_over_answers(old: bool) -> None:
    text = '{"States": {"LabelingJob": {}}}' if old else state_machine_text()
    states = States("ABORTED", stopDate=datetime.fromtimestamp(NOW, UTC), redriveStatus="REDRIVABLE")
    redriven: list[str] = []
    states.describe_state_machine_for_execution = lambda **_: {"definition": definition_of(text)}  # type: ignore[attr-defined]
    states.redrive_execution = lambda **asked: redriven.append(asked["executionArn"])  # type: ignore[attr-defined]
    stack = stack_of(states)
    stack.labels.write("labels/d1/0001/manifests/verify-000.manifest", b"")
    given: dict[str, Any] = {name: stack.client(name) for name in ("s3", "dynamodb", "sqs", "stepfunctions")}
    stack = dataclasses.replace(stack, client={**given, "sagemaker": StoppedJob()}.__getitem__)
    if old:
        with pytest.raises(CommandError, match="autolabel relabel d1 takes their answers into a new run"):
            redrive_run(stack, "d1")
    else:
        assert redrive_run(stack, "d1").outcome == "redriven"
    assert bool(redriven) == (not old)


def definition_of(text: str) -> str:
    """A definition as Step Functions returns it, in JSON."""
    return json.dumps(yaml.safe_load(text))
