"""Extend ministack's resource types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local.cloud import symbols

Properties = dict[str, Any]


def complete(type_name: str, apply: Callable[[str, Properties, Properties], None]) -> None:
    """Call `apply`(physical id, old properties, new properties) after each creation and update of the type."""
    handler = symbols.find("services.cloudformation.provisioners", "_RESOURCE_HANDLERS")[type_name]
    create, update = handler["create"], handler["update"]

    def created(logical_id: str, properties: Properties, stack: str) -> Any:
        result = create(logical_id, properties, stack)
        apply(result[0], {}, properties)
        return result

    def updated(physical_id: str, old: Properties, new: Properties, *rest: Any) -> Any:
        result = update(physical_id, old, new, *rest)
        apply(result[0], old, new)
        return result

    handler.update(create=created, update=updated)
