"""What `watch` and `fetch` do with drives that have no run, and what `fetch` brings."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.contracts.run_folder import RunFolder
from autolabel_cli.__main__ import main
from autolabel_cli.drives.existence import check_drive
from autolabel_cli.drives.run_progress import RunView
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack
from tests.contract.conftest import create_bucket, create_table, shared_client

FOLDER = RunFolder("d1", "0001")


class NoExecutions:
    """Step Functions without any execution."""

    def describe_execution(self, **_: Any) -> None:
        raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")


@pytest.fixture
def stack(aws: None, monkeypatch: pytest.MonkeyPatch) -> Stack:
    create_bucket("ingest")
    create_bucket("labels")
    create_table("ledger")
    outputs = {
        "IngestBucketName": "ingest",
        "LabelBucketName": "labels",
        "LedgerName": "ledger",
        "StateMachineArn": "arn:aws:states:eu-central-1:1:stateMachine:m",
    }
    states = NoExecutions()
    stack = Stack("autolabel", outputs, {}, lambda name: states if name == "stepfunctions" else shared_client(name))
    monkeypatch.setattr(Stack, "find", lambda _: stack)
    return stack


def allocate(stack: Stack) -> None:
    document = DriveDocument("car", {"front": Camera()})
    stack.ledger.allocate_run(Run("d1", "0001", document, "e", (), "2026.1", ("car",)))


def refuse(stack: Stack, at: float) -> None:
    stack.ingest.write("drives/d1/drive.json", b"no JSON")
    stack.ledger.record_refusal("d1", "drives/d1/drive.json", "document-unreadable", "drive.json is not JSON", at)


@pytest.mark.parametrize("command", ["watch", "fetch"])
@pytest.mark.parametrize("situation", ["unknown", "refused", "no such run", "no name"])
def test_a_drive_without_a_run_fails_at_once(stack: Stack, tmp_path: Path, command: str, situation: str) -> None:
    drive = "../d1" if situation == "no name" else "d1"
    options = ["--run", "0007"] if situation == "no such run" else []
    if situation == "refused":
        refuse(stack, time.time() + 5)
    if situation == "no such run":
        allocate(stack)
    to = tmp_path / "results"
    began = time.monotonic()
    done = CliRunner().invoke(main, [command, drive, *options, *(["--to", str(to)] if command == "fetch" else [])])
    assert time.monotonic() - began < 10
    assert done.exit_code == 1
    said = {
        "unknown": "stack 'autolabel' has no drive 'd1': no object is under s3://ingest/drives/d1/",
        "refused": "drive 'd1' has no run, because its drive.json was refused: drive.json is not JSON",
        "no such run": "drive 'd1' has no run '0007'; its latest run is 0001",
        "no name": "'../d1' is not a valid drive name",
    }
    assert said[situation] in done.output
    assert not to.exists()


def test_an_open_drive_and_one_with_a_newer_document_are_waited_for(stack: Stack) -> None:
    stack.ingest.write("drives/d1/front/1795387974766619850.png", b"")
    check_drive(stack, "d1")
    refuse(stack, time.time() - 60)
    check_drive(stack, "d1")


def test_a_drive_whose_log_is_extracted_is_waited_for_until_that_fails(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = dataclasses.replace(stack, outputs={**stack.outputs, "ExtractMachineArn": "arn:stateMachine:extract"})
    stack.ingest.write("drives/d1/logs/a.mcap", b"")
    seen = list[str]()
    described = [{"status": "RUNNING"}] * 3 + [{"status": "FAILED", "error": "E", "cause": "why"}]

    def describe(**given: str) -> dict[str, str]:
        if "extract" in given["executionArn"]:
            return described.pop(0)
        raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")

    monkeypatch.setattr(stack.client("stepfunctions"), "describe_execution", describe)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    # Each look at the clock takes 100 s.
    monkeypatch.setattr(time, "monotonic", map(float, itertools.count(0, 100)).__next__)
    with pytest.raises(CommandError, match=r"the extraction of log a\.mcap failed: E: why; autolabel status d1 says"):
        RunView(stack, "d1", "0001").follow(lambda one: seen.append(one.logs[0].state), start_within=150)
    assert seen == ["extracting"] * 3 + ["failed"]


def test_fetch_brings_frames_beside_the_dataset(stack: Stack, tmp_path: Path) -> None:
    allocate(stack)
    counts = {"uploaded": 1, "labelled": 1, "failed": 0, "rejected": 0}
    stack.labels.write(FOLDER.summary, json.dumps({"frames": counts, "boxes": 0, "reasons": {}}).encode())
    fetch = ["fetch", "d1", "--to", str(tmp_path), "--images"]
    done = CliRunner().invoke(main, fetch)
    assert f"{tmp_path} has no dataset.manifest, because the run is not published" in done.output
    key = "drives/d1/front/1795387974766619850.png"
    stack.ingest.write(key, b"a frame")
    _, etag = stack.ingest.read_tagged(key, 1) or (b"", "")
    provenance = {"drive": "d1", "run": "0001", "etag": etag, "labelled-by": "model and person"}
    line = {"source-ref": stack.ingest.uri(key), "provenance": provenance}
    stack.labels.write(FOLDER.dataset, json.dumps(line).encode() + b"\n")
    done = CliRunner().invoke(main, fetch)
    assert done.exit_code == 0, done.output
    assert (tmp_path / key).read_bytes() == b"a frame"
    assert [path.name for path in (tmp_path / key).parent.iterdir()] == [Path(key).name]
    stack.ingest.write(key, b"another frame")
    done = CliRunner().invoke(main, fetch)
    assert done.exit_code == 1
    assert f"{key} is gone or was changed after the run began: relabel its drive, or fetch without" in done.output


def test_fetch_brings_rejected_failed_and_suspect_frames(stack: Stack, tmp_path: Path) -> None:
    allocate(stack)
    counts = {"uploaded": 2, "labelled": 0, "failed": 0, "rejected": 2}
    summary = {"frames": counts, "boxes": 0, "reasons": {"rejected": {"rotated": 2}}}
    stack.labels.write(FOLDER.summary, json.dumps(summary).encode())
    for key in (FOLDER.rejected, FOLDER.failed, FOLDER.label_issues):
        stack.labels.write(key, key.encode())
    done = CliRunner().invoke(main, ["fetch", "d1", "--to", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert done.output.endswith("2 rejected; 0 boxes; rejected: 2 rotated\n")
    for name in ("rejected.jsonl", "failed.jsonl", "suspects.jsonl"):
        assert (tmp_path / name).read_text() == f"{FOLDER.prefix}{name}"
