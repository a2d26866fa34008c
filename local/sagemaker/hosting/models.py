"""Models: a container image, its environment, and its data."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from local.sagemaker.errors import UnsupportedHere, ValidationFailed
from local.sagemaker.names import arn
from local.sagemaker.registry import Registry, list_page
from local.sagemaker.supported import refuse_unsupported


class Models:
    """The account's models."""

    def __init__(self) -> None:
        self._models: Registry[dict[str, Any]] = Registry()

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateModel with one container."""
        refuse_unsupported("CreateModel", request)
        only_container(request)
        if "ExecutionRoleArn" not in request:
            raise UnsupportedHere(f"model {request['ModelName']!r} without an ExecutionRoleArn")
        model_arn = arn("model", request["ModelName"])
        record = {**request, "ModelArn": model_arn, "CreationTime": time.time()}
        taken = ValidationFailed(f'Cannot create already existing model "{model_arn}".')
        self._models.add(request["ModelName"], record, taken=taken)
        return {"ModelArn": model_arn}

    def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeModel."""
        record = self.get(request["ModelName"])
        return {name: value for name, value in record.items() if name != "Tags"}

    def delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DeleteModel; endpoints that run it keep running."""
        self._models.pop(request["ModelName"], missing=_missing(request["ModelName"]))
        return {}

    def list(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListModels."""
        members = ("ModelName", "ModelArn", "CreationTime")
        summaries = [{name: model[name] for name in members} for model in self._models]
        return list_page(summaries, request, result="Models", name="ModelName")

    def get(self, name: str) -> dict[str, Any]:
        """Return the model called `name` as it was created; raises ValidationFailed."""
        return self._models.get(name, missing=_missing(name))

    def arns(self) -> set[str]:
        """Return the ARNs of all models."""
        return {model["ModelArn"] for model in self._models}


def only_container(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the model's only container; raises ValidationFailed for none, UnsupportedHere for several."""
    containers = [request["PrimaryContainer"]] if "PrimaryContainer" in request else []
    containers += request.get("Containers", [])
    if not containers:
        raise ValidationFailed("One of PrimaryContainer and Containers must be given")
    if len(containers) > 1:
        raise UnsupportedHere(f"model {request['ModelName']!r} with {len(containers)} containers")
    container: Mapping[str, Any] = containers[0]
    if "Image" not in container:
        raise UnsupportedHere(f"model {request['ModelName']!r} without an Image")
    return container


def _missing(name: str) -> ValidationFailed:
    missing = arn("model", name)
    return ValidationFailed(f'Could not find model "{missing}".')
