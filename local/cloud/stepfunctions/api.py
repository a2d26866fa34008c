"""The API of executions, map runs and task tokens."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from local.cloud.json_service import ServiceError
from local.cloud.stepfunctions.attempts import TOKEN_PREFIX, Attempt
from local.cloud.stepfunctions.descriptions import description, map_run_description, map_run_summary, summary
from local.cloud.stepfunctions.engine import AlreadyExists, Engine, NotRedrivable
from local.cloud.stepfunctions.errors import StateError
from local.cloud.stepfunctions.executions import Execution, Machine, MapRun
from local.cloud.stepfunctions.limits import PAYLOAD_BYTES

Document = dict[str, Any]
_NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}")


class ExecutionApi:
    """Answers requests about executions; `find_machine` returns the state machine of an ARN or None."""

    def __init__(self, engine: Engine, find_machine: Callable[[str], Machine | None]) -> None:
        self._engine = engine
        self._find_machine = find_machine

    def actions(self) -> Mapping[str, Callable[[Document], Document]]:
        """Return the actions by name."""
        return {
            "StartExecution": self.start,
            "StopExecution": self.stop,
            "RedriveExecution": self.redrive,
            "DescribeExecution": lambda request: description(self._execution(request)),
            "ListExecutions": self.list_executions,
            "GetExecutionHistory": self.history,
            "DescribeStateMachineForExecution": self.describe_machine,
            "ListMapRuns": self.list_map_runs,
            "DescribeMapRun": lambda request: map_run_description(self._map_run(request["mapRunArn"])),
            "SendTaskSuccess": self.task_success,
            "SendTaskFailure": self.task_failure,
            "SendTaskHeartbeat": self.task_heartbeat,
        }

    def start(self, request: Document) -> Document:
        """StartExecution: idempotent by name and input while the execution runs."""
        machine = self._machine(request["stateMachineArn"])
        name = request.get("name") or str(uuid.uuid4())
        if not _NAME.fullmatch(name):
            raise ServiceError("InvalidName", f"Invalid Name: '{name}'")
        text = request.get("input", "{}")
        _parse(text, "InvalidExecutionInput", "Invalid State Machine Execution Input")
        try:
            execution = self._engine.start(machine, name, text)
        except AlreadyExists as error:
            raise ServiceError("ExecutionAlreadyExists", str(error)) from error
        return {"executionArn": execution.arn, "startDate": execution.started}

    def stop(self, request: Document) -> Document:
        """StopExecution."""
        execution = self._execution(request)
        self._engine.stop(execution, request.get("error"), request.get("cause"))
        return {"stopDate": execution.stopped}

    def redrive(self, request: Document) -> Document:
        """RedriveExecution."""
        execution = self._execution(request)
        try:
            return {"redriveDate": self._engine.redrive(execution, request.get("clientToken") or str(uuid.uuid4()))}
        except NotRedrivable as error:
            raise ServiceError("ExecutionNotRedrivable", str(error)) from error

    def list_executions(self, request: Document) -> Document:
        """ListExecutions of a state machine or a map run, the latest first."""
        if "mapRunArn" in request:
            run = self._map_run(request["mapRunArn"])
            found = [child for child in run.children if child.begun]
        else:
            machine = self._machine(request["stateMachineArn"])
            found = self._engine.store.executions(lambda one: one.machine.arn == machine.arn and one.begun)
        if "statusFilter" in request:
            found = [one for one in found if one.status == request["statusFilter"]]
        if "redriveFilter" in request:
            found = [one for one in found if (one.redrives > 0) == (request["redriveFilter"] == "REDRIVEN")]
        found.sort(key=lambda one: one.started, reverse=True)
        return _page([summary(one) for one in found], "executions", request)

    def history(self, request: Document) -> Document:
        """GetExecutionHistory."""
        events = self._execution(request).history.events()
        if request.get("reverseOrder"):
            events.reverse()
        if request.get("includeExecutionData") is False:
            events = [_without_data(event) for event in events]
        return _page(events, "events", request)

    def describe_machine(self, request: Document) -> Document:
        """DescribeStateMachineForExecution: the definition that the execution runs."""
        machine = self._execution(request).machine
        return {
            "stateMachineArn": machine.arn,
            "name": machine.name,
            "definition": machine.text,
            "roleArn": machine.role_arn,
            "updateDate": self._execution(request).started,
        }

    def list_map_runs(self, request: Document) -> Document:
        """ListMapRuns."""
        runs = self._engine.store.map_runs(self._execution(request).arn)
        return _page([map_run_summary(run) for run in runs], "mapRuns", request)

    def task_success(self, request: Document) -> Document:
        """SendTaskSuccess."""
        attempt = self._attempt(request)
        result = _parse(request["output"], "InvalidOutput", "Invalid Output")
        return _settled(attempt.succeed(result))

    def task_failure(self, request: Document) -> Document:
        """SendTaskFailure."""
        error = StateError(request.get("error", "States.TaskFailed"), request.get("cause", ""))
        return _settled(self._attempt(request).fail(error))

    def task_heartbeat(self, request: Document) -> Document:
        """SendTaskHeartbeat."""
        return _settled(self._attempt(request).beat())

    def _machine(self, arn: str) -> Machine:
        machine = self._find_machine(arn)
        if machine is None:
            raise ServiceError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")
        return machine

    def _execution(self, request: Document) -> Execution:
        arn = request.get("executionArn", "")
        execution = self._engine.store.execution(arn)
        if execution is None:
            raise ServiceError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
        return execution

    def _map_run(self, arn: str) -> MapRun:
        run = self._engine.store.map_run(arn)
        if run is None:
            raise ServiceError("ResourceNotFound", f"Map Run does not exist: '{arn}'")
        return run

    def _attempt(self, request: Document) -> Attempt:
        token = request["taskToken"]
        attempt = self._engine.tokens.find(token)
        if attempt is None:
            if token.startswith(TOKEN_PREFIX):
                raise ServiceError("TaskDoesNotExist", "Task does not exist")
            raise ServiceError("InvalidToken", "Invalid Token: 'Invalid token'")
        return attempt


def _settled(in_time: bool) -> Document:
    if not in_time:
        raise ServiceError("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
    return {}


def _parse(text: str, code: str, what: str) -> Any:
    if len(text.encode()) > PAYLOAD_BYTES:
        raise ServiceError(code, f"{what}: larger than {PAYLOAD_BYTES} bytes")
    try:
        return json.loads(text)
    except ValueError as error:
        raise ServiceError(code, f"{what}: {error}") from error


def _page(entries: list[Document], name: str, request: Document) -> Document:
    try:
        start = int(base64.b64decode(request["nextToken"])) if "nextToken" in request else 0
    except ValueError as error:
        raise ServiceError("InvalidToken", "Invalid Token: 'nextToken'") from error
    end = start + (request.get("maxResults") or 100)
    page: Document = {name: entries[start:end]}
    if end < len(entries):
        page["nextToken"] = base64.b64encode(str(end).encode()).decode()
    return page


def _without_data(event: Document) -> Document:
    return {
        key: {k: v for k, v in value.items() if k not in ("input", "output", "parameters")}
        if isinstance(value, dict)
        else value
        for key, value in event.items()
    }
