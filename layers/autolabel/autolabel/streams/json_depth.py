"""Limits how deep a JSON value is nested."""

from __future__ import annotations

# Calibrations and labels nest a few levels. The depth at which a parser stops depends on its caller's stack, so a value
# just below that depth could be read when it arrives, and not later.
MAX_DEPTH = 32


def is_deep(value: object) -> bool:
    """Check whether a parsed JSON value is nested in more than MAX_DEPTH arrays and objects."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
