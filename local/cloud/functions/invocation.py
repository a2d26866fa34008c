"""One invocation of a function and its outcome."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Invocation:
    """The input of a function process: `payload` is the event as JSON, `deadline` in seconds since the epoch.

    `memory`: the function's MemorySize in MB.
    """

    request_id: str
    payload: bytes
    deadline: float
    function_arn: str
    trace_id: str | None = None
    memory: int = 128


@dataclass(frozen=True)
class Outcome:
    """The outcome of an invocation; `error` is AWS's error document (errorType, errorMessage) or None."""

    result: Any = None
    error: dict[str, Any] | None = None
    log: str = ""


def failure(error_type: str, message: str) -> dict[str, Any]:
    """Make an error document of the platform, as a caller of Invoke sees it."""
    return {"errorType": error_type, "errorMessage": message}


def parse_error(body: bytes) -> dict[str, Any]:
    """Read the error document that a runtime posted; anything that is not an object becomes its message."""
    try:
        document = json.loads(body)
    except ValueError:
        document = body.decode(errors="replace")
    if isinstance(document, dict):
        return document
    return failure("Runtime.Unknown", str(document))
