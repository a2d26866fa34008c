"""Event source mappings in templates: numbers from parameters are strings."""

from __future__ import annotations

from typing import Any

from local.cloud import symbols
from local.cloud.cloudformation.coercion import coerce, input_shape

Properties = dict[str, Any]


def install_mapping_settings() -> None:
    """Convert the properties to the types of Lambda's API: ministack's resource type compares them with numbers."""
    handlers = symbols.find("services.cloudformation.provisioners", "_RESOURCE_HANDLERS")
    handler = handlers["AWS::Lambda::EventSourceMapping"]
    create, update = handler["create"], handler["update"]
    shape = input_shape("lambda", "CreateEventSourceMapping")

    def created(logical_id: str, properties: Properties, stack: str) -> Any:
        return create(logical_id, coerce(properties, shape), stack)

    def updated(physical_id: str, old: Properties, new: Properties, *rest: Any) -> Any:
        return update(physical_id, old, coerce(new, shape), *rest)

    handler.update(create=created, update=updated)
