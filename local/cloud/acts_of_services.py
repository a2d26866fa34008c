"""Check what Lambda does in the name of a function's role: poll a queue, write the log, send traces.

No request carries the role's keys then, so ministack asks no policy. A denial is logged as others are.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from local.cloud import symbols
from local.cloud.key_use import uses_of_polling
from local.settings import ACCOUNT, REGION

_log = logging.getLogger("embedded-cloud")
# Lambda Developer Guide, "Using Lambda with Amazon SQS" and "Lambda execution role".
_POLLING = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
_LOGGING = ("logs:CreateLogStream", "logs:PutLogEvents")
_TRACING = ("xray:PutTraceSegments", "xray:PutTelemetryRecords")


# `Any` in this module: records of ministack, which has no types for them.
def install_acts_of_services() -> None:
    """Ask the roles' policies. Without permission, a batch is not processed, and is a dead letter in the end, where AWS
    would not receive it; logs and traces are kept anyway.
    """
    checked: set[tuple[str, str]] = set()

    def polling(original: Any) -> Any:
        def run(
            esm: dict[str, Any], func_rec: dict[str, Any], event: Any, batch: Any, queue_url: str, queue_name: str
        ) -> None:
            role = str(_config(func_rec)["Role"])
            queue = esm["EventSourceArn"]
            uses = [*((action, queue, {}) for action in _POLLING), *uses_of_polling(queue)]
            if all(may(role, *use) for use in uses):
                original(esm, func_rec, event, batch, queue_url, queue_name)

        return run

    def running(original: Any) -> Any:
        def execute(func: dict[str, Any], event: Any, request_id: str) -> Any:
            config = _config(func)
            role, group = str(config["Role"]), (config.get("LoggingConfig") or {}).get("LogGroup")
            # Without a log group of its own, Lambda would make one with permissions that few functions here have.
            if group and (role, group) not in checked:
                checked.add((role, group))
                stream = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:1"
                for action in _LOGGING:
                    may(role, action, stream)
                for action in _TRACING if (config.get("TracingConfig") or {}).get("Mode") == "Active" else ():
                    may(role, action, "*")
            return original(func, event, request_id)

        return execute

    batch = ("esm", "func_rec", "event", "batch", "queue_url", "queue_name")
    symbols.wrap("services.lambda_svc", "_run_sqs_batch", polling, parameters=batch)
    call = ("func", "event", "request_id")
    symbols.wrap("services.lambda_svc", "_execute_function_warm", running, parameters=call)


def may(role_arn: str, action: str, resource: str, keys: Mapping[str, Any] | None = None) -> bool:
    """Tell whether the policies of a role allow an act of a service; log a denial. `keys`: condition keys."""
    name = role_arn.rpartition("/")[2]
    context = symbols.find("core.iam_evaluator", "EvalContext")(
        principal_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/service",
        principal_type="AssumedRole",
        principal_account=ACCOUNT,
        action=action,
        resource_arn=resource,
        region=REGION,
        service_context=dict(keys or {}),
    )
    policies = symbols.find("core.iam_evaluator", "_gather_role_policies")(name, ACCOUNT)
    allowed = bool(symbols.find("core.iam_evaluator", "evaluate")(context, policies).decision == "Allow")
    if not allowed:
        _log.warning("denied: %s by %s on %s", action, context.principal_arn, resource)
    return allowed


def _config(function: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = function.get("config") or function
    return config
