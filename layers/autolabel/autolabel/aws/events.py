"""Types for what Lambda gives a function and takes from it."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

# Lambda's JSON: `Any`, because nothing has checked it. A handler converts it first.
Event: TypeAlias = dict[str, Any]
# JSON for Lambda to send: `Any`, because the structs that it comes from have the types.
Answer: TypeAlias = dict[str, Any]


def answer(result: msgspec.Struct) -> Answer:
    """Convert a function's result to the JSON object that Lambda sends."""
    converted: Answer = msgspec.to_builtins(result)
    return converted
