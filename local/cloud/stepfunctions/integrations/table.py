"""DynamoDB's operations on items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore import xform_name

from local.cloud.stepfunctions.cancellation import Cancellation
from local.cloud.stepfunctions.integrations.answers import ask
from local.cloud.stepfunctions.integrations.clients import Clients


def operation(name: str) -> Callable[[Clients, Any, Cancellation], Any]:
    """Return the call of one of DynamoDB's item operations."""

    def call(clients: Clients, arguments: Any, _: Cancellation) -> Any:
        return ask("DynamoDB", lambda: getattr(clients["dynamodb"], xform_name(name))(**arguments))

    return call
