"""AWS::SageMaker::Model, ::EndpointConfig, ::Endpoint and ::Workteam."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from local.cloud import symbols
from local.cloud.cloudformation.coercion import coerce, input_shape
from local.cloud.cloudformation.resource_type import Attributes, Created, Properties, ResourceType, register
from local.sagemaker import service
from local.sagemaker.errors import SageMakerError

ENDPOINT_SECONDS = 180
_POLL_SECONDS = 0.2


class ResourceFailed(RuntimeError):
    """A resource could not be created or updated; the message becomes the stack event's reason."""


def register_sagemaker_types() -> None:
    """Let stacks contain models, endpoints and work teams."""
    # An endpoint starts by calls to this same server, so its event loop must not wait for the endpoint.
    symbols.wrap(
        "services.cloudformation.stacks",
        "_runs_on_worker_thread",
        lambda original: lambda resource_type: resource_type == "AWS::SageMaker::Endpoint" or original(resource_type),
        parameters=["resource_type"],
    )
    register(
        ResourceType(
            "AWS::SageMaker::Model",
            create=lambda properties, name: _create("Model", properties, name),
            delete=lambda arn: _delete("Model", arn),
            replacing=_properties("CreateModel"),
        )
    )
    register(
        ResourceType(
            "AWS::SageMaker::EndpointConfig",
            create=lambda properties, name: _create("EndpointConfig", properties, name),
            delete=lambda arn: _delete("EndpointConfig", arn),
            replacing=_properties("CreateEndpointConfig"),
        )
    )
    register(
        ResourceType(
            "AWS::SageMaker::Endpoint",
            create=_create_endpoint,
            update=_update_endpoint,
            delete=_delete_endpoint,
            replacing=("EndpointName",),
        )
    )
    register(
        ResourceType(
            "AWS::SageMaker::Workteam",
            create=lambda properties, name: _create("Workteam", properties, name),
            delete=lambda arn: _delete("Workteam", arn),
            replacing=_properties("CreateWorkteam"),
        )
    )


def _properties(operation: str) -> tuple[str, ...]:
    return tuple(name for name in input_shape("sagemaker", operation).members if name != "Tags")


def _create(kind: str, properties: Properties, default_name: str) -> Created:
    request = coerce(properties, input_shape("sagemaker", f"Create{kind}"))
    name = request.setdefault(f"{kind}Name", default_name)
    answer = _call(f"Create{kind}", request)
    return str(answer[f"{kind}Arn"]), _attributes(kind, str(name))


def _create_endpoint(properties: Properties, default_name: str) -> Created:
    _refuse_deployment_settings(properties)
    created = _create("Endpoint", properties, default_name)
    try:
        _await_endpoint(created[1]["EndpointName"])
    except ResourceFailed:
        # CloudFormation deletes it with the rest of the stack; ministack forgets a resource whose creation failed.
        _delete_endpoint(created[0])
        raise
    return created


def _update_endpoint(arn: str, old: Properties, new: Properties) -> Created:
    _refuse_deployment_settings(new)
    name = arn.rsplit("/", 1)[-1]
    if old.get("EndpointConfigName") != new.get("EndpointConfigName"):
        _call("UpdateEndpoint", {"EndpointName": name, "EndpointConfigName": new["EndpointConfigName"]})
        _await_endpoint(name)
    return arn, _attributes("Endpoint", name)


def _refuse_deployment_settings(properties: Properties) -> None:
    if unsupported := sorted(set(properties) - {"EndpointName", "EndpointConfigName", "Tags"}):
        raise ResourceFailed(f"AWS::SageMaker::Endpoint: {', '.join(unsupported)} not supported by the embedded cloud")


def _await_endpoint(name: str) -> None:
    deadline = time.monotonic() + ENDPOINT_SECONDS
    while time.monotonic() < deadline:
        endpoint = _call("DescribeEndpoint", {"EndpointName": name})
        if endpoint["EndpointStatus"] == "InService":
            return
        if endpoint["EndpointStatus"] in ("Failed", "UpdateRollbackFailed"):
            raise ResourceFailed(f"endpoint {name}: {endpoint.get('FailureReason', 'failed without a reason')}")
        # Polls like CloudFormation, on a thread of its own.
        time.sleep(_POLL_SECONDS)
    raise ResourceFailed(f"endpoint {name} was not in service after {ENDPOINT_SECONDS} s")


def _delete_endpoint(arn: str) -> None:
    """Delete an endpoint and wait until it is gone, as CloudFormation does; it cannot be deleted while it scales."""
    name = arn.rsplit("/", 1)[-1]
    deadline = time.monotonic() + ENDPOINT_SECONDS
    while time.monotonic() < deadline:
        try:
            status = service.call("DescribeEndpoint", {"EndpointName": name})["EndpointStatus"]
        except SageMakerError as error:
            if "ould not find" in error.message:
                return
            raise
        if status in ("InService", "Failed"):
            # Scaling may come first; the next round then finds the endpoint Updating.
            with contextlib.suppress(SageMakerError):
                service.call("DeleteEndpoint", {"EndpointName": name})
        # Polls as above: no event tells when an endpoint is gone.
        time.sleep(_POLL_SECONDS)
    raise ResourceFailed(f"endpoint {name} was not gone after {ENDPOINT_SECONDS} s")


def _delete(kind: str, arn: str) -> None:
    try:
        service.call(f"Delete{kind}", {f"{kind}Name": arn.rsplit("/", 1)[-1]})
    except SageMakerError as error:
        if "ould not find" not in error.message:
            raise


def _attributes(kind: str, name: str) -> Attributes:
    return {f"{kind}Name": name}


def _call(action: str, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return service.call(action, request)
    except SageMakerError as error:
        raise ResourceFailed(
            f"{error.message} (Service: SageMaker, Status Code: {error.status}, {error.code})"
        ) from error
