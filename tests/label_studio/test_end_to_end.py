"""Drives verified in a real Label Studio, through the whole pipeline on the embedded cloud."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import msgspec
import pytest

from autolabel.contracts.drive import FIRST_RUN, execution_name
from autolabel.contracts.run_folder import RunFolder
from autolabel.verification.label_studio.connection import Connection, S3Storage
from autolabel.verification.label_studio.notifications import HEADER, signature
from autolabel_cli.drives.run_progress import RunView
from autolabel_cli.models.catalogue import add_model, read_document
from autolabel_cli.operations.advice import next_step, waits_for
from autolabel_cli.operations.inspection import Inspection
from autolabel_cli.operations.interventions import redrive_run, relabel_drive, stop_run
from autolabel_cli.stack import Stack
from local import ACCOUNT, REGION, CloudSettings, EmbeddedCloud
from tests.e2e.pipeline import Pipeline, eventually, image, timestamps
from tests.label_studio.conftest import SECRET
from tests.label_studio.people import People
from tests.label_studio.server import TOKEN, LabelStudioServer
from tools.demo.deployment import PROJECT, STACK, deploy_endpoint, deploy_stack
from tools.permission_use import keep_permission_use

pytestmark = pytest.mark.cloud

# Much longer than a notification takes, and short enough for the test that waits for a poll.
POLL_SECONDS = 5
MODEL = (sys.executable, "-m", "tests.e2e.choosy_model", "--port", "{port}")
VERIFICATION = {"policy": "all", "back_end": "label-studio"}
# The model's detections in every frame.
CAR = ("car", 64, 72, 256, 144)
PERSON = ("person", 448, 72, 64, 252)
AWAY = "0" * 40


@dataclass(frozen=True)
class Studio:
    """A deployed pipeline and the Label Studio of its reviewers."""

    pipeline: Pipeline
    server: LabelStudioServer
    people: People
    secret: str

    def store(self, **changes: Any) -> str:
        """Write a connection with a valid token to the secret; returns its text."""
        connection = msgspec.structs.replace(Connection(self.server.url, TOKEN, SECRET), **changes)
        text = msgspec.json.encode(connection).decode()
        self.pipeline.cloud.client("secretsmanager").put_secret_value(SecretId=self.secret, SecretString=text)
        return text

    def connect(self, **changes: Any) -> None:
        """Write a connection to the secret, and let the verify function start anew to read it."""
        text = self.store(**changes)
        # A running function keeps the secret for a minute; a new description starts a new process.
        functions = self.pipeline.cloud.client("lambda")
        name = self.function("VerifyFunction")
        functions.update_function_configuration(FunctionName=name, Description=f"knows {hash(text)}")

    def function(self, name: str) -> str:
        listed = self.pipeline.cloud.client("lambda").list_functions()["Functions"]
        return next(str(one["FunctionName"]) for one in listed if f"-{name}-" in one["FunctionName"])

    def drive(self, name: str, frames: int, verification: dict[str, str] = VERIFICATION) -> None:
        self.pipeline.upload(name, {f"front/{t}.png": image() for t in timestamps(frames)}, verification=verification)

    def project(self, drive: str, ending: str = "-0001-000") -> int:
        """The project of a drive's job, as soon as its run waits for reviewers."""

        def look() -> int | None:
            found = self.people.call("GET", "/api/projects/?page_size=1000")["results"]
            ids = [one["id"] for one in found if one["title"].startswith(drive) and one["title"].endswith(ending)]
            return ids[0] if ids and self.state(drive) == "AwaitPeople" else None

        return eventually(look, f"the project of {drive}", 60)

    def title(self, project: int) -> str:
        return str(self.people.call("GET", f"/api/projects/{project}/")["title"])

    def history(self, drive: str) -> list[dict[str, Any]]:
        """The events of the drive's first run and of its jobs, in the order of their times."""
        states = self.pipeline.cloud.client("stepfunctions")
        arns = [self.pipeline.stack.execution_arn(execution_name(drive, FIRST_RUN))]
        for run in states.list_map_runs(executionArn=arns[0])["mapRuns"]:
            jobs = states.list_executions(mapRunArn=run["mapRunArn"])["executions"]
            arns += [job["executionArn"] for job in jobs if "/Jobs:" in run["mapRunArn"]]
        pages = states.get_paginator("get_execution_history")
        events = [event for arn in arns for page in pages.paginate(executionArn=arn) for event in page["events"]]
        return sorted(events, key=itemgetter("timestamp"))

    def state(self, drive: str) -> str:
        """The state that the run entered last, also inside Verify."""
        entered = [
            e["stateEnteredEventDetails"]["name"] for e in self.history(drive) if "stateEnteredEventDetails" in e
        ]
        return str(entered[-1]) if entered else ""

    def wakes(self, drive: str) -> list[str]:
        """The event type with which each wait for reviewers ended."""
        kinds = ("TaskSucceeded", "TaskTimedOut")
        details = ("taskSucceededEventDetails", "taskTimedOutEventDetails")
        return [
            event["type"]
            for event in self.history(drive)
            if event["type"] in kinds
            and next(event[d]["resource"] for d in details if d in event) == "invoke.waitForTaskToken"
        ]

    def await_look(self, drive: str) -> None:
        """Wait until the run has polled once more and waits again."""
        before = len(self.wakes(drive))
        eventually(lambda: len(self.wakes(drive)) > before and self.state(drive) == "AwaitPeople", "another poll", 60)

    def failures(self, drive: str, error: str) -> list[dict[str, Any]]:
        """The function calls that failed with this error."""
        ended = (event.get("taskFailedEventDetails", {}) for event in self.history(drive))
        return [details for details in ended if details.get("error") == error]

    def boxes(self, drive: str) -> list[list[tuple[Any, ...]] | None]:
        """The verified boxes of each frame of the dataset, in order; None for an unverified frame."""
        return [pixels(line) for line in self.pipeline.lines(drive, "dataset.manifest")]


