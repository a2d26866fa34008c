"""Metrics that functions write into their output."""

from __future__ import annotations

import json

import pytest

from local.cloud.functions.embedded_metrics import Datapoint, read_metrics

DIRECTIVE = {
    "Namespace": "shop",
    "Dimensions": [["service"], ["service", "till"]],
    "Metrics": [{"Name": "Sold", "Unit": "Count"}, {"Name": "Waited"}],
}
LINE = {"_aws": {"CloudWatchMetrics": [DIRECTIVE]}, "service": "a", "till": 2, "Sold": [1, 3], "Waited": 0.5}


def test_every_value_counts_once_for_each_set_of_dimensions() -> None:
    found = list(read_metrics(f"START\n{json.dumps(LINE)}\nEND"))
    one, both = {"service": "a"}, {"service": "a", "till": "2"}
    assert found == [
        Datapoint("shop", name, value, unit, dimensions)
        for dimensions in (one, both)
        for name, value, unit in (("Sold", 1, "Count"), ("Sold", 3, "Count"), ("Waited", 0.5, "None"))
    ]


@pytest.mark.parametrize(
    "line",
    [
        '{"_aws"',
        '["_aws"]',
        '{"_aws": null}',
        json.dumps({key: value for key, value in LINE.items() if key != "till"}),
        json.dumps({**LINE, "Sold": "many"}),
    ],
)
def test_a_line_of_another_form_has_no_metrics(line: str) -> None:
    assert list(read_metrics(f"{line}\n{json.dumps(LINE)}")) == list(read_metrics(json.dumps(LINE)))
