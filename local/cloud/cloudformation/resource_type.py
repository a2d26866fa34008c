"""CloudFormation resource types and their registration with ministack."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from local.cloud import symbols

Properties = dict[str, Any]
Attributes = dict[str, str]
Created = tuple[str, Attributes]


@dataclass(frozen=True)
class ResourceType:
    """A resource type and its functions.

    create(properties, default name) and update(physical id, old, new properties) return (physical id, attributes).
    delete(physical id) must accept a resource that is already gone. A change of a `replacing` property creates a new
    resource.
    """

    name: str
    create: Callable[[Properties, str], Created]
    delete: Callable[[str], None]
    update: Callable[[str, Properties, Properties], Created] | None = None
    replacing: Sequence[str] = field(default=())


def register(resource_type: ResourceType) -> None:
    """Let stacks use the type."""
    handlers: dict[str, dict[str, Any]] = symbols.find("services.cloudformation.provisioners", "_RESOURCE_HANDLERS")
    replacing: dict[str, tuple[str, ...]] = symbols.find(
        "services.cloudformation.provisioners", "_REPLACING_PROPERTIES"
    )
    if resource_type.name in handlers:
        raise symbols.IncompatibleMinistack(f"ministack already has a {resource_type.name}")

    def create(logical_id: str, properties: Properties, stack: str) -> Created:
        return resource_type.create(dict(properties), _default_name(stack, logical_id))

    entry: dict[str, Any] = {
        "create": create,
        "delete": lambda physical_id, properties: resource_type.delete(physical_id),
    }
    if resource_type.update is not None:
        update = resource_type.update
        entry["update"] = lambda physical_id, old, new, stack: update(physical_id, dict(old), dict(new))
    handlers[resource_type.name] = entry
    replacing[resource_type.name] = tuple(resource_type.replacing)


def _default_name(stack: str, logical_id: str) -> str:
    """Make a default name as CloudFormation does, within SageMaker's 63 characters."""
    return f"{stack[:24]}-{logical_id[:24]}-{uuid.uuid4().hex[:12]}"
