"""X-Ray as a sink: accepts traces and drops them."""

from __future__ import annotations

import json
from typing import Any

from local.cloud.json_service import Response

_ANSWERS: dict[str, dict[str, Any]] = {
    "/TraceSegments": {"UnprocessedTraceSegments": []},
    "/TelemetryRecords": {},
    "/GetSamplingRules": {"SamplingRuleRecords": []},
    "/SamplingTargets": {"SamplingTargetDocuments": [], "UnprocessedStatistics": []},
}


async def handle_xray(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Response:
    """Answer the calls that tracing libraries make; everything else is an error."""
    answer = _ANSWERS.get(path)
    if answer is None:
        problem = {"__type": "InvalidRequestException", "Message": f"{path} is not supported by the embedded cloud"}
        return 400, {"Content-Type": "application/json"}, json.dumps(problem).encode()
    return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()
