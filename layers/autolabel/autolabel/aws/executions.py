"""Implements executions on Step Functions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from autolabel.aws.clients import error_code
from autolabel.contracts.logs import LogRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_stepfunctions import SFNClient


class StepFunctionsExtractions:
    """Implements `Extractions` on Step Functions."""

    def __init__(self, client: SFNClient, state_machine: str) -> None:
        self._states = client
        self._state_machine = state_machine

    def start(self, log: LogRecord) -> bool:
        given: dict[str, str | int] = {
            "drive": log.drive,
            "name": log.name,
            "etag": log.etag,
            "attempt": log.attempt,
        }
        return _start(self._states, self._state_machine, log.execution, given)


class StepFunctionsExecutions:
    """Implements `Executions` on Step Functions."""

    def __init__(self, client: SFNClient, state_machine: str) -> None:
        self._states = client
        self._state_machine = state_machine

    def start(self, name: str, drive: str, run: str) -> bool:
        return _start(self._states, self._state_machine, name, {"drive": drive, "run": run})

    def status(self, name: str) -> str:
        arn = self._state_machine.replace(":stateMachine:", ":execution:") + f":{name}"
        try:
            return self._states.describe_execution(executionArn=arn)["status"]
        except ClientError as e:
            if error_code(e) == "ExecutionDoesNotExist":
                return ""
            raise

    def wake(self, token: str) -> bool:
        try:
            self._states.send_task_success(taskToken=token, output='{"woken":true}')
        except ClientError as e:
            # Duplicate wakes are normal.
            if error_code(e) in ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken"):
                return False
            raise
        return True


def _start(client: SFNClient, state_machine: str, name: str, given: Mapping[str, str | int]) -> bool:
    try:
        client.start_execution(stateMachineArn=state_machine, name=name, input=json.dumps(given))
    except ClientError as e:
        if error_code(e) == "ExecutionAlreadyExists":
            return False
        raise
    return True
