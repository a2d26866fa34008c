"""Convert template values to the types that an API expects: CloudFormation turns parameters into strings."""

from __future__ import annotations

from typing import Any

from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape


def input_shape(service: str, operation: str) -> StructureShape:
    """Return the request shape of an operation, from botocore's service model."""
    model = ServiceModel(Loader().load_service_model(service, "service-2"), service)
    shape = model.operation_model(operation).input_shape
    if shape is None:
        raise ValueError(f"{service} {xform_name(operation)} takes no input")
    return shape


def coerce(value: Any, shape: Shape) -> Any:
    """Convert numbers, booleans and strings as `shape` declares them; unknown members stay as they are.

    Raises ValueError for text that is not a number where a number is expected.
    """
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        return {
            name: coerce(member, shape.members[name]) if name in shape.members else member
            for name, member in value.items()
        }
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [coerce(item, shape.member) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {name: coerce(item, shape.value) for name, item in value.items()}
    return _scalar(value, shape.type_name)


def _scalar(value: Any, kind: str) -> Any:
    if isinstance(value, str):
        if kind in ("integer", "long"):
            return int(value)
        if kind in ("float", "double"):
            return float(value)
        if kind == "boolean" and value.lower() in ("true", "false"):
            return value.lower() == "true"
    if kind == "string" and isinstance(value, bool):
        return str(value).lower()
    if kind == "string" and isinstance(value, int | float):
        return str(value)
    return value
