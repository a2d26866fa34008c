"""EventBridge events on the status of executions."""

from __future__ import annotations

import json
import logging
from typing import Any

from local.cloud import symbols
from local.cloud.stepfunctions.engine import why_not_redrivable
from local.cloud.stepfunctions.executions import Execution
from local.cloud.stepfunctions.limits import encode

PAYLOAD_BYTES = 248 * 1024
"""Largest input or output in an event; larger ones are left out (Step Functions Developer Guide, "EventBridge")."""
_log = logging.getLogger("stepfunctions")


def announce(execution: Execution) -> None:
    """Put "Step Functions Execution Status Change" on the default bus; best effort: a failure is only logged."""
    try:
        symbols.find("services.eventbridge", "_put_events")(
            {
                "Entries": [
                    {
                        "Source": "aws.states",
                        "DetailType": "Step Functions Execution Status Change",
                        "Detail": json.dumps(status_detail(execution)),
                        "Resources": [execution.arn],
                    }
                ]
            },
            allow_aws_source=True,
        )
    except Exception:
        _log.exception("the status event of %s was not sent", execution.arn)


def status_detail(execution: Execution) -> dict[str, Any]:
    """Make the event's detail; times are milliseconds since the epoch."""
    reason = why_not_redrivable(execution)
    output = encode(execution.output) if execution.status == "SUCCEEDED" else None
    return {
        "executionArn": execution.arn,
        "stateMachineArn": execution.machine.arn,
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
        "name": execution.name,
        "status": execution.status,
        "startDate": _milliseconds(execution.started),
        "stopDate": _milliseconds(execution.stopped),
        "redriveCount": execution.redrives,
        "redriveDate": _milliseconds(execution.redriven),
        "redriveStatus": "NOT_REDRIVABLE" if reason else "REDRIVABLE",
        "redriveStatusReason": reason,
        "error": execution.error,
        "cause": execution.cause,
        "input": _payload(execution.input_text),
        "inputDetails": {"included": _payload(execution.input_text) is not None},
        "output": _payload(output),
        "outputDetails": {"included": _payload(output) is not None} if output is not None else None,
    }


def _milliseconds(moment: float | None) -> int | None:
    return None if moment is None else int(moment * 1000)


def _payload(text: str | None) -> str | None:
    return text if text is not None and len(text.encode()) <= PAYLOAD_BYTES else None
