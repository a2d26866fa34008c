"""The actions of alarms in their history (CloudWatch API Reference, DescribeAlarmHistory)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from local.cloud import symbols

_ACTIONS = {"ALARM": "AlarmActions", "OK": "OKActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}
Dispatch = Callable[[dict[str, Any], str, str, str], None]


def install_alarm_actions() -> None:
    """Let the history of an alarm tell which of its actions were executed."""
    module = "services.cloudwatch"
    entries = symbols.find(module, "_history_entries")

    def recording(dispatch: Dispatch) -> Dispatch:
        def act(alarm: dict[str, Any], old_state: str, new_state: str, reason: str) -> None:
            dispatch(alarm, old_state, new_state, reason)
            actions = alarm.get(_ACTIONS.get(new_state, "")) or []
            for action in actions if alarm.get("ActionsEnabled", True) else []:
                entries().append(
                    {
                        "AlarmName": alarm["AlarmName"],
                        "AlarmType": "MetricAlarm",
                        "Timestamp": datetime.fromtimestamp(time.time(), UTC).isoformat(),
                        "HistoryItemType": "Action",
                        "HistorySummary": f"Successfully executed action {action}",
                        "HistoryData": json.dumps({"actionState": "Succeeded", "notificationResource": action}),
                    }
                )

        return act

    parameters = ("alarm", "old_state", "new_state", "reason")
    symbols.wrap(module, "_dispatch_alarm_actions", recording, parameters=parameters)
