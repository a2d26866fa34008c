"""Apply settings of Lambda functions that ministack's resource type ignores."""

from __future__ import annotations

from typing import Any

from local.cloud import symbols
from local.cloud.cloudformation.completion import complete


def install_function_settings() -> None:
    """Apply reserved concurrency after a function is created or updated."""
    put = symbols.find("services.lambda_svc", "_put_function_concurrency")
    delete = symbols.find("services.lambda_svc", "_delete_function_concurrency")

    def apply(function: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        reserved = new.get("ReservedConcurrentExecutions")
        if reserved is not None:
            put(function, {"ReservedConcurrentExecutions": int(reserved)})
        elif "ReservedConcurrentExecutions" in old:
            delete(function)

    complete("AWS::Lambda::Function", apply)
