"""Settings of state machines that ministack's resource type keeps in CloudFormation's spelling."""

from __future__ import annotations

from typing import Any

from local.cloud import symbols
from local.cloud.cloudformation.completion import complete


def install_state_machine_settings() -> None:
    """Make DescribeStateMachine show the logging of a machine from a template."""
    machines = symbols.find("services.stepfunctions", "_state_machines")

    def apply(arn: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        machine = machines.get(arn)
        machine["loggingConfiguration"] = _api_spelling(machine["loggingConfiguration"])

    complete("AWS::StepFunctions::StateMachine", apply)


def _api_spelling(value: Any) -> Any:
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: _api_spelling(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_api_spelling(item) for item in value]
    return value
