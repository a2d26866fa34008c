"""What `logs` shows of a drive: log groups, ledger and bucket by moto."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel_cli.__main__ import main
from autolabel_cli.errors import CommandError
from autolabel_cli.operations.log_lines import DriveLog, Window, parse_line
from autolabel_cli.stack import Stack
from tests.contract.conftest import create_bucket, create_table

# CloudWatch refuses lines that are older than the retention.
BEGAN = time.time() - 3_600
REQUEST, OTHER = "0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002"


class Scene:
    """A stack with drive d1, and the logs of two functions and a state machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.logs = boto3.client("logs")
        self.status = "RUNNING"
        groups = {"SubmitLogs": "submit-logs", "VerifyLogs": "verify-logs", "LabelDriveLogs": "/aws/states"}
        for name in groups.values():
            self.logs.create_log_group(logGroupName=name)
            self.logs.create_log_stream(logGroupName=name, logStreamName="s")
        create_table("ledger")
        for name in ("ingest", "labels"):
            create_bucket(name)
        outputs = {"LedgerName": "ledger", "IngestBucketName": "ingest", "LabelBucketName": "labels"}
        outputs["StateMachineArn"] = "arn:aws:states:eu-central-1:1:stateMachine:m"
        states: Any = self
        clients = {"stepfunctions": states}
        self.stack = Stack("autolabel", outputs, {}, lambda name: clients.get(name) or boto3.client(name))
        monkeypatch.setattr(Stack, "resources", lambda _, kind: groups if kind == "AWS::Logs::LogGroup" else {})
        monkeypatch.setattr(Stack, "find", lambda name: self.stack)
        run = Run("d1", "0001", DriveDocument("v", {"f": Camera()}), "e", ("m.1",), "2026.1", ("car",), since=BEGAN)
        self.stack.ledger.allocate_run(run)

    def describe_execution(self, **_: Any) -> dict[str, Any]:
        return {"status": self.status}

    def write(self, group: str, after: float, line: str | dict[str, Any]) -> None:
        text = line if isinstance(line, str) else json.dumps(line)
        event = {"timestamp": int((BEGAN + after) * 1_000), "message": text}
        self.logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[event])

    def said(self, level: str = "INFO", **window: Any) -> list[tuple[str, str]]:
        log = DriveLog(self.stack, "d1", level)
        return [(line.source, line.message) for line in log.read(log.window(**window), 100).lines]


