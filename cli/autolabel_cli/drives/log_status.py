"""The logs of a drive: how far each extraction is, read from the ledger and the extractions' executions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal

import msgspec
from botocore.exceptions import ClientError

from autolabel.aws import error_code
from autolabel.contracts.frames import logs_prefix
from autolabel.contracts.logs import LogFolder, LogRecord
from autolabel.drives import logs_left_out, recorded_logs
from autolabel_cli.drives.failures import failure_sentence
from autolabel_cli.stack import Stack

# A redrive resumes an execution with one of these.
ENDED_BADLY = ("FAILED", "TIMED_OUT", "ABORTED")


class LogStatus(msgspec.Struct, frozen=True):
    """A log of a drive. `failed`: its extraction ended badly, for the reason in `detail`; a redrive resumes it.

    `redrivable`: whether Step Functions still takes a redrive. `frames`, `clouds`, `poses`: those that it gave.
    `messages`, `skipped` and `refused` count the messages of its topics. `by`: who left it out, if a person did; it is
    `refused` then. While it is extracted, `done` of its `slices` are; none are known before its index was read.
    """

    name: str
    state: Literal["extracting", "waiting", "failed", "extracted", "refused"]
    frames: int = 0
    messages: int = 0
    skipped: int = 0
    refused: int = 0
    detail: str = ""
    execution: str = ""
    redrivable: bool = True
    by: str = ""
    done: int = 0
    slices: int = 0
    clouds: int = 0
    poses: int = 0

    @property
    def ended(self) -> bool:
        return self.state in ("extracted", "refused")


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
        yield _read_log(stack, str(machine), known)
    for record in logs_left_out(stack.ledger, drive) if machine else ():
        if record.name not in came:
            yield LogStatus(record.name, "refused", detail=record.detail, by=record.by)


def redrive_logs(stack: Stack, drive: str) -> list[str]:
    """Redrive the failed extractions of a drive that can be redriven, and return the names of their logs."""
    failed = [log for log in read_logs(stack, drive) if log.state == "failed" and log.redrivable]
    for log in failed:
        stack.client("stepfunctions").redrive_execution(executionArn=log.execution)
    return [log.name for log in failed]


def _read_log(stack: Stack, machine: str, record: LogRecord) -> LogStatus:
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
        clouds=sum(record.lidars.values()),
        poses=record.poses,
    )
    if record.ended:
        return status
    try:
        found = stack.client("stepfunctions").describe_execution(executionArn=arn)
    except ClientError as e:
        # The call that recorded the log is about to start it, or the sweep is.
        if error_code(e) != "ExecutionDoesNotExist":
            raise
        return status
    if found["status"] not in ENDED_BADLY:
        parts = _slice_parts(stack, record)
        return msgspec.structs.replace(status, done=parts["result.json"], slices=parts["chunks.json"])
    return msgspec.structs.replace(
        status,
        state="failed",
        detail=failure_sentence(found.get("error", ""), found.get("cause", "")),
        redrivable=found.get("redriveStatus", "REDRIVABLE") == "REDRIVABLE",
    )


def _slice_parts(stack: Stack, record: LogRecord) -> Counter[str]:
    """Count the objects of an extraction's slices by their part, such as result.json."""
    folder = LogFolder(record.drive, record.name, record.etag)
    return Counter(thing.key.partition("/slices/")[2].partition(".")[2] for thing in stack.labels.list(folder.slices))
