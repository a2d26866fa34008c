"""Retry entries of a state, counted over the attempts of one visit."""

from __future__ import annotations

import random
from typing import Any

from local.cloud.stepfunctions.errors import StateError, matches


class Retries:
    """Decides whether an error is retried, and after which delay."""

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        self._entries = entries
        self._used = [0] * len(entries)

    def delay(self, error: StateError) -> float | None:
        """Return the seconds before the next attempt, None when there is none.

        Defaults of the Amazon States Language: 1 s, 3 attempts, back-off rate 2.
        """
        for position, entry in enumerate(self._entries):
            if not matches(entry["ErrorEquals"], error.error):
                continue
            used = self._used[position]
            if used >= entry.get("MaxAttempts", 3):
                return None
            self._used[position] += 1
            seconds = entry.get("IntervalSeconds", 1) * entry.get("BackoffRate", 2.0) ** used
            seconds = min(seconds, entry.get("MaxDelaySeconds", seconds))
            if entry.get("JitterStrategy", "NONE") == "FULL":
                return random.uniform(0, seconds)  # noqa: S311 - spreads load; nothing is secret
            return float(seconds)
        return None