@pytest.fixture
def scene(aws: None, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_the_lines_of_all_groups_come_in_the_order_of_time(scene: Scene) -> None:
    scene.write("verify-logs", 30, {"level": "INFO", "message": "settled", "drive": "d1"})
    scene.write("submit-logs", 10, {"level": "WARNING", "message": "parked", "body": "drives/d1/f/1.png"})
    scene.write("submit-logs", 40, "drives/d1/f/2.png is late")
    failed = {"type": "ExecutionFailed", "execution_arn": "arn:aws:states:::execution:m:d1-0001", "details": {}}
    scene.write("/aws/states", 35, failed)
    assert scene.said() == [
        ("submit", "parked"),
        ("verify", "settled"),
        ("label-drive", "ExecutionFailed"),
        ("submit", "drives/d1/f/2.png is late"),
    ]
    assert scene.said("WARNING") == [("submit", "parked"), ("label-drive", "ExecutionFailed")]
    assert scene.said(since=BEGAN + 20, until=BEGAN + 32) == [("verify", "settled")]


def test_lines_of_drives_with_longer_or_other_names_are_left_out(scene: Scene) -> None:
    for drive in ("d10", "a-d1", "d1-b", "d1_b"):
        scene.write("submit-logs", 1, {"level": "INFO", "message": f"drive {drive}"})
    scene.write("submit-logs", 2, {"level": "INFO", "message": "like d1", "drive": "d2"})
    scene.write("submit-logs", 3, {"level": "INFO", "message": "ours", "execution": "d1-0001"})
    assert scene.said() == [("submit", "ours")]


def test_the_other_lines_of_a_call_are_shown_unless_another_drive_is_in_them(scene: Scene) -> None:
    scene.write("verify-logs", 1, {"level": "INFO", "message": "begins", "drive": "d1", "function_request_id": REQUEST})
    scene.write("verify-logs", 2, {"level": "ERROR", "message": "refused", "requestId": REQUEST, "stackTrace": []})
    scene.write("verify-logs", 3, f"2026-11-30T08:00:00.000Z {REQUEST} Task timed out after 60.00 seconds")
    scene.write("verify-logs", 4, {"level": "ERROR", "message": "of d2", "drive": "d2", "function_request_id": REQUEST})
    scene.write("verify-logs", 5, {"level": "INFO", "message": "drives/d2/f", "function_request_id": REQUEST})
    scene.write("verify-logs", 6, {"level": "ERROR", "message": "of nothing", "function_request_id": OTHER})
    record = {"requestId": REQUEST, "status": "success", "metrics": {"durationMs": 5}}
    scene.write("verify-logs", 7, {"type": "platform.report", "record": record})
    assert [said for _, said in scene.said()][:2] == ["begins", "refused"]
    assert len(scene.said()) == 3
    assert scene.said("DEBUG")[3:] == [("verify", "platform.report")]
    assert [said for _, said in scene.said("ERROR")] == [said for _, said in scene.said()][1:]


def test_a_limit_keeps_the_first_lines_and_says_where_to_go_on(scene: Scene) -> None:
    for index in range(5):
        scene.write("submit-logs", index, {"level": "INFO", "message": f"d1 line {index}"})
    shown = CliRunner().invoke(main, ["logs", "d1", "--limit", "2"], catch_exceptions=False).output.splitlines()
    assert [line.rpartition("line ")[2] for line in shown[:2]] == ["0", "1"]
    since = shown[2].split()[-3]
    shown = CliRunner().invoke(main, ["logs", "d1", "--since", since, "--json"], catch_exceptions=False).output
    assert [line["message"] for line in json.loads(shown)["lines"]] == [f"d1 line {index}" for index in range(1, 5)]


def test_following_tells_each_line_once_and_ends_with_the_run(scene: Scene) -> None:
    scene.write("submit-logs", 0, {"level": "INFO", "message": "d1 first"})
    steps: list[Callable[[], None]] = [
        lambda: scene.write("submit-logs", 1, {"level": "INFO", "message": "d1 second"}),
        lambda: setattr(scene, "status", "SUCCEEDED"),
        lambda: scene.write("verify-logs", 1, {"level": "INFO", "message": "d1 last"}),
    ]
    lines = DriveLog(scene.stack, "d1").follow(Window(BEGAN - 60, None), 100, lambda _: steps.pop(0)())
    assert [line.message for line in lines] == ["d1 first", "d1 second", "d1 last"]


def test_following_goes_on_when_one_moment_has_more_lines_than_the_limit(scene: Scene) -> None:
    for index in range(5):
        scene.write("submit-logs", 0, {"level": "INFO", "message": f"d1 line {index}"})
    scene.status = "SUCCEEDED"
    lines = DriveLog(scene.stack, "d1").follow(Window(BEGAN - 60, None), 2, lambda _: None)
    assert sorted(line.message for line in lines) == [f"d1 line {index}" for index in range(5)]


def test_an_unknown_drive_is_an_error(scene: Scene) -> None:
    with pytest.raises(CommandError, match="has no drive 'd9'"):
        DriveLog(scene.stack, "d9")
    assert "--follow has no end" in CliRunner().invoke(main, ["logs", "d1", "--follow", "--run", "0001"]).output


@given(st.text() | st.dictionaries(st.text(), st.none() | st.integers() | st.text()).map(json.dumps))
def test_every_line_can_be_read(text: str) -> None:
    line = parse_line("submit", 0.0, text)
    assert line.level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
