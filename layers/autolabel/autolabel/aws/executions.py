"""Implements executions on Step Functions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from autolabel.aws.clients import error_code

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


class StepFunctionsExecutions:
    """Implements `Executions` on Step Functions."""

    def __init__(self, client: SFNClient, state_machine: str) -> None:
        self._states = client
        self._state_machine = state_machine

    def start(self, name: str, drive: str, run: str) -> bool:
        try:
            self._states.start_execution(
                stateMachineArn=self._state_machine, name=name, input=json.dumps({"drive": drive, "run": run})
            )
        except ClientError as e:
            if error_code(e) == "ExecutionAlreadyExists":
                return False
            raise
        return True

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
