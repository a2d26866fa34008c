"""Read dashboards of CloudWatch, and the metrics of their widgets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.console.documents import Document

# A chart of an hour has datapoints of a minute; in longer ones, those of the widget.
_MINUTELY = 60


class Charts:
    """Reads through a CloudWatch client."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self._client = client

    def charts(self, minutes: int) -> Document:
        """Return all dashboards with the texts and the series of their widgets over the latest minutes.

        Widgets of other kinds are left out. `failed`: why CloudWatch refuses a widget, or cannot read its metrics.
        """
        watch = self._client("cloudwatch")
        pages = watch.get_paginator("list_dashboards").paginate()
        names = [entry["DashboardName"] for page in pages for entry in page["DashboardEntries"]]
        bodies = {name: json.loads(watch.get_dashboard(DashboardName=name)["DashboardBody"]) for name in names}
        return {
            "dashboards": [
                {"name": name, "widgets": [self._widget(widget, minutes) for widget in _in_order(body)]}
                for name, body in bodies.items()
            ]
        }

    def _widget(self, widget: Document, minutes: int) -> Document:
        properties = widget["properties"]
        if widget["type"] == "text":
            return {"text": properties.get("markdown", "")}
        period = 60 if minutes <= _MINUTELY else int(properties.get("period", 300))
        now = datetime.now(UTC)
        shown: Document = {"title": properties.get("title", ""), "series": [], "failed": ""}
        try:
            queries = queries_of(properties, period)
            answer = self._client("cloudwatch").get_metric_data(
                MetricDataQueries=[query for query, _ in queries],
                StartTime=now - timedelta(minutes=minutes),
                EndTime=now + timedelta(minutes=1),
            )
        except (BotoCoreError, ClientError, IndexError, ValueError) as e:
            return shown | {"failed": str(e)}
        right = {query["Id"] for query, on_right in queries if on_right}
        for result in answer["MetricDataResults"]:
            if result["StatusCode"] in ("InternalError", "Forbidden"):
                messages = [message["Value"] for message in result.get("Messages", [])]
                shown["failed"] = "; ".join(messages) or result["StatusCode"]
                continue
            points = sorted(zip([at.timestamp() for at in result["Timestamps"]], result["Values"], strict=True))
            shown["series"].append({"label": result["Label"], "right": result["Id"] in right, "points": points})
        return shown


def queries_of(properties: Document, period: int) -> list[tuple[Document, bool]]:
    """Make the queries of a metric widget, each with whether it belongs to the right axis.

    A row is a namespace, a metric, names and values of dimensions, and options. "." repeats what the row before has at
    the same place, and "..." all that it has there (CloudWatch API reference, "Dashboard body structure").
    """
    rows: list[tuple[list[str], Document]] = []
    for row in properties.get("metrics", []):
        options = row[-1] if row and isinstance(row[-1], dict) else {}
        before = rows[-1][0] if rows else []
        fields = row[: len(row) - (1 if options else 0)]
        if "..." in fields:
            place, after = fields.index("..."), fields[fields.index("...") + 1 :]
            fields = [*fields[:place], *before[place : len(before) - len(after)], *after]
        rows.append(([before[i] if field == "." else field for i, field in enumerate(fields)], options))
    metrics = Counter(tuple(fields[:2]) for fields, _ in rows if fields)
    queries = []
    for number, (fields, options) in enumerate(rows):
        query: Document = {"Id": options.get("id", f"q{number}"), "ReturnData": options.get("visible", True)}
        if "expression" in options:
            query |= {"Expression": options["expression"], "Period": period}
        else:
            query["MetricStat"] = {
                "Metric": {
                    "Namespace": fields[0],
                    "MetricName": fields[1],
                    "Dimensions": [
                        {"Name": name, "Value": value} for name, value in zip(fields[2::2], fields[3::2], strict=True)
                    ],
                },
                "Period": period,
                "Stat": options.get("stat", properties.get("stat", "Average")),
            }
            query["Label"] = _label(fields, metrics)
        if "label" in options:
            query["Label"] = options["label"]
        queries.append((query, options.get("yAxis") == "right"))
    return queries


def _label(fields: list[str], metrics: Counter[tuple[str, ...]]) -> str:
    """Name a series by what tells it from the others: its metric, a value of its dimension, or both."""
    if metrics[tuple(fields[:2])] == 1 or len(fields) <= 2:
        return fields[1]
    return fields[-1] if len(metrics) == 1 else f"{fields[-1]} {fields[1]}"


def _in_order(body: Document) -> list[Document]:
    shown = [widget for widget in body.get("widgets", []) if widget["type"] in ("text", "metric")]
    return sorted(shown, key=lambda widget: (widget.get("y", 0), widget.get("x", 0)))
