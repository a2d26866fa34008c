"""`aws-sdk:<service>:<action>`, for the services that the embedded cloud has."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from botocore import xform_name
from botocore.loaders import Loader

from local.cloud.stepfunctions.cancellation import Cancellation
from local.cloud.stepfunctions.errors import StateError
from local.cloud.stepfunctions.integrations.answers import ask
from local.cloud.stepfunctions.integrations.clients import Clients

# By the name in the resource: boto3's name and the prefix of errors, in the spelling of the AWS SDK for Java.
_SERVICES = {
    "s3": ("s3", "S3"),
    "sagemaker": ("sagemaker", "SageMaker"),
    "sagemakerruntime": ("sagemaker-runtime", "SageMakerRuntime"),
    "dynamodb": ("dynamodb", "DynamoDb"),
    "sqs": ("sqs", "Sqs"),
    "sns": ("sns", "Sns"),
    "lambda": ("lambda", "Lambda"),
    "eventbridge": ("events", "EventBridge"),
}


@functools.cache
def _operations(service: str) -> frozenset[str]:
    return frozenset(Loader().load_service_model(service, "service-2")["operations"])


def find_operation(service: str, action: str) -> Callable[[Clients, Any, Cancellation], Any] | None:
    """Return a function that calls an action, None if the service or the action is unknown."""
    if service not in _SERVICES or not action:
        return None
    client, prefix = _SERVICES[service]
    name = action[0].upper() + action[1:]
    if name not in _operations(client):
        return None

    def call(clients: Clients, arguments: Any, _: Cancellation) -> Any:
        if not isinstance(arguments, dict):
            raise StateError("States.Runtime", f"aws-sdk:{service}:{action} needs an object as Arguments")
        request = dict(arguments)
        if isinstance(body := request.get("Body"), dict | list):
            request["Body"] = json.dumps(body)
        return ask(prefix, lambda: getattr(clients[client], xform_name(name))(**request))

    return call
