"""Metrics in the output of functions (CloudWatch User Guide, "Specification: Embedded metric format")."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple


class Datapoint(NamedTuple):
    """One value of a metric, in the order of ministack's `record_metric`."""

    namespace: str
    name: str
    value: float
    unit: str
    dimensions: dict[str, str]


def read_metrics(log: str) -> Iterator[Datapoint]:
    """Yield the datapoints in a function's output; as in CloudWatch, a line of another form has none."""
    for line in log.splitlines():
        if '"_aws"' in line:
            with contextlib.suppress(ValueError, TypeError, KeyError):
                yield from list(_datapoints(json.loads(line)))


def _datapoints(document: dict[str, Any]) -> Iterator[Datapoint]:
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = {name: str(document[name]) for name in names}
            for metric in directive["Metrics"]:
                values = document[metric["Name"]]
                for value in values if isinstance(values, list) else [values]:
                    unit = metric.get("Unit", "None")
                    yield Datapoint(directive["Namespace"], metric["Name"], float(value), unit, dimensions)
