"""Map requests to SageMaker to the permissions that they need. Source: Service Authorization Reference."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local.sagemaker.names import arn

_RUNTIME_PATH = re.compile(r"/endpoints/([^/]+)/(?:async-)?invocations(?:-response-stream)?")
_OPERATION = re.compile(
    r"(?:Create|Describe|Update|Stop|Delete)(Model|EndpointConfig|Endpoint|LabelingJob|TrainingJob|Workteam)"
    r"(?:WeightsAndCapacities)?"
)
_KINDS = {
    "Model": "model",
    "EndpointConfig": "endpoint-config",
    "Endpoint": "endpoint",
    "LabelingJob": "labeling-job",
    "TrainingJob": "training-job",
    "Workteam": "workteam/private-crowd",
}
_PASSED = {"iam:PassedToService": "sagemaker.amazonaws.com"}


@dataclass(frozen=True)
class Permission:
    """An action on a resource, and the values of the condition keys that policies may test."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


def required_permissions(path: str, headers: Mapping[str, str], body: bytes) -> list[Permission]:
    """Return all permissions that the caller needs, the action itself first; header names are in lower case.

    A request with a role needs iam:PassRole, and one that creates a resource with tags needs sagemaker:AddTags.
    """
    runtime = _RUNTIME_PATH.fullmatch(path)
    if runtime:
        action = "InvokeEndpointAsync" if "async-" in path else "InvokeEndpoint"
        return [Permission(f"sagemaker:{action}", arn("endpoint", runtime[1]))]
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    request = _document(body)
    resource = _resource(operation, request)
    needed = [Permission(f"sagemaker:{operation}", resource)]
    if operation.startswith("Create") and request.get("Tags"):
        needed.append(Permission("sagemaker:AddTags", resource))
    for member in ("RoleArn", "ExecutionRoleArn"):
        if member in request:
            needed.append(Permission("iam:PassRole", str(request[member]), _PASSED))
    return needed


def _resource(operation: str, request: Mapping[str, Any]) -> str:
    """Return the resource of an operation, `*` for operations without one."""
    about = _OPERATION.fullmatch(operation)
    if about:
        return arn(_KINDS[about[1]], str(request.get(f"{about[1]}Name", "")))
    return str(request.get("ResourceArn", "*"))


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        # The operation itself refuses a body that is not JSON.
        return {}
    return document if isinstance(document, dict) else {}
