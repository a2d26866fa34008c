"""Apply settings of DynamoDB tables that ministack's resource type ignores."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from local.cloud import symbols
from local.cloud.cloudformation.coercion import coerce, input_shape
from local.cloud.cloudformation.completion import complete

Properties = dict[str, Any]
_OPERATIONS = {
    "TimeToLiveSpecification": ("UpdateTimeToLive", "_update_ttl"),
    "PointInTimeRecoverySpecification": ("UpdateContinuousBackups", "_update_continuous_backups"),
    "SSESpecification": ("UpdateTable", "_update_table"),
}


def install_table_settings() -> None:
    """Apply time to live, backups and encryption after a table is created or updated."""
    functions = {name: symbols.find("services.dynamodb", function) for name, function in _OPERATIONS.values()}
    complete("AWS::DynamoDB::Table", lambda table, old, new: _apply(functions, table, old, new))


def _apply(functions: dict[str, Callable[..., Any]], table: str, old: Properties, new: Properties) -> None:
    for name, (operation, _) in _OPERATIONS.items():
        value = new.get(name)
        if value is None or value == old.get(name):
            continue
        request = coerce({"TableName": table, name: _api_value(name, value)}, input_shape("dynamodb", operation))
        status, _, body = functions[operation](request)
        if status >= 400:
            raise ValueError(f"AWS::DynamoDB::Table {name}: {json.loads(body)}")


def _api_value(name: str, value: Properties) -> Properties:
    """Rename the encryption switch, which CloudFormation and the API name differently."""
    if name != "SSESpecification":
        return value
    return {("Enabled" if key == "SSEEnabled" else key): item for key, item in value.items()}
