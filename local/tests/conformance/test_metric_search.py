"""Expressions in GetMetricData: a search finds the metrics of its schema, and other expressions fail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from local.tests.conformance.workbench import Workbench, unique


def ask(bench: Workbench, expression: str, **query: Any) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    answer = bench.cloudwatch.get_metric_data(
        MetricDataQueries=[{"Id": "e1", "Expression": expression, **query}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=1),
    )
    return list(answer["MetricDataResults"])


def test_a_search_finds_metrics_by_name_and_dimensions(bench: Workbench) -> None:
    space = unique("Space")
    at = datetime.now(UTC)
    for name, dimensions, value in (
        ("Load", {"Endpoint": "a", "Variant": "all"}, 2.0),
        ("Load", {"Endpoint": "b|c=d", "Variant": "all"}, 3.0),
        ("Load", {"Endpoint": "b|c=d", "Variant": "all"}, 5.0),
        ("Load", {"Endpoint": "a"}, 7.0),
        ("Load", {}, 11.0),
        ("Loads", {"Endpoint": "a", "Variant": "all"}, 13.0),
    ):
        given = [{"Name": key, "Value": text} for key, text in dimensions.items()]
        datum = {"MetricName": name, "Dimensions": given, "Value": value, "Timestamp": at}
        bench.cloudwatch.put_metric_data(Namespace=space, MetricData=[datum])
    search = f"SEARCH('{{{space}, Endpoint, \"Variant\"}} MetricName=\"Load\"', 'Maximum', 60)"
    found = ask(bench, search)
    assert [(one["Id"], one["Label"], one["Values"]) for one in found] == [
        ("e1", "a all", [2.0]),
        ("e1", "b|c=d all", [5.0]),
    ]
    assert [one["Label"] for one in ask(bench, search, Label="load")] == ["load a all", "load b|c=d all"]
    assert ask(bench, search, ReturnData=False) == []


def test_other_expressions_fail(bench: Workbench) -> None:
    for expression in ("e2 * 2", "SUM(SEARCH('{A,B} MetricName=\"C\"', 'Sum', 60))", "SEARCH('{A,B} C', 'Sum', 60)"):
        assert [one["StatusCode"] for one in ask(bench, expression)] == ["InternalError"]
