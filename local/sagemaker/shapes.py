"""Check requests against the service model that botocore ships, as SageMaker's front end does.

Checks every member at every depth: required, type, minimum, maximum, pattern and enumeration. SageMaker drops unknown
members; this refuses them, so that a misspelt option cannot pass as accepted.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping
from typing import Any

import botocore.session
import regex
from botocore.model import ListShape, MapShape, OperationNotFoundError, ServiceModel, Shape, StructureShape

from local.sagemaker.errors import UnknownOperation, ValidationFailed


@functools.cache
def service_model(service: str) -> ServiceModel:
    """Load the model of `sagemaker` or `sagemaker-runtime` from the installed botocore."""
    return botocore.session.get_session().get_service_model(service)


def input_shape(service: str, operation: str) -> StructureShape:
    """Return the shape of an operation's request; raises UnknownOperation."""
    try:
        shape = service_model(service).operation_model(operation).input_shape
    except OperationNotFoundError as e:
        raise UnknownOperation(operation) from e
    if shape is None:
        raise UnknownOperation(operation)
    return shape


def check_request(
    service: str, operation: str, request: Mapping[str, Any], *, code: str = "ValidationException"
) -> None:
    """Raise ValidationFailed that lists every breach by member and value, unless the request fits its shape."""
    breaches = _breaches(input_shape(service, operation), request, "")
    if breaches:
        noun = "error" if len(breaches) == 1 else "errors"
        raise ValidationFailed(f"{len(breaches)} validation {noun} detected: {'; '.join(breaches)}", code=code)


def _breaches(shape: Shape, value: Any, where: str) -> list[str]:
    if isinstance(shape, StructureShape):
        return _structure_breaches(shape, value, where)
    if isinstance(shape, ListShape):
        if not isinstance(value, list | tuple):
            return [_wrong_type(value, where, "list")]
        inner = [b for i, item in enumerate(value) for b in _breaches(shape.member, item, f"{where}.{i + 1}.member")]
        return _size_breaches(shape, len(value), value, where, "length") + inner
    if isinstance(shape, MapShape):
        if not isinstance(value, Mapping):
            return [_wrong_type(value, where, "map")]
        inner = [
            b
            for key, item in value.items()
            for b in (*_breaches(shape.key, key, f"{where} key"), *_breaches(shape.value, item, f"{where}.{key}"))
        ]
        return _size_breaches(shape, len(value), value, where, "length") + inner
    return _scalar_breaches(shape, value, where)


def _structure_breaches(shape: StructureShape, value: Any, where: str) -> list[str]:
    if not isinstance(value, Mapping):
        return [_wrong_type(value, where or "request", "structure")]
    found = [
        f"Value null at '{_join(where, name)}' failed to satisfy constraint: Member must not be null"
        for name in shape.required_members
        if value.get(name) is None
    ]
    for name, item in value.items():
        if name not in shape.members:
            found.append(f"Value at '{_join(where, name)}' failed to satisfy constraint: Member is not known")
        elif item is not None:
            found += _breaches(shape.members[name], item, _join(where, name))
    return found


def _scalar_breaches(shape: Shape, value: Any, where: str) -> list[str]:
    kind = shape.type_name
    fits = isinstance(value, _PYTHON_TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
    if not fits:
        return [_wrong_type(value, where, kind)]
    if kind in ("integer", "long", "float", "double"):
        return _size_breaches(shape, value, value, where, "value")
    if kind == "blob":
        return _size_breaches(shape, len(value), f"{len(value)} bytes", where, "length")
    if kind != "string":
        return []
    limits: Mapping[str, Any] = shape.metadata
    found = _size_breaches(shape, len(value), value, where, "length")
    choices = limits.get("enum")
    if choices and value not in choices:
        return [*found, _breach(value, where, f"Member must satisfy enum value set: [{', '.join(choices)}]")]
    pattern = limits.get("pattern")
    # Length first: a pattern may take long on a string that is far too long.
    if pattern and not found and not _compiled(pattern).fullmatch(value):
        found.append(_breach(value, where, f"Member must satisfy regular expression pattern: {pattern}"))
    return found


_PYTHON_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "boolean": bool,
    "timestamp": (int, float, str, datetime.datetime),
    "blob": (bytes, bytearray),
}


@functools.cache
def _compiled(pattern: str) -> regex.Pattern[str]:
    # The patterns are Java's: the regex package knows \p{…}, and spells \z as \Z.
    return regex.compile(pattern.replace(r"\z", r"\Z"))


def _size_breaches(shape: Shape, size: float, value: Any, where: str, noun: str) -> list[str]:
    limits: Mapping[str, Any] = shape.metadata
    found = []
    if "min" in limits and size < limits["min"]:
        found.append(_breach(value, where, f"Member must have {noun} greater than or equal to {limits['min']}"))
    if "max" in limits and size > limits["max"]:
        found.append(_breach(value, where, f"Member must have {noun} less than or equal to {limits['max']}"))
    return found


def _wrong_type(value: Any, where: str, expected: str) -> str:
    return _breach(value, where, f"Member must be of type {expected}, not {type(value).__name__}")


def _breach(value: Any, where: str, rule: str) -> str:
    text = repr(value) if not isinstance(value, str) else f"'{value}'"
    shown = text if len(text) <= 200 else text[:200] + "…"
    return f"Value {shown} at '{where}' failed to satisfy constraint: {rule}"


def _join(where: str, name: str) -> str:
    lowered = name[:1].lower() + name[1:]
    return f"{where}.{lowered}" if where else lowered
