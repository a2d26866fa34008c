"""Read the states of alarms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local.console.documents import Document, plain

_ORDER = {"ALARM": 0, "INSUFFICIENT_DATA": 1, "OK": 2}


class Alarms:
    """Reads through a CloudWatch client."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self._client = client

    def alarms(self) -> Document:
        """Return all alarms, those in state ALARM first."""
        pages = self._client("cloudwatch").get_paginator("describe_alarms").paginate()
        found = [
            alarm for page in pages for kind in ("MetricAlarms", "CompositeAlarms") for alarm in page.get(kind, [])
        ]
        alarms = [
            {
                "name": alarm["AlarmName"],
                "description": alarm.get("AlarmDescription", ""),
                "state": alarm["StateValue"],
                "reason": alarm.get("StateReason", ""),
                "since": plain(alarm.get("StateUpdatedTimestamp")),
                "actions": alarm.get("ActionsEnabled", True),
            }
            for alarm in found
        ]
        return {"alarms": sorted(alarms, key=lambda alarm: (_ORDER.get(alarm["state"], 0), alarm["name"]))}
