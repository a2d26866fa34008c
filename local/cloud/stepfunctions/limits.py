"""Step Functions' limits on data between states."""

from __future__ import annotations

import json
from typing import Any

from local.cloud.stepfunctions.errors import StateError

PAYLOAD_BYTES = 262_144
"""Largest input, output or result, UTF-8 bytes (Step Functions quotas)."""


def encode(value: Any) -> str:
    """Encode a payload as the text that history and descriptions show."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def check_size(value: Any, what: str) -> str:
    """Encode a payload; raises States.DataLimitExceeded when it is too large."""
    text = encode(value)
    size = len(text.encode())
    if size > PAYLOAD_BYTES:
        raise StateError("States.DataLimitExceeded", f"{what} has {size} bytes, the maximum is {PAYLOAD_BYTES}")
    return text
