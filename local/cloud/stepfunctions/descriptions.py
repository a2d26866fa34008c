"""Describe executions and map runs as the API does; times are seconds since the epoch."""

from __future__ import annotations

from collections import Counter
from typing import Any

from local.cloud.stepfunctions.engine import why_not_redrivable
from local.cloud.stepfunctions.executions import Execution, MapRun
from local.cloud.stepfunctions.limits import encode

_COUNTED = {"SUCCEEDED": "succeeded", "FAILED": "failed", "TIMED_OUT": "timedOut", "ABORTED": "aborted"}
_COUNTS = (
    "pending",
    "running",
    "succeeded",
    "failed",
    "timedOut",
    "aborted",
    "total",
    "resultsWritten",
    "failuresNotRedrivable",
    "pendingRedrive",
)


def summary(execution: Execution) -> dict[str, Any]:
    """Make an entry of ListExecutions."""
    described: dict[str, Any] = {
        "executionArn": execution.arn,
        "stateMachineArn": execution.machine.arn,
        "name": execution.name,
        "status": execution.status,
        "startDate": execution.started,
        "redriveCount": execution.redrives,
    }
    if execution.map_run is not None:
        described |= {"mapRunArn": execution.map_run.arn, "itemCount": _items(execution)}
    optional = {"stopDate": execution.stopped, "redriveDate": execution.redriven}
    return described | {name: value for name, value in optional.items() if value is not None}


def description(execution: Execution) -> dict[str, Any]:
    """Make the answer of DescribeExecution."""
    described = summary(execution)
    described.pop("itemCount", None)
    described |= {
        "input": execution.input_text,
        "inputDetails": {"included": True},
        "redriveStatus": "NOT_REDRIVABLE",
    }
    reason = why_not_redrivable(execution)
    if execution.map_run is not None:
        described["redriveStatus"] = "REDRIVABLE_BY_MAP_RUN"
    elif reason is None:
        described["redriveStatus"] = "REDRIVABLE"
    else:
        described["redriveStatusReason"] = reason
    if execution.status == "SUCCEEDED":
        described |= {"output": encode(execution.output), "outputDetails": {"included": True}}
    optional = {"error": execution.error, "cause": execution.cause}
    return described | {name: value for name, value in optional.items() if value is not None}


def map_run_summary(map_run: MapRun) -> dict[str, Any]:
    """Make an entry of ListMapRuns."""
    described: dict[str, Any] = {
        "mapRunArn": map_run.arn,
        "executionArn": map_run.execution.arn,
        "stateMachineArn": f"{map_run.execution.machine.arn}/{map_run.label}",
        "startDate": map_run.started,
    }
    return described | ({"stopDate": map_run.stopped} if map_run.stopped is not None else {})


def map_run_description(map_run: MapRun) -> dict[str, Any]:
    """Make the answer of DescribeMapRun."""
    described = map_run_summary(map_run)
    described.pop("stateMachineArn")
    described |= {
        "status": map_run.status,
        "maxConcurrency": map_run.max_concurrency,
        "toleratedFailurePercentage": float(map_run.tolerated_percentage or 0),
        "toleratedFailureCount": map_run.tolerated_count or 0,
        "itemCounts": _counts(map_run, map_run.items),
        "executionCounts": _counts(map_run, [1] * len(map_run.children)),
        "redriveCount": map_run.redrives,
    }
    return described | ({"redriveDate": map_run.redriven} if map_run.redriven is not None else {})


def _counts(map_run: MapRun, weights: list[int]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for child, weight in zip(map_run.children, weights, strict=True):
        group = _COUNTED.get(child.status, "running" if child.begun else "pending")
        counts[group] += weight
        counts["total"] += weight
    counts["resultsWritten"] = map_run.results_written
    return {name: counts[name] for name in _COUNTS}


def _items(execution: Execution) -> int:
    map_run = execution.map_run
    if map_run is None:
        return 0
    return next((n for n, child in zip(map_run.items, map_run.children, strict=False) if child is execution), 0)
