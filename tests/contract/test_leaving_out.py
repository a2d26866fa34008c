"""`autolabel close --without`: what a person may leave out of a drive, and what is recorded of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import boto3
import msgspec
import pytest

from autolabel.contracts.logs import LogRecord
from autolabel_cli.errors import CommandError
from autolabel_cli.operations.advice import next_step
from autolabel_cli.operations.inspection import Inspection
from autolabel_cli.operations.leaving_out import close_without
from autolabel_cli.stack import Stack
from tests.contract.test_inspection import NOW, RUN, States, stack_of

LOGS = ("done.mcap", "failed.mcap", "refused.mcap")
TEXT = "left out by arn:aws:sts::123456789012:user/moto on 1970-01-12 13:46 UTC"


def stack_with_logs(execution: str = "FAILED") -> Stack:
    """An open drive with an extracted, a refused and an unended log; its document names another, which is absent."""
    stack = stack_of(States(execution, error="E", cause="why", redriveStatus="REDRIVABLE"))
    others, outputs = stack.client, {**stack.outputs, "ExtractMachineArn": "arn:x:stateMachine:extract"}
    stack = dataclasses.replace(
        stack, outputs=outputs, client=lambda name: boto3.client("sts") if name == "sts" else others(name)
    )
    stack.ingest.write("drives/d9/logs/recording.json", json.dumps({"logs": [*LOGS, "absent.mcap"]}).encode())
    for name, state in zip(LOGS, ("extracted", "extracting", "refused"), strict=True):
        stack.ingest.write(f"drives/d9/logs/{name}", name.encode())
        head = stack.ingest.head(f"drives/d9/logs/{name}")
        assert head
        stack.ledger.end_log(LogRecord("d9", name, head.etag, state, NOW - 9, attempt=3))  # type: ignore[arg-type]
    return stack


def asked(stack: Stack) -> list[Any]:
    found = stack.client("sqs").receive_message(QueueUrl=stack.outputs["SubmitQueueUrl"], MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in found.get("Messages", [])]


def left_out(stack: Stack) -> list[tuple[str, str, str, int]]:
    return [(one.name, one.state, one.detail, one.attempt) for one in stack.ledger.logs("d9") if one.by]


@pytest.mark.usefixtures("aws")
def test_failed_and_absent_logs_are_left_out_once_by_name_and_time() -> None:
    stack = stack_with_logs()
    assert "autolabel close d9 --without failed.mcap" in next_step(Inspection(stack, "d9", now=NOW).drive())
    names = ("failed.mcap", "absent.mcap")
    done = close_without(stack, "d9", names, NOW)
    recorded = [("absent.mcap", "refused", TEXT, 1), ("failed.mcap", "refused", TEXT, 3)]
    assert left_out(stack) == recorded
    assert done.outcome == "left-out"
    assert done.detail == ("drive d9 is closed without logs failed.mcap, absent.mcap; autolabel status d9 shows it")
    status = Inspection(stack, "d9", now=NOW).drive()
    assert {log.name: log.detail for log in status.logs if log.by} == dict.fromkeys(names, TEXT)
    # A second call, later, changes nothing, and asks again.
    stack.ingest.write("drives/d9/logs/other.mcap", b"x")
    assert "absent.mcap, once its 1 other log has ended" in close_without(stack, "d9", names, NOW + 900).detail
    assert left_out(stack) == recorded
    assert asked(stack) == [{"kind": "logs", "drive": "d9"}] * 2
    # The same call for a drive that was closed with it says so; other logs cannot be left out then.
    stack.ledger.allocate_run(msgspec.structs.replace(RUN, drive="d9"))
    assert close_without(stack, "d9", names, NOW).outcome == "already"
    with pytest.raises(CommandError, match="drive d9 is closed, its latest run is 0001"):
        close_without(stack, "d9", ["done.mcap"], NOW)


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("names", "execution", "said"),
    [
        (["done.mcap"], "FAILED", "log done.mcap of drive d9 was extracted"),
        (["failed.mcap", "refused.mcap"], "FAILED", "log refused.mcap of drive d9 was refused"),
        (["failed.mcap"], "RUNNING", "log failed.mcap of drive d9 is being extracted"),
        (["absent.mcap", "typo.mcap"], "FAILED", "drive d9 has no log 'typo.mcap'"),
    ],
)
def test_other_logs_are_not_left_out_and_nothing_is_recorded(names: Sequence[str], execution: str, said: str) -> None:
    stack = stack_with_logs(execution)
    with pytest.raises(CommandError, match=said):
        close_without(stack, "d9", names, NOW)
    assert left_out(stack) == []
    assert asked(stack) == []
    with pytest.raises(CommandError, match="no log of drive d8 has come"):
        close_without(stack, "d8", names, NOW)


@pytest.mark.usefixtures("aws")
def test_a_log_whose_extraction_ends_meanwhile_is_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = stack_with_logs()
    leave_out = stack.ledger.leave_out_log

    def end_first(record: LogRecord, known: LogRecord | None) -> bool:
        stack.ledger.end_log(LogRecord("d9", record.name, record.etag, "extracted", NOW, cameras={"front": 1}))
        return leave_out(record, known)

    monkeypatch.setattr(stack.ledger, "leave_out_log", end_first)
    with pytest.raises(CommandError, match="has changed meanwhile"):
        close_without(stack, "d9", ["failed.mcap"], NOW)
    assert left_out(stack) == []
