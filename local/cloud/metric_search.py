"""Searches of GetMetricData: the metrics of one name in a schema (CloudWatch User Guide, "Search expression syntax").

SEARCH('{Namespace,Dimension,…} MetricName="Name"', 'Statistic', period) is what a dashboard asks that does not know the
values of dimensions. ministack answers all other expressions as failed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from local.cloud import symbols

_SEARCH = re.compile(
    r"""\s*SEARCH\(\s*'\{([^{}']+)\}\s*MetricName="([^"']+)"\s*'\s*,\s*'([\w.]+)'\s*(?:,\s*(\d+)\s*)?\)\s*"""
)
_PERIOD = 300
Query = dict[str, Any]
"""A query of GetMetricData, or the whole request, as boto3 takes it."""


def install_metric_search() -> None:
    """Let GetMetricData answer a search with a result for each metric that it finds, labelled by its dimensions."""
    module = "services.cloudwatch"
    metrics = symbols.find(module, "_metrics")

    def searching(get: Callable[..., Any]) -> Callable[..., Any]:
        def answer(params: Query, cbor_data: Query, is_cbor: bool, is_json: bool = False) -> Any:
            # Only older clients have their query in `params`.
            if is_cbor or is_json:
                queries = [one for query in cbor_data.get("MetricDataQueries", []) for one in _found(query, metrics)]
                cbor_data = {**cbor_data, "MetricDataQueries": queries}
            return get(params, cbor_data, is_cbor, is_json)

        return answer

    symbols.wrap(module, "_get_metric_data", searching, parameters=("params", "cbor_data", "is_cbor", "is_json"))


def _found(query: Query, metrics: Any) -> Iterator[Query]:
    search = _SEARCH.fullmatch(query.get("Expression", ""))
    if not search:
        yield query
        return
    schema, wanted, statistic, period = search.groups()
    namespace, *names = (part.strip(' "') for part in schema.split(","))
    for (place, name, _), points in list(metrics.items()):
        dimensions = points[0].get("Dimensions", {}) if points else {}
        if (place, name) == (namespace, wanted) and dimensions.keys() == set(names):
            metric = {
                "Namespace": namespace,
                "MetricName": name,
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
            }
            label = " ".join([query.get("Label", ""), *(dimensions[key] for key in names)]).strip()
            yield {
                "Id": query["Id"],
                "Label": label,
                "ReturnData": query.get("ReturnData", True),
                "MetricStat": {"Metric": metric, "Period": int(period or _PERIOD), "Stat": statistic},
            }
