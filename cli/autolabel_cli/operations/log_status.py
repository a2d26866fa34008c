"""The logs of a drive: how far each extraction is, read from the ledger and the extractions' executions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from autolabel.aws import error_code
from autolabel.contracts.frames import logs_prefix
from autolabel.contracts.logs import LogRecord
from autolabel.drives import logs_left_out, recorded_logs
from autolabel_cli.drives.run_progress import failure_sentence
from autolabel_cli.operations.drive_status import ENDED_BADLY, LogStatus
from autolabel_cli.stack import Stack


def read_logs(stack: Stack, drive: str) -> Iterator[LogStatus]:
    """Read the logs of a drive in the order of their names, then those left out that did not come. Older stacks have
    none.
    """
    machine = stack.outputs.get("ExtractMachineArn")
    listing = stack.ingest.list(logs_prefix(drive)) if machine else ()
    came = set[str]()
    for key, thing, record in recorded_logs(listing, stack.ledger, drive):
        came.add(key.name)
        known = record or LogRecord(drive, key.name, thing.etag, "extracting", 0.0)
        yield _read_log(stack.client("stepfunctions"), str(machine), known)
    for record in logs_left_out(stack.ledger, drive) if machine else ():
        if record.name not in came:
            yield LogStatus(record.name, "refused", detail=record.detail, by=record.by)


def redrive_logs(stack: Stack, drive: str) -> list[str]:
    """Redrive the failed extractions of a drive that can be redriven, and return the names of their logs."""
    failed = [log for log in read_logs(stack, drive) if log.state == "failed" and log.redrivable]
    for log in failed:
        stack.client("stepfunctions").redrive_execution(executionArn=log.execution)
    return [log.name for log in failed]


def _read_log(states: Any, machine: str, record: LogRecord) -> LogStatus:
    arn = machine.replace(":stateMachine:", ":execution:") + f":{record.execution}"
    status = LogStatus(
        record.name,
        "extracting" if record.state == "replaced" else record.state,
        sum(record.cameras.values()),
        record.messages,
        record.skipped,
        record.left,
        record.detail,
        arn,
        by=record.by,
    )
    if record.ended:
        return status
    try:
        found = states.describe_execution(executionArn=arn)
    except ClientError as e:
        # The call that recorded the log is about to start it, or the sweep is.
        if error_code(e) != "ExecutionDoesNotExist":
            raise
        return status
    if found["status"] not in ENDED_BADLY:
        return status
    return msgspec.structs.replace(
        status,
        state="failed",
        detail=failure_sentence(found.get("error", ""), found.get("cause", "")),
        redrivable=found.get("redriveStatus", "REDRIVABLE") == "REDRIVABLE",
    )
