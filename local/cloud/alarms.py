"""CloudWatch alarms that look at their own metric, with the metrics of queues and executions fed in."""

from __future__ import annotations

import logging
import operator
import threading
import time
from collections.abc import Callable
from typing import Any

from local.cloud import symbols
from local.cloud.stepfunctions.executions import Execution

Alarm = dict[str, Any]
SAMPLE_SECONDS = 0.5
_log = logging.getLogger("embedded-cloud")
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "Sum": sum,
    "Maximum": max,
    "Minimum": min,
    "SampleCount": len,
    "Average": lambda values: sum(values) / len(values),
}
_QUEUE_METRICS = {
    "ApproximateNumberOfMessagesVisible": "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible": "ApproximateNumberOfMessagesNotVisible",
}
_EXECUTION_METRICS = {
    "RUNNING": "ExecutionsStarted",
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "ABORTED": "ExecutionsAborted",
    "TIMED_OUT": "ExecutionsTimedOut",
}


class Alarms:
    """Samples metrics and evaluates alarms twice a second, over windows that end now.

    AWS evaluates once a period; here an alarm goes off as soon as its window's value crosses the threshold.
    """

    def __init__(self) -> None:
        self._record = symbols.find("services.cloudwatch", "record_metric")
        self._metrics = symbols.find("services.cloudwatch", "_metrics")
        self._dimensions_key = symbols.find("services.cloudwatch", "_dims_key")
        self._alarms = symbols.find("services.cloudwatch", "_alarms")
        self._stopping = threading.Event()

    def install(self) -> None:
        """Replace ministack's evaluation, which mixes the metrics of all dimensions, and start sampling."""
        symbols.replace("services.cloudwatch", "_evaluate_alarm", self.evaluate, parameters=("alarm",))
        threading.Thread(target=self._run, name="alarms", daemon=True).start()

    def stop(self) -> None:
        """End the sampling."""
        self._stopping.set()

    def count_execution(self, execution: Execution) -> None:
        """Record an execution's new status in AWS/States."""
        dimensions = {"StateMachineArn": execution.machine.arn}
        for name in _EXECUTION_METRICS.values():
            value = 1 if name == _EXECUTION_METRICS[execution.status] else 0
            self._record("AWS/States", name, value, "Count", dimensions)

    def evaluate(self, alarm: Alarm) -> None:
        """Set an alarm's state by its metric, and act on a change."""
        if not alarm.get("MetricName"):
            return
        state, reason = self._judge(alarm)
        before = alarm["StateValue"]
        if state is None or state == before:
            return
        alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
        symbols.find("services.cloudwatch", "_record_history")(alarm["AlarmName"], before, state, reason)
        symbols.find("services.cloudwatch", "_dispatch_alarm_actions")(alarm, before, state, reason)
        symbols.find("services.cloudwatch", "_evaluate_parent_alarms")(alarm)

    def _judge(self, alarm: Alarm) -> tuple[str | None, str]:
        dimensions = _dimensions(alarm)
        window = float(alarm.get("Period", 60)) * float(alarm.get("EvaluationPeriods", 1))
        points = self._metrics.get((alarm["Namespace"], alarm["MetricName"], self._dimensions_key(dimensions))) or []
        values = [point["Value"] for point in list(points) if point["Timestamp"] >= time.time() - window]
        if not values:
            missing = alarm.get("TreatMissingData", "missing")
            states = {"notBreaching": "OK", "breaching": "ALARM", "missing": "INSUFFICIENT_DATA"}
            return states.get(missing), f"no datapoints in {window:g} s, treated as {missing}"
        statistic = _STATISTICS.get(alarm.get("Statistic", ""))
        compare = _COMPARISONS.get(alarm.get("ComparisonOperator", ""))
        if statistic is None or compare is None:
            return None, "not evaluated by the embedded cloud"
        value, threshold = statistic(values), float(alarm.get("Threshold", 0))
        reason = (
            f"Threshold Crossed: {alarm['Statistic']} {value:g} against {alarm['ComparisonOperator']} {threshold:g}"
        )
        return ("ALARM" if compare(value, threshold) else "OK"), reason

    def _run(self) -> None:
        while not self._stopping.wait(SAMPLE_SECONDS):
            try:
                watched = [alarm for alarm in list(self._alarms.values()) if alarm.get("MetricName")]
                self._sample_queues(watched)
                for alarm in watched:
                    self.evaluate(alarm)
            except Exception:
                # One alarm that cannot be evaluated must not end the thread that watches all.
                _log.exception("alarms")

    def _sample_queues(self, watched: list[Alarm]) -> None:
        names = {_dimensions(alarm).get("QueueName") for alarm in watched if alarm.get("Namespace") == "AWS/SQS"}
        for url, queue in list(symbols.find("services.sqs", "_queues").items()):
            name = url.rsplit("/", 1)[-1]
            if name not in names:
                continue
            with symbols.find("services.sqs", "_queues_lock"):
                symbols.find("services.sqs", "_refresh_counts")(queue)
            for metric, attribute in _QUEUE_METRICS.items():
                self._replace_point("AWS/SQS", metric, float(queue["attributes"][attribute]), {"QueueName": name})

    def _replace_point(self, namespace: str, name: str, value: float, dimensions: dict[str, str]) -> None:
        """Keep one datapoint a minute and the latest: a level is not worth two points a second."""
        key = (namespace, name, self._dimensions_key(dimensions))
        points = self._metrics.get(key)
        if points and len(points) > 1 and points[-2]["Timestamp"] > time.time() - 60:
            points.pop()
        self._record(namespace, name, value, "Count", dimensions)


def _dimensions(alarm: Alarm) -> dict[str, str]:
    given = alarm.get("Dimensions") or []
    if isinstance(given, dict):
        return {str(name): str(value) for name, value in given.items()}
    return {str(entry["Name"]): str(entry["Value"]) for entry in given}
