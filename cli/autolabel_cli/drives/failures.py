"""Failures of executions, as sentences."""

from __future__ import annotations

import json


def failure_sentence(error: str, cause: str) -> str:
    """Return an execution's error and cause as one sentence. For an error of a function: its type and message."""
    try:
        said = json.loads(cause)["errorMessage"]
    except (ValueError, KeyError, TypeError):
        said = cause
    return ": ".join(filter(None, (error, said)))
