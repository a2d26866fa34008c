"""Endpoint configurations, and their resolution against models and images."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from local.sagemaker.async_inference.invocations import OutputSettings
from local.sagemaker.containers import image_name
from local.sagemaker.errors import UnsupportedHere, ValidationFailed
from local.sagemaker.hosting.fleet import Deployment
from local.sagemaker.hosting.models import Models, only_container
from local.sagemaker.names import arn
from local.sagemaker.registry import Registry, list_page
from local.sagemaker.supported import refuse_unsupported

# SageMaker chooses a value when MaxConcurrentInvocationsPerInstance is absent, and does not document it.
_DEFAULT_CONCURRENCY = 4
_DEFAULT_STARTUP_SECONDS = 60


class EndpointConfigs:
    """The account's endpoint configurations. `images` maps image names (no registry, no tag) to command lines."""

    def __init__(self, models: Models, images: Mapping[str, Sequence[str]]) -> None:
        self._models = models
        self._images = images
        self._configs: Registry[dict[str, Any]] = Registry()

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateEndpointConfig for an asynchronous endpoint with one variant."""
        refuse_unsupported("CreateEndpointConfig", request)
        if "AsyncInferenceConfig" not in request:
            raise UnsupportedHere("an endpoint configuration without AsyncInferenceConfig")
        OutputSettings.parse(request["AsyncInferenceConfig"]["OutputConfig"])
        for variant in request["ProductionVariants"]:
            if "ModelName" not in variant or "InitialInstanceCount" not in variant:
                raise UnsupportedHere(
                    f"production variant {variant['VariantName']!r} without ModelName and InitialInstanceCount"
                )
            self._models.get(variant["ModelName"])
        if len(request["ProductionVariants"]) != 1:
            raise UnsupportedHere("more than one production variant")
        name = request["EndpointConfigName"]
        config_arn = arn("endpoint-config", name)
        taken = ValidationFailed(f'Cannot create already existing endpoint configuration "{config_arn}".')
        record = {**request, "EndpointConfigArn": config_arn, "CreationTime": time.time()}
        self._configs.add(name, record, taken=taken)
        return {"EndpointConfigArn": config_arn}

    def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeEndpointConfig."""
        return {k: v for k, v in self._get(request["EndpointConfigName"]).items() if k != "Tags"}

    def delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DeleteEndpointConfig; endpoints that use it keep running."""
        name = request["EndpointConfigName"]
        self._configs.pop(name, missing=_missing(name))
        return {}

    def list(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListEndpointConfigs."""
        members = ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
        summaries = [{name: config[name] for name in members} for config in self._configs]
        return list_page(summaries, request, result="EndpointConfigs", name="EndpointConfigName")

    def deployment(self, name: str) -> Deployment:
        """Resolve a configuration by name; raises ValidationFailed when it or its model does not exist."""
        config = self._get(name)
        variant = config["ProductionVariants"][0]
        model = self._models.get(variant["ModelName"])
        container = only_container(model)
        asynchronous = config["AsyncInferenceConfig"]
        client = asynchronous.get("ClientConfig", {})
        return Deployment(
            config_name=config["EndpointConfigName"],
            variant=variant["VariantName"],
            image=container["Image"],
            command=self._images.get(image_name(container["Image"])),
            model_data=container.get("ModelDataUrl", ""),
            role=model["ExecutionRoleArn"],
            environment=container.get("Environment", {}),
            instance_count=variant["InitialInstanceCount"],
            startup_seconds=variant.get("ContainerStartupHealthCheckTimeoutInSeconds", _DEFAULT_STARTUP_SECONDS),
            concurrency=client.get("MaxConcurrentInvocationsPerInstance", _DEFAULT_CONCURRENCY),
            settings=OutputSettings.parse(asynchronous["OutputConfig"]),
            async_config=asynchronous,
        )

    def arns(self) -> set[str]:
        """Return the ARNs of all configurations."""
        return {config["EndpointConfigArn"] for config in self._configs}

    def _get(self, name: str) -> dict[str, Any]:
        return self._configs.get(name, missing=_missing(name))


def _missing(name: str) -> ValidationFailed:
    missing = arn("endpoint-config", name)
    return ValidationFailed(f'Could not find endpoint configuration "{missing}".')
