"""Progress of a run, read from its execution, the ledger and the buckets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from autolabel.aws import SageMakerLabelingJobs
from autolabel.contracts.drive import execution_name
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.units import ANSWERS, PENDING_PARTITIONS
from autolabel_cli.drives.existence import check_drive
from autolabel_cli.drives.failures import failure_sentence
from autolabel_cli.drives.job_attempts import AttemptedJob, attempted_jobs
from autolabel_cli.drives.log_status import LogStatus, read_logs
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack

ENDED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


@dataclass
class RunProgress:
    """Progress of a run at one moment.

    `submitted` and `answered` count units: one for each of the `models` and each frame. The other counts are frames.
    `scripted`: frames with a label of a script, which are in `verified` until the run is published. `rejected`: objects
    by the reason for which they are in no dataset, from assembly on. `states`: the states of the execution in the order
    in which it entered them. `logs`: the drive's logs, until the run has its listing.
    """

    submitted: int = 0
    answered: int = 0
    labelled: int = 0
    verified: int = 0
    scripted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    frames: int | None = None
    models: int = 1
    status: str = "not started"
    error: str = ""
    cause: str = ""
    states: list[StateTime] = field(default_factory=list)
    logs: tuple[LogStatus, ...] = ()

    @property
    def failure(self) -> str:
        return failure_sentence(self.error, self.cause)

    @property
    def rejections(self) -> str:
        """How many objects were rejected, and why; empty if none was."""
        counted = ", ".join(f"{count:,} {reason}" for reason, count in self.rejected.items())
        return f"rejected {sum(self.rejected.values()):,} ({counted})" if counted else ""

    @property
    def ended(self) -> bool:
        return self.status in ENDED


@dataclass
class StateTime:
    """State of the execution. Times are seconds since the epoch; `exited` is None while the state runs."""

    name: str
    entered: float
    exited: float | None = None
    output: Any = None


class RunView:
    """Reads the progress of one run of a drive."""

    def __init__(self, stack: Stack, drive: str, run: str) -> None:
        self._stack = stack
        self._drive = drive
        self._run = run
        self.arn = stack.execution_arn(execution_name(drive, run))
        self._states = stack.client("stepfunctions")
        self._jobs = SageMakerLabelingJobs(stack.client("sagemaker"))
        self._db = stack.client("dynamodb")

    def follow(self, seen: Callable[[RunProgress], None], *, start_within: float = 900.0) -> RunProgress:
        """Read the progress until the execution ends, call `seen` each time, and return the last progress.

        CommandError when the drive is unknown or refused, when the extraction of a log failed or waits and no other
        goes on, or when no execution starts within `start_within` seconds after the drive's last log.
        """
        began = time.monotonic()
        submitted = 0
        while True:
            looked = time.monotonic()
            progress = self.look()
            submitted = progress.submitted = max(submitted, progress.submitted)
            seen(progress)
            if progress.ended:
                return progress
            if any(log.state == "extracting" for log in progress.logs):
                began = looked
            elif failed := [log for log in progress.logs if log.state == "failed"]:
                raise CommandError(
                    f"the extraction of log {failed[0].name} failed: {failed[0].detail}; "
                    f"autolabel status {self._drive} says what to do"
                )
            elif waiting := [log for log in progress.logs if log.state == "waiting"]:
                raise CommandError(f"log {waiting[0].name} waits: {waiting[0].detail}")
            if progress.status == "not started":
                check_drive(self._stack, self._drive, self._run)
                # A drive of logs may wait for more of them.
                more = float(self._stack.parameters.get("LogsQuietSeconds", 0)) if progress.logs else 0.0
                if time.monotonic() - began > start_within + more:
                    raise CommandError(
                        f"no execution of drive {self._drive} started within {start_within + more:.0f} s: "
                        f"autolabel status {self._drive} says what it waits for"
                    )
            # Reading a large drive takes long, so it is read less often.
            time.sleep(max(0.5, 2 * (time.monotonic() - looked)))

    def look(self) -> RunProgress:
        """Read the progress once."""
        progress = RunProgress()
        try:
            execution = self._states.describe_execution(executionArn=self.arn)
        except ClientError as e:
            if e.response["Error"]["Code"] != "ExecutionDoesNotExist":
                raise
            execution = {"status": "not started"}
        progress.status = execution["status"]
        progress.error, progress.cause = execution.get("error", ""), execution.get("cause", "")
        if progress.status != "not started":
            progress.states = list(self.states())
        run = self._stack.ledger.find_run(self._drive, self._run)
        progress.models = len(run.asked) if run else 1
        outputs = {state.name: state.output for state in progress.states if state.output is not None}
        if "jobs" not in outputs.get("Assemble", {}):
            # It was not assembled: S3 did not give out its frames, and FailedFrames follows.
            outputs.pop("Assemble", None)
        if "Reconcile" in outputs:
            progress.frames = outputs["Reconcile"]["frames"]
        if "PlanShards" in outputs:
            progress.submitted = progress.answered = (progress.frames or 0) * progress.models
        else:
            progress.answered = sum(1 for _ in self._stack.labels.list(f"{ANSWERS}/{self._drive}/"))
            # A unit whose answer exists but is not collected yet is in both counts: only the larger one is certain.
            progress.submitted = max(progress.answered, self._invoked())
        if progress.frames is None and not progress.ended:
            progress.logs = tuple(read_logs(self._stack, self._drive))
        progress.labelled = self._labelled(outputs)
        progress.verified = self._verified(outputs)
        progress.rejected = outputs.get("Assemble", {}).get("rejected", {})
        progress.scripted = int(outputs.get("Publish", {}).get("scripted", 0))
        return progress

    def states(self) -> Iterator[StateTime]:
        """Yield the outermost states of the execution in the order in which it entered them."""
        inner = 0
        open_states: dict[str, StateTime] = {}
        order: list[StateTime] = []
        pages = self._states.get_paginator("get_execution_history").paginate(
            executionArn=self.arn, includeExecutionData=True
        )
        for page in pages:
            for event in page["events"]:
                kind, at = event["type"], event["timestamp"].timestamp()
                if kind == "ExecutionRedriven":
                    # Iterations that were stopped may have no end of their own.
                    inner = 0
                inner += (kind == "MapIterationStarted") - (kind in _ITERATION_ENDS)
                if inner:
                    continue
                if kind.endswith("StateEntered"):
                    state = StateTime(event["stateEnteredEventDetails"]["name"], at)
                    open_states[state.name] = state
                    order.append(state)
                elif kind.endswith("StateExited"):
                    details = event["stateExitedEventDetails"]
                    left = open_states.get(details["name"])
                    if left:
                        left.exited = at
                        left.output = json.loads(details.get("output") or "null")
        yield from order

    def _invoked(self) -> int:
        """Count the units that an endpoint has taken and not answered yet."""
        return sum(
            page["Count"]
            for partition in range(PENDING_PARTITIONS)
            for page in self._db.get_paginator("query").paginate(
                TableName=self._stack.outputs["LedgerName"],
                Select="COUNT",
                KeyConditionExpression="pk = :pk",
                FilterExpression="attribute_exists(invoked)",
                ExpressionAttributeValues={":pk": {"S": f"pending#{self._drive}#{partition}"}},
            )
        )

    def _labelled(self, outputs: dict[str, Any]) -> int:
        if "Assemble" in outputs:
            return int(outputs["Assemble"]["frames"]["labelled"])
        if "PlanShards" not in outputs or not outputs["PlanShards"]["shards"]:
            return 0
        prefix = RunFolder(self._drive, self._run).shards
        # Link leaves a second result of a shard.
        keys = [thing.key for thing in self._stack.labels.list(prefix)]
        done = sum(key.endswith(".result.json") and not key.endswith(".linked.result.json") for key in keys)
        return int(outputs["PlanShards"]["frames"] * done / outputs["PlanShards"]["shards"])

    def _verified(self, outputs: dict[str, Any]) -> int:
        if "Publish" in outputs:
            return int(outputs["Publish"]["verified"])
        if not outputs.get("Assemble", {}).get("jobs"):
            return 0
        # Frames of a second look have a label of the first.
        jobs = attempted_jobs(self._stack.labels, self._jobs, self._drive, self._run)
        frames = {job["name"]: int(job["frames"]) for job in outputs["Assemble"]["jobs"]}
        return sum(_labelled_frames(job, frames) for job in jobs if job.round == 1)


def _labelled_frames(job: AttemptedJob, frames: Mapping[str, int]) -> int:
    """Count the labelled frames of a job; those of strips by their share. `frames`: of each job."""
    if job.unit == "frame":
        return job.labelled
    return frames[job.name.rpartition("-")[0]] * job.labelled // max(1, job.whole)


_ITERATION_ENDS = ("MapIterationSucceeded", "MapIterationFailed", "MapIterationAborted")
