"""docs/operators/metrics.md names all metrics of the functions, and alarms watch no others."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.contract.template import ROOT, functions, resolve, resources

TABLE = (ROOT / "docs" / "operators" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([\w, ]+) \| .+ \|$", re.MULTILINE)
NAMESPACE, OWN = "autolabel", [{"Name": "service", "Value": {"Ref": "AWS::StackName"}}]


class Metric(NamedTuple):
    """`name`: a pattern if the code makes a part of the name."""

    function: str
    name: str
    unit: str


def emitted() -> Iterator[Metric]:
    """Find the calls of `add_metric` in the functions."""
    for function in functions():
        for node in ast.walk(ast.parse((ROOT / "functions" / function / "app.py").read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_metric":
                name, unit = node.args[0], node.args[1]
                assert isinstance(unit, ast.Attribute)
                yield Metric(function, pattern(name), unit.attr)


def pattern(name: ast.expr) -> str:
    if isinstance(name, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else r"\w+" for part in name.values)
    assert isinstance(name, ast.Constant)
    return str(name.value)


def told() -> list[Metric]:
    return [Metric(function, name, unit) for name, unit, by in ROW.findall(TABLE) for function in by.split(", ")]


def is_of(metric: Metric, call: Metric) -> bool:
    return metric.function == call.function and metric.unit == call.unit and bool(re.fullmatch(call.name, metric.name))


def test_every_metric_of_the_table_is_emitted() -> None:
    assert len(told()) > 20
    assert [metric for metric in told() if not any(is_of(metric, call) for call in emitted())] == []


def test_every_emitted_metric_is_in_the_table() -> None:
    assert [call for call in emitted() if not any(is_of(metric, call) for metric in told())] == []


def test_functions_emit_without_further_dimensions() -> None:
    """Alarms and the dashboard watch the dimension `service` alone; another one would make other metrics."""
    text = "".join((ROOT / "functions" / name / "app.py").read_text() for name in functions())
    assert "metrics.log_metrics" in text
    assert not re.search(r"add_dimension|set_default_dimensions|single_metric|capture_cold_start|Ephemeral", text)


@pytest.mark.parametrize("name", resources("AWS::CloudWatch::Alarm"))
def test_an_alarm_watches_a_metric_of_the_table(name: str) -> None:
    alarm = resources("AWS::CloudWatch::Alarm")[name]["Properties"]
    if alarm["Namespace"] == NAMESPACE:
        assert alarm["MetricName"] in {metric.name for metric in told()}
        assert alarm["Dimensions"] == OWN
    else:
        assert f"`{alarm['Namespace']}`" in TABLE
        assert f"`{alarm['MetricName']}`" in TABLE


def widgets() -> list[dict[str, Any]]:
    (dashboard,) = resources("AWS::CloudWatch::Dashboard").values()
    found: list[dict[str, Any]] = json.loads(resolve(dashboard["Properties"]["DashboardBody"]))["widgets"]
    return found


def shown() -> Iterator[tuple[str, str, str]]:
    """The namespace, name and dimensions of every metric on the dashboard."""
    for row in (row for widget in widgets() for row in widget["properties"].get("metrics", [])):
        if isinstance(row[0], dict):
            form = r"SEARCH\('\{([\w/]+),([\w,]+)\} MetricName=\"(\w+)\"', '\w+', 300\)"
            search = re.fullmatch(form, row[0]["expression"])
            assert search, row
            yield search[1], search[3], search[2].replace(",", ", ")
        else:
            yield row[0], row[1], row[2]


def test_the_dashboard_shows_metrics_of_the_table_only() -> None:
    services = {
        (namespace, metric, dimensions.replace("`", ""))
        for namespace, metrics, dimensions in re.findall(r"^\| `(AWS/\w+)` \| (.+) \| (.+) \|$", TABLE, re.MULTILINE)
        for metric in re.findall(r"`(\w+)`", metrics)
    }
    known = services | {(NAMESPACE, metric.name, "service") for metric in told()}
    assert len(set(shown())) > 20
    assert set(shown()) - known == set()


def test_the_dashboard_shows_all_alarms_that_every_stack_has_and_fits() -> None:
    (alarms,) = [widget["properties"]["alarms"] for widget in widgets() if widget["type"] == "alarm"]
    always = [name for name, thing in resources("AWS::CloudWatch::Alarm").items() if "Condition" not in thing]
    assert sorted(arn.rpartition(":")[2] for arn in alarms) == sorted(always)
    # CloudWatch's limits: alarms of a widget, metrics of a graph and of a dashboard.
    assert len(alarms) <= 100
    rows = [len(widget["properties"].get("metrics", [])) for widget in widgets()]
    assert max(rows) <= 500
    assert sum(rows) <= 2500


def test_widgets_do_not_overlap() -> None:
    taken = [
        (column, line)
        for widget in widgets()
        for column in range(widget["x"], widget["x"] + widget["width"])
        for line in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(taken) == len(set(taken))
    assert max(column for column, _ in taken) < 24
