"""What `list` shows of a stack's drives: the ledger and buckets by moto, the executions as a test says."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import msgspec
import pytest
from botocore.exceptions import ClientError
from rich.console import Console

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel_cli.operations.overview import OPEN, Overview, Wanted, look_over
from autolabel_cli.operations.overview_display import show_overview
from autolabel_cli.stack import Stack
from tests.contract.conftest import create_bucket, create_table

NOW = 1_000_000.0
PARAMETERS = {"UnsubmittedAfterSeconds": "3600", "AbandonedAfterSeconds": "7200", "SweepMinutes": "60"}
REPORT = {"turn": 4, "pending": 0, "missing": 0, "paused": [], "cursor": None}


class States:
    """Executions by name with their status and events; the last one added is the latest."""

    def __init__(self) -> None:
        self.statuses: dict[str, str] = {}
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.read: list[str] = []

    def get_paginator(self, name: str) -> Any:
        return _Pages(self.listed if name == "list_executions" else self.history)

    def listed(self, **_: Any) -> Iterator[dict[str, Any]]:
        """Two executions a page."""
        found = [{"name": name, "status": status} for name, status in reversed(self.statuses.items())]
        return ({"executions": found[i : i + 2]} for i in range(0, len(found), 2))

    def history(self, executionArn: str, **_: Any) -> Iterator[dict[str, Any]]:  # noqa: N803
        name = executionArn.rpartition(":")[2]
        self.read.append(name)
        return iter([{"events": self.events.get(name, [])}])

    def describe_execution(self, **_: Any) -> dict[str, Any]:
        raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")


class _Pages:
    def __init__(self, paginate: Any) -> None:
        self.paginate = paginate


def entered(name: str) -> dict[str, Any]:
    at = datetime.fromtimestamp(NOW - 5, UTC)
    return {"type": "TaskStateEntered", "timestamp": at, "stateEnteredEventDetails": {"name": name, "input": "{}"}}


def reconciled(**report: Any) -> dict[str, Any]:
    output = msgspec.json.encode({**REPORT, **report}).decode()
    at = datetime.fromtimestamp(NOW - 6, UTC)
    details = {"name": "Reconcile", "output": output}
    return {"type": "TaskStateExited", "timestamp": at, "stateExitedEventDetails": details}


class Scene:
    """A stack with drives."""

    def __init__(self) -> None:
        self.states = States()
        clients: dict[str, Any] = {name: boto3.client(name) for name in ("s3", "dynamodb")}
        create_table("ledger", clients["dynamodb"])
        for name in ("ingest", "labels"):
            create_bucket(name, clients["s3"])
        outputs = {
            "LedgerName": "ledger",
            "StateMachineArn": "arn:aws:states:eu-central-1:1:stateMachine:m",
            "IngestBucketName": "ingest",
            "LabelBucketName": "labels",
        }
        clients |= {"stepfunctions": self.states, "sagemaker": None}
        self.stack = Stack("autolabel", outputs, PARAMETERS, clients.__getitem__)

    def run(self, drive: str, status: str, *events: dict[str, Any], run: str = "0001", outcome: str = "") -> None:
        """Give a drive a run with 12 frames. Without a status it has no execution."""
        allocated = Run(drive, run, DriveDocument("v", {"f": Camera()}), "e", ("m.0001",), "2026.1", ("car",), NOW - 60)
        self.stack.ledger.allocate_run(allocated)
        self.stack.ledger.mark_closed(drive)
        if outcome:
            self.stack.ledger.finish_run(allocated, outcome, NOW)
        listing = {"objects": 12, "frames": 12, "cameras": {"f": 12}, "refused": {}}
        self.stack.labels.write(allocated.folder.listing_counts, msgspec.json.encode(listing))
        if status:
            self.states.statuses[f"{drive}-{run}"] = status
            self.states.events[f"{drive}-{run}"] = list(events)

    def upload(self, drive: str, frames: int = 1) -> None:
        for index in range(frames):
            self.stack.ingest.write(f"drives/{drive}/front/{index:019d}.png", b"x")

    def look(self, limit: int = 50, **wanted: bool) -> Overview:
        return look_over(self.stack, Wanted(**wanted), limit, NOW)


@pytest.fixture
def scene(aws: None) -> Scene:
    return Scene()


def drives(overview: Overview) -> list[tuple[str, str, int | None]]:
    return [(entry.drive, entry.status, entry.frames) for entry in overview.drives]


def test_open_drives_come_first_and_then_the_latest_runs(scene: Scene) -> None:
    scene.run("forgotten-by-step-functions", "", outcome="published")
    scene.run("a-b", "SUCCEEDED")
    scene.run("b", "FAILED")
    scene.run("b", "RUNNING", entered("Assemble"), run="0002")
    scene.states.statuses["erased-0001"] = "SUCCEEDED"
    scene.upload("uploading", 3)
    scene.upload("a-b")
    overview = scene.look()
    assert drives(overview) == [
        ("uploading", OPEN, 3),
        ("b", "RUNNING", 12),
        ("a-b", "SUCCEEDED", 12),
        ("forgotten-by-step-functions", "SUCCEEDED", 12),
    ]
    assert (overview.known, overview.complete) == (4, True)
    assert [(entry.run, entry.state) for entry in overview.drives[:2]] == [("", ""), ("0002", "Assemble")]


def test_each_drive_says_what_it_waits_for(scene: Scene) -> None:
    scene.run("failed", "FAILED", entered("FailedUnits"))
    scene.run("answers", "RUNNING", entered("AwaitInference"), reconciled(pending=1))
    paused = ["m.0001: endpoint m is missing"]
    scene.run("away", "RUNNING", entered("AwaitInference"), reconciled(pending=7, paused=paused))
    scene.run("frames", "RUNNING", entered("AwaitFrames"), reconciled(missing=2))
    scene.run("works", "RUNNING", entered("LabelShards"))
    scene.run("never-started", "")
    scene.upload("uploading")
    scene.upload("broken")
    scene.stack.ingest.write("drives/broken/drive.json", b"{")
    scene.stack.ledger.record_refusal("broken", "drives/broken/drive.json", "not-json", "it is not JSON", 9e9)
    assert {entry.drive: entry.waits_for for entry in scene.look().drives} == {
        "failed": ("an operator: run 0001 failed in FailedUnits",),
        "answers": ("answers: 1 unit is pending",),
        "away": ("m.0001: endpoint m is missing",),
        "frames": ("2 expected frames that have not arrived",),
        "works": (),
        "never-started": ("an operator: run 0001 is allocated but has no execution",),
        "uploading": ("its drive.json, which closes it",),
        "broken": ("a valid drive.json; the last one was refused: it is not JSON",),
    }


def test_the_filters_choose_what_needs_an_operator_and_what_waits(scene: Scene) -> None:
    scene.run("published", "SUCCEEDED")
    scene.run("stopped", "ABORTED", entered("Verify"))
    scene.run("works", "RUNNING", entered("LabelShards"))
    scene.run("never-started", "")
    scene.run("repaired", "FAILED")
    scene.run("repaired", "SUCCEEDED", run="0002")
    scene.upload("uploading")
    assert {entry.drive for entry in scene.look(failed=True).drives} == {"stopped", "never-started"}
    assert {entry.drive for entry in scene.look(waiting=True).drives} == {"stopped", "never-started", "uploading"}


def test_a_limit_says_that_there_are_more_and_saves_their_reads(scene: Scene) -> None:
    for index in range(60):
        scene.run(f"d{index:02d}", "RUNNING", entered("LabelShards"))
    overview = scene.look(limit=3)
    assert [entry.drive for entry in overview.drives] == ["d59", "d58", "d57"]
    assert (overview.known, overview.complete) == (60, False)
    assert sorted(scene.states.read) == ["d57-0001", "d58-0001", "d59-0001"]
    assert scene.look(limit=60).complete


def test_the_frames_of_an_open_drive_are_not_all_counted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autolabel_cli.operations.inspection._MOST_GLANCED", 4)
    scene.upload("few", 3)
    scene.upload("many", 5)
    assert {entry.drive: (entry.frames, entry.more) for entry in scene.look().drives} == {
        "few": (3, False),
        "many": (4, True),
    }


@pytest.mark.parametrize(
    ("wanted", "limit", "closing"),
    [
        ({}, 9, "3 drives"),
        ({}, 2, "2 of 3 drives; --limit shows more"),
        ({"waiting": True}, 9, "2 of 3 drives wait"),
        ({"waiting": True}, 1, "1 that wait, of 3 drives; --limit shows more"),
        ({"failed": True}, 9, "0 of 3 drives failed or were stopped"),
    ],
)
def test_the_last_line_says_whether_these_are_all(
    scene: Scene, wanted: dict[str, bool], limit: int, closing: str
) -> None:
    scene.run("published", "SUCCEEDED")
    scene.upload("uploading")
    scene.upload("[uploading]-too")
    scene.run("answers", "RUNNING", entered("AwaitInference"), reconciled(pending=1_200))
    console = Console(width=200, file=io.StringIO(), record=True)
    show_overview(console, scene.look(limit, **wanted), Wanted(**wanted))
    lines = console.export_text().splitlines()
    assert lines[-1] == closing
    if not wanted and limit == 9:
        assert " ".join(lines[1].split()) == "uploading open 1 0 s its drive.json, which closes it"
        cells = "answers 0001 RUNNING in AwaitInference 12 60 s answers: 1,200 units are pending"
        assert " ".join(lines[2].split()) == cells
