"""Counters of an asynchronous endpoint, under the names that SageMaker publishes in CloudWatch."""

from __future__ import annotations

import threading
from collections import Counter

COUNTED = (
    "InvocationsProcesssed",  # SageMaker spells it so
    "InvocationFailures",
    "Invocation4XXErrors",
    "Invocation5XXErrors",
    "ExpiredRequests",
    "RequestDownloadFailures",
    "ResponseUploadFailures",
    "NotificationFailures",
)


class EndpointMetrics:
    """Counts of events since the endpoint was created; safe for threads."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, name: str) -> None:
        """Add one to a counter of COUNTED; raises KeyError for any other name."""
        if name not in COUNTED:
            raise KeyError(name)
        with self._lock:
            self._counts[name] += 1

    def snapshot(self) -> dict[str, float]:
        """Return all counters, including zeros."""
        with self._lock:
            return {name: float(self._counts[name]) for name in COUNTED}
