"""Endpoints by name: their control plane and their runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from local.sagemaker.async_inference.invocations import CODE
from local.sagemaker.errors import SageMakerError, UnsupportedHere, ValidationFailed
from local.sagemaker.hosting.endpoint import Endpoint
from local.sagemaker.hosting.endpoint_configs import EndpointConfigs
from local.sagemaker.names import ACCOUNT, arn
from local.sagemaker.ports import Cloud
from local.sagemaker.registry import Registry, list_page
from local.sagemaker.supported import refuse_unsupported


class Endpoints:
    """The account's endpoints; `folder` takes the logs of their model servers."""

    def __init__(self, configs: EndpointConfigs, cloud: Cloud, folder: Path) -> None:
        self._configs = configs
        self._cloud = cloud
        self._folder = folder
        self._endpoints: Registry[Endpoint] = Registry()

    def stop(self) -> None:
        """Stop every endpoint's model servers."""
        endpoints = list(self._endpoints)
        for endpoint in endpoints:
            endpoint.begin_stop()
        for endpoint in endpoints:
            endpoint.await_stop()

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateEndpoint: returns at once, with the endpoint Creating."""
        refuse_unsupported("CreateEndpoint", request)
        name = request["EndpointName"]
        endpoint = Endpoint(
            name,
            self._configs.deployment(request["EndpointConfigName"]),
            self._cloud,
            self._folder,
            on_deleted=self._forget,
        )
        taken = ValidationFailed(f'Cannot create already existing endpoint "{endpoint.arn}".')
        self._endpoints.add(name, endpoint, taken=taken)
        endpoint.start()
        return {"EndpointArn": endpoint.arn}

    def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeEndpoint."""
        return self._get(request["EndpointName"]).description()

    def update(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """UpdateEndpoint: new instances start before the old ones end."""
        refuse_unsupported("UpdateEndpoint", request)
        endpoint = self._get(request["EndpointName"])
        endpoint.update(self._configs.deployment(request["EndpointConfigName"]))
        return {"EndpointArn": endpoint.arn}

    def scale(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """UpdateEndpointWeightsAndCapacities: changes the instance count, also to zero and back."""
        refuse_unsupported("UpdateEndpointWeightsAndCapacities", request)
        endpoint = self._get(request["EndpointName"])
        desired = request["DesiredWeightsAndCapacities"]
        if len(desired) != 1 or "DesiredInstanceCount" not in desired[0]:
            raise UnsupportedHere("DesiredWeightsAndCapacities other than one variant's DesiredInstanceCount")
        endpoint.scale(desired[0]["VariantName"], desired[0]["DesiredInstanceCount"])
        return {"EndpointArn": endpoint.arn}

    def delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DeleteEndpoint: requests in its queue are never answered."""
        self._get(request["EndpointName"]).delete()
        return {}

    def list(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListEndpoints."""
        summaries = [endpoint.summary() for endpoint in self._endpoints]
        return list_page(summaries, request, result="Endpoints", name="EndpointName", status="EndpointStatus")

    def invoke_async(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """InvokeEndpointAsync: the request is in the queue when this returns."""
        return self._running(request["EndpointName"]).invoke(request)

    def refuse_synchronous(self, name: str) -> SageMakerError:
        """Make the error of InvokeEndpoint, which only an endpoint without AsyncInferenceConfig accepts."""
        endpoint = self._running(name)
        return ValidationFailed(
            f"Endpoint {endpoint.name} of account {ACCOUNT} is asynchronous: it takes only InvokeEndpointAsync",
            code=CODE,
        )

    def metrics(self) -> dict[str, dict[str, float]]:
        """Return the metrics of every endpoint by its name."""
        return {endpoint.name: endpoint.metrics() for endpoint in self._endpoints}

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._endpoints)

    def arns(self) -> set[str]:
        """Return the ARNs of all endpoints."""
        return {endpoint.arn for endpoint in self._endpoints}

    def _forget(self, endpoint: Endpoint) -> None:
        self._endpoints.pop(endpoint.name, missing=_missing(endpoint.name))

    def _get(self, name: str) -> Endpoint:
        return self._endpoints.get(name, missing=_missing(name))

    def _running(self, name: str) -> Endpoint:
        missing = ValidationFailed(f"Endpoint {name} of account {ACCOUNT} not found.", code=CODE)
        return self._endpoints.get(name, missing=missing)


def _missing(name: str) -> ValidationFailed:
    missing = arn("endpoint", name)
    return ValidationFailed(f'Could not find endpoint "{missing}".')
