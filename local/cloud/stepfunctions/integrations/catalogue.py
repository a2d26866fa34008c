"""The resources that Task states can name here, and the functions that call them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.cloud.stepfunctions.cancellation import Cancellation
from local.cloud.stepfunctions.integrations import aws_sdk, labeling_job, lambda_function, messages, table
from local.cloud.stepfunctions.integrations.clients import Clients

Call = Callable[[Clients, Any, Cancellation], Any]

_CALLBACK = ".waitForTaskToken"
_OPTIMISED: dict[str, Call] = {
    "lambda:invoke": lambda_function.invoke,
    "sagemaker:createLabelingJob": labeling_job.create,
    "sagemaker:createLabelingJob.sync": labeling_job.run,
    "events:putEvents": messages.put_events,
    "sns:publish": messages.publish,
    "sqs:sendMessage": messages.send_message,
    "dynamodb:getItem": table.operation("GetItem"),
    "dynamodb:putItem": table.operation("PutItem"),
    "dynamodb:updateItem": table.operation("UpdateItem"),
    "dynamodb:deleteItem": table.operation("DeleteItem"),
}
_WITH_CALLBACK = {"lambda:invoke", "sns:publish", "sqs:sendMessage"}
_FUNCTION_ARN = re.compile(r"arn:aws:lambda:[a-z0-9-]+:\d{12}:function:[A-Za-z0-9_-]+(:[A-Za-z0-9_$-]+)?")
_STATES = "arn:aws:states:::"


@dataclass(frozen=True)
class Integration:
    """The call of a Task's resource; the history shows `service` and `action`."""

    service: str
    action: str
    call: Call
    waits_for_token: bool = False


def is_supported(resource: str) -> bool:
    """Tell whether a Task state may name this resource."""
    return find(resource) is not None


def find(resource: str) -> Integration | None:
    """Return the integration of a Task's resource, None for an unsupported one."""
    if _FUNCTION_ARN.fullmatch(resource):
        return Integration("lambda", "invoke", lambda clients, data, _: lambda_function.call(clients, resource, data))
    if not resource.startswith(_STATES):
        return None
    name = resource.removeprefix(_STATES)
    waits = name.endswith(_CALLBACK)
    name = name.removesuffix(_CALLBACK)
    if name.startswith("aws-sdk:"):
        return None if waits else _sdk(name)
    if name not in _OPTIMISED or (waits and name not in _WITH_CALLBACK):
        return None
    service, _, action = name.partition(":")
    return Integration(service, action + (_CALLBACK if waits else ""), _OPTIMISED[name], waits)


def _sdk(name: str) -> Integration | None:
    service, _, action = name.removeprefix("aws-sdk:").partition(":")
    operation = aws_sdk.find_operation(service, action)
    if operation is None:
        return None
    return Integration(f"aws-sdk:{service}", action, operation)