def pixels(line: dict[str, Any]) -> list[tuple[Any, ...]] | None:
    if "verified" not in line:
        return None
    names = line["verified-metadata"]["class-map"]
    return [
        (names[str(box["class_id"])], box["left"], box["top"], box["width"], box["height"])
        for box in line["verified"]["annotations"]
    ]


@pytest.fixture(scope="module")
def studio(server: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The deployed stack, with a secret whose token Label Studio does not accept."""
    folder = tmp_path_factory.mktemp("cloud")
    settings = CloudSettings(images={"choosy": MODEL}, annotator_is_person=True, wait_scale=0.1, enforce_iam=True)
    with EmbeddedCloud(folder, settings=settings) as cloud:
        text = msgspec.json.encode(Connection(server.url, AWAY, SECRET)).decode()
        secret = cloud.client("secretsmanager").create_secret(Name="label-studio", SecretString=text)["ARN"]
        parameters = {
            "LabelStudioConnectionArn": secret,
            "ProjectPollSeconds": str(POLL_SECONDS),
            "AwaitTimeoutSeconds": "5",
            "FramesPollSeconds": "1",
        }
        deploy_stack(cloud, folder, parameters)
        stack = Stack.find(STACK, cloud.client)
        model = read_document(PROJECT / "models" / "yolox-nano.json", endpoint="choosy")
        awake = {"MinInstances": "1"}
        deploy_endpoint(cloud, stack.outputs, endpoint=model.endpoint, image="choosy", parameters=awake)
        add_model(stack, msgspec.structs.replace(model, name="choosy"))
        pipeline = Pipeline(cloud, stack, "")
        yield Studio(pipeline, server, People(server.url), secret)
        keep_permission_use(cloud, "label-studio")
        # A function may go on after a refusal by IAM, which no other check would notice.
        assert pipeline.refusals() == []


def moved(result: dict[str, Any], **value: float) -> dict[str, Any]:
    """A box with other values, in percent of the picture."""
    return {**result, "value": {**result["value"], **value}}


def test_a_refused_token_fails_the_run_until_it_is_fixed(studio: Studio) -> None:
    studio.drive("refused", 1)
    ended = studio.pipeline.end("refused")
    assert ended.status == "FAILED"
    assert studio.secret in ended.failure
    assert "is not, or no longer, accepted" in ended.failure
    assert AWAY not in ended.failure
    studio.store()
    studio.pipeline.redrive("refused")
    project = studio.project("refused")
    studio.people.accept(studio.people.tasks(project)[0])
    assert studio.pipeline.succeed("refused")["frames"]["labelled"] == 1
    assert studio.boxes("refused") == [[CAR, PERSON]]


def test_edits_are_in_the_dataset_and_skipped_frames_are_shown_again(studio: Studio) -> None:
    studio.connect()
    people = studio.people
    studio.drive("worked", 6)
    project = studio.project("worked")
    tasks = people.tasks(project)
    assert [task["data"]["source-ref"].rpartition("/")[2] for task in tasks] == [f"{t}.png" for t in timestamps(6)]
    # The function signed the frame's address with its own permissions.
    with urllib.request.urlopen(tasks[0]["data"]["image"], timeout=30) as frame:
        assert frame.read() == image()
    accepted, changed, added, deleted, relabelled, skipped = tasks
    people.accept(accepted)
    car, person = people.shown(changed)
    people.submit(changed, [moved(car, x=0, width=25), person])
    light = moved(person, x=50, y=25, width=5, height=10)
    light["value"]["rectanglelabels"] = ["traffic light"]
    people.submit(added, [*people.shown(added), {**light, "id": "by-hand"}])
    people.submit(deleted, people.shown(deleted)[:1])
    car, person = people.shown(relabelled)
    people.submit(relabelled, [moved(car, rectanglelabels=["truck"]), person])
    people.skip(skipped)

    again = studio.project("worked", "-0001-000-again")
    (task,) = people.tasks(again)
    assert task["data"]["source-ref"] == skipped["data"]["source-ref"]
    people.submit(task, [])
    summary = studio.pipeline.succeed("worked")
    assert studio.boxes("worked") == [
        [CAR, PERSON],
        [("car", 0, 72, 160, 144), PERSON],
        [CAR, PERSON, ("traffic light", 320, 90, 32, 36)],
        [CAR],
        [("truck", *CAR[1:]), PERSON],
        [],
    ]
    lines = studio.pipeline.lines("worked", "dataset.manifest")
    statuses = [line["verified-metadata"]["adjustment-status"] for line in lines]
    assert statuses == ["unadjusted", *["adjusted"] * 5]
    assert [line["verified-metadata"]["job-name"] for line in lines] == [
        *[f"labeling-job/{studio.title(project)}"] * 5,
        f"labeling-job/{studio.title(again)}",
    ]
    assert {line["provenance"]["labelled-by"] for line in lines} == {"model and person"}
    assert all(line["review"]["seconds"] == 2.5 for line in lines)
    assert sum(job["frames"] for job in summary["verification"]) == 6


def test_answers_before_a_stop_and_a_relabelling_are_in_the_dataset(studio: Studio) -> None:
    studio.connect()
    people, stack, drive = studio.people, studio.pipeline.stack, "halfway"
    studio.drive(drive, 4)
    project = studio.project(drive)
    first, second, *_ = people.tasks(project)
    people.submit(first, people.shown(first)[:1])
    # A redriven run goes on in the same project.
    stop_run(stack, drive)
    redrive_run(stack, drive)
    assert studio.project(drive) == project
    people.accept(second)
    stop_run(stack, drive)
    relabel_drive(stack, drive)

    def tasks_of_the_new_run() -> list[dict[str, Any]]:
        found = people.call("GET", "/api/projects/?page_size=1000")["results"]
        ids = [one["id"] for one in found if one["title"].startswith(drive) and one["title"].endswith("-0002-000")]
        tasks = people.tasks(ids[0]) if ids else []
        return tasks if len(tasks) == 2 else []

    open_tasks = eventually(tasks_of_the_new_run, "the tasks of the new run", 90)
    # The old tasks are closed, and no answered frame is asked again.
    assert [task["id"] for task in people.tasks(project)] == [first["id"], second["id"]]
    asked = {task["data"]["source-ref"] for task in open_tasks}
    assert not asked & {first["data"]["source-ref"], second["data"]["source-ref"]}
    for task in open_tasks:
        people.accept(task)
    view = RunView(stack, drive, "0002")
    ended = eventually(lambda: progress if (progress := view.look()).ended else None, "the end of the new run", 90)
    assert ended.status == "SUCCEEDED", ended.failure
    lines = [json.loads(line) for line in stack.labels.lines(RunFolder(drive, "0002").dataset)]
    assert [pixels(line) for line in lines] == [[CAR], *[[CAR, PERSON]] * 3]
    assert [line["provenance"]["triage"] for line in lines] == ["kept", "kept", "everything", "everything"]
    assert [line["provenance"].get("kept", {}).get("run") for line in lines] == ["0001", "0001", None, None]


def notify(studio: Studio, project: int, body: dict[str, Any], signed: str) -> int:
    """Send a notification to the address that Label Studio has; returns the status."""
    (hook,) = studio.people.call("GET", f"/api/webhooks/?project={project}")
    request = urllib.request.Request(
        hook["url"], data=json.dumps(body).encode(), headers={HEADER: signed, "Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as e:
        return e.code


DONE = {"action": "ANNOTATION_CREATED", "project": {"id": 1, "task_number": 1, "finished_task_number": 1}}


def test_the_last_notification_wakes_the_run_a_forged_one_does_not(studio: Studio) -> None:
    studio.connect()
    studio.drive("woken", 2)
    project = studio.project("woken")
    first, second = studio.people.tasks(project)
    studio.people.accept(first)
    for signed in ("", signature("another secret", studio.title(project)), signature(SECRET, "another-job")):
        assert notify(studio, project, DONE, signed) == 401
    studio.await_look("woken")
    status = Inspection(studio.pipeline.stack, "woken", now=time.time()).drive()
    name = studio.title(project)
    [reviewers] = waits_for(status)
    assert reviewers.startswith(f"reviewers in Label Studio project {project}: 1 of 2 frames done at the last count")
    assert reviewers.endswith(f"(job {name})")
    assert f"(project {project})" in next_step(status)
    # Right after a poll, so that no other poll comes in between.
    studio.await_look("woken")
    assert set(studio.wakes("woken")) == {"TaskTimedOut"}
    studio.people.accept(second)
    studio.pipeline.succeed("woken")
    assert studio.wakes("woken")[-1] == "TaskSucceeded"


def test_the_next_poll_makes_up_for_a_lost_notification(studio: Studio) -> None:
    studio.connect()
    studio.drive("unheard", 1)
    project = studio.project("unheard")
    (hook,) = studio.people.call("GET", f"/api/webhooks/?project={project}")
    studio.people.call("DELETE", f"/api/webhooks/{hook['id']}/")
    studio.people.accept(studio.people.tasks(project)[0])
    studio.pipeline.succeed("unheard")
    assert studio.wakes("unheard")[-1] == "TaskTimedOut"
    assert studio.boxes("unheard") == [[CAR, PERSON]]


def test_a_run_survives_a_restart_of_label_studio(studio: Studio) -> None:
    studio.connect()
    studio.drive("stopped", 2)
    project = studio.project("stopped")
    first, second = studio.people.tasks(project)
    studio.people.submit(first, studio.people.shown(first)[:1])
    studio.server.stop()
    try:
        # The run polls, and the server does not answer.
        eventually(
            lambda: studio.failures("stopped", "VerificationUnavailable"), "a poll that fails", POLL_SECONDS + 30
        )
    finally:
        studio.server.start()
    assert studio.pipeline.view("stopped").look().status == "RUNNING"
    studio.people.accept(second)
    studio.pipeline.succeed("stopped")
    assert studio.boxes("stopped") == [[CAR], [CAR, PERSON]]
    assert len(studio.people.tasks(project)) == 2


def test_frames_are_shown_through_the_connected_storage(studio: Studio) -> None:
    keys = {"aws_access_key_id": ACCOUNT, "aws_secret_access_key": "embedded", "region_name": REGION}
    storage = S3Storage(s3_endpoint=studio.pipeline.cloud.endpoint_url, **keys)
    studio.connect(images="storage", storage=storage)
    studio.drive("stored", 1)
    project = studio.project("stored")
    (task,) = studio.people.tasks(project)
    assert task["data"]["image"] == task["data"]["source-ref"]
    # The address that the page gets, and its target.
    shown = studio.people.call("GET", f"/api/tasks/{task['id']}/")["data"]["image"]
    request = urllib.request.Request(studio.server.url + shown[shown.index("/tasks/") :])
    request.add_unredirected_header("Authorization", f"Token {TOKEN}")
    with urllib.request.urlopen(request, timeout=30) as frame:
        assert frame.read() == image()
    studio.people.accept(task)
    studio.pipeline.succeed("stored")
    assert studio.boxes("stored") == [[CAR, PERSON]]
