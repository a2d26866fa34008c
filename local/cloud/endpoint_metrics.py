"""Publish the metrics of the stand-in's endpoints in CloudWatch's namespace AWS/SageMaker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from local.cloud import symbols
from local.sagemaker.async_inference.metrics import COUNTED

NAMESPACE = "AWS/SageMaker"
# Published as 1 or 0 for every invocation, so that their average is a share.
_SHARES = ("Invocation4XXErrors", "Invocation5XXErrors")


class Measured(Protocol):
    """The part of an endpoint that its metrics need."""

    name: str

    @property
    def variant(self) -> str: ...

    def metrics(self) -> Mapping[str, float]: ...


class EndpointMetricsFeed:
    """Publishes levels as they are, and counters as their increase since the last time.

    `level` records the datapoint of a level: (namespace, name, value, dimensions).
    """

    def __init__(
        self,
        endpoints: Callable[[], Iterable[Measured]],
        level: Callable[[str, str, float, dict[str, str]], None],
    ) -> None:
        self._endpoints = endpoints
        self._level = level
        self._store = symbols.find("services.cloudwatch", "_store_datum")
        self._published: dict[str, Mapping[str, float]] = {}

    def publish(self) -> None:
        """Publish the current metrics of all endpoints."""
        published: dict[str, Mapping[str, float]] = {}
        for endpoint in self._endpoints():
            metrics = published[endpoint.name] = endpoint.metrics()
            for name, value in metrics.items():
                if name not in COUNTED:
                    self._level(NAMESPACE, name, value, {"EndpointName": endpoint.name})
            self._count(endpoint, metrics, self._published.get(endpoint.name, {}))
        self._published = published

    def _count(self, endpoint: Measured, now: Mapping[str, float], before: Mapping[str, float]) -> None:
        # A counter that fell belongs to another endpoint of the same name.
        new = {
            name: now[name] - (before.get(name, 0.0) if before.get(name, 0.0) <= now[name] else 0) for name in COUNTED
        }
        dimensions = {"EndpointName": endpoint.name, "VariantName": endpoint.variant}
        for name in COUNTED:
            values = {1.0: new[name]}
            if name in _SHARES:
                values[0.0] = max(new["InvocationsProcesssed"] - new[name], 0.0)
            seen = {value: count for value, count in values.items() if count}
            if seen:
                self._store(
                    NAMESPACE, name, dimensions, time.time(), "Count", None, list(seen), list(seen.values()), None
                )
