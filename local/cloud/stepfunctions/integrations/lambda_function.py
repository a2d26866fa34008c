"""Lambda functions: `lambda:invoke` and function ARNs as resources."""

from __future__ import annotations

import json
from typing import Any

from local.cloud.stepfunctions.cancellation import Cancellation
from local.cloud.stepfunctions.errors import StateError
from local.cloud.stepfunctions.integrations.answers import ask
from local.cloud.stepfunctions.integrations.clients import Clients

_ARGUMENTS = {"FunctionName", "Payload", "Qualifier", "InvocationType"}


def invoke(clients: Clients, arguments: Any, _: Cancellation) -> Any:
    """Invoke like the optimised integration: the answer has Payload, StatusCode and ExecutedVersion."""
    if not isinstance(arguments, dict) or "FunctionName" not in arguments:
        raise StateError("States.Runtime", "lambda:invoke needs Arguments with a FunctionName")
    if unknown := sorted(set(arguments) - _ARGUMENTS):
        raise StateError("States.Runtime", f"lambda:invoke: {', '.join(unknown)} not supported by the embedded cloud")
    request = {key: value for key, value in arguments.items() if key != "Payload"}
    return _invoke(clients, request, arguments.get("Payload", {}))


def call(clients: Clients, function_arn: str, data: Any) -> Any:
    """Invoke the function of a Task's resource; return the function's own result."""
    return _invoke(clients, {"FunctionName": function_arn}, data)["Payload"]


def _invoke(clients: Clients, request: dict[str, Any], payload: Any) -> dict[str, Any]:
    answer = ask("Lambda", lambda: clients["lambda"].invoke(**request, Payload=json.dumps(payload).encode()))
    body = json.loads(answer["Payload"]) if answer.get("Payload") else None
    if "FunctionError" in answer:
        # An error's Cause is the runtime's whole error document as JSON text.
        raise StateError(str((body or {}).get("errorType", "Lambda.Unknown")), json.dumps(body))
    return {
        "ExecutedVersion": answer.get("ExecutedVersion", "$LATEST"),
        "Payload": body,
        "StatusCode": answer["StatusCode"],
    }
