"""Read queues: what waits, what is being worked on, how old it is, and where dead letters go."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from local.console.documents import Document

_COUNTS = {
    "waiting": "ApproximateNumberOfMessages",
    "inFlight": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}
# CloudWatch takes this number of queries in a call.
_QUERIES = 500


class Queues:
    """Reads through clients of SQS and CloudWatch."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self._client = client

    def queues(self) -> Document:
        """Return all queues by name, each before its dead letters.

        `oldest`: seconds, None if CloudWatch has no recent datapoint.
        """
        sqs = self._client("sqs")
        urls = [url for page in sqs.get_paginator("list_queues").paginate() for url in page.get("QueueUrls", [])]
        found = {url: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"] for url in urls}
        names = [url.rpartition("/")[2] for url in urls]
        ages = self._ages(names)
        queues = [_queue(name, found[url], ages.get(name)) for name, url in zip(names, urls, strict=True)]
        by_arn = {queue["arn"]: queue for queue in queues}
        for queue in queues:
            target = by_arn.get(queue["deadLetters"])
            queue["deadLetters"] = target and {"name": target["name"], "waiting": target["waiting"]}
            if target:
                target["deadLettersOf"].append(queue["name"])
        return {"queues": sorted(queues, key=_place)}

    def _ages(self, names: list[str]) -> dict[str, float]:
        now = datetime.now(UTC)
        ages: dict[str, float] = {}
        for start in range(0, len(names), _QUERIES):
            part = names[start : start + _QUERIES]
            queries = [
                {
                    "Id": f"q{number}",
                    "MetricStat": {
                        "Metric": {
                            "Namespace": "AWS/SQS",
                            "MetricName": "ApproximateAgeOfOldestMessage",
                            "Dimensions": [{"Name": "QueueName", "Value": name}],
                        },
                        "Period": 60,
                        "Stat": "Maximum",
                    },
                }
                for number, name in enumerate(part)
            ]
            answer = self._client("cloudwatch").get_metric_data(
                MetricDataQueries=queries, StartTime=now - timedelta(minutes=5), EndTime=now + timedelta(minutes=1)
            )
            for result in answer["MetricDataResults"]:
                points = sorted(zip(result["Timestamps"], result["Values"], strict=True))
                if points:
                    ages[part[int(result["Id"][1:])]] = points[-1][1]
        return ages


def _place(queue: Document) -> tuple[str, bool]:
    return min(queue["deadLettersOf"], default=queue["name"]), bool(queue["deadLettersOf"])


def _queue(name: str, attributes: dict[str, str], oldest: float | None) -> Document:
    redrive = json.loads(attributes.get("RedrivePolicy", "{}"))
    return {
        "name": name,
        "arn": attributes["QueueArn"],
        **{key: int(attributes.get(attribute, 0)) for key, attribute in _COUNTS.items()},
        "oldest": oldest,
        "deadLetters": redrive.get("deadLetterTargetArn"),
        "deadLettersOf": [],
        "receives": redrive.get("maxReceiveCount"),
    }
