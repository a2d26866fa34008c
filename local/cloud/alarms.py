"""CloudWatch alarms on one metric each, evaluated period by period; feeds the metrics of queues and executions."""

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
_STOP_SECONDS = 2
# The period of the metrics that AWS's services publish, and of most alarms the shortest.
MINUTE = 60.0
_log = logging.getLogger("embedded-cloud")
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
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
    """Samples metrics and evaluates alarms at least twice a second, over periods; the latest ends now.

    AWS evaluates once a period; here an alarm goes off as soon as enough of its periods cross the threshold. `scale` is
    a factor on the length of all periods.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale
        self._steps: list[Callable[[], None]] = [self._sample_queues, self._evaluate_all]
        self._record = symbols.find("services.cloudwatch", "record_metric")
        self._metrics = symbols.find("services.cloudwatch", "_metrics")
        self._dimensions_key = symbols.find("services.cloudwatch", "_dims_key")
        self._alarms = symbols.find("services.cloudwatch", "_alarms")
        self._statistics = symbols.find("services.cloudwatch", "_calc_stats")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)

    def install(self) -> None:
        """Replace ministack's evaluation, which mixes the metrics of all dimensions, and start sampling."""
        symbols.replace("services.cloudwatch", "_evaluate_alarm", self.evaluate, parameters=("alarm",))
        self._thread.start()

    def stop(self) -> None:
        """End the sampling, and wait for the step in progress."""
        self._stopping.set()
        self._thread.join(timeout=_STOP_SECONDS)

    def follow(self, step: Callable[[], None]) -> None:
        """Call `step` after every evaluation."""
        self._steps.append(step)

    def in_alarm(self) -> list[Alarm]:
        """Return the alarms in state ALARM."""
        return [alarm for alarm in list(self._alarms.values()) if alarm["StateValue"] == "ALARM"]

    def level(self, namespace: str, name: str, value: float, dimensions: dict[str, str]) -> None:
        """Record a datapoint of a level; keeps two datapoints a minute and the latest one, to save memory."""
        points = self._metrics.get((namespace, name, self._dimensions_key(dimensions)))
        if points and len(points) > 1 and points[-2]["Timestamp"] > time.time() - MINUTE / 2 * self._scale:
            points.pop()
        self._record(namespace, name, value, "Count", dimensions)

    def value(self, alarm: Alarm) -> float | None:
        """Return an alarm's metric over the latest period; None without datapoints."""
        return self._datapoints(alarm, 1)[0]

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
        compare = _COMPARISONS.get(alarm.get("ComparisonOperator", ""))
        if compare is None or not alarm.get("Statistic"):
            return None, "not evaluated by the embedded cloud"
        count, threshold = int(alarm.get("EvaluationPeriods", 1)), float(alarm.get("Threshold", 0))
        needed = int(alarm.get("DatapointsToAlarm") or count)
        found = [value for value in self._datapoints(alarm, count) if value is not None]
        missing = alarm.get("TreatMissingData", "missing")
        if not found:
            states = {"notBreaching": "OK", "breaching": "ALARM", "missing": "INSUFFICIENT_DATA"}
            return states.get(missing), f"no datapoints in {count} periods, treated as {missing}"
        beyond = sum(compare(value, threshold) for value in found)
        open_ = count - len(found)
        reason = (
            f"Threshold Crossed: {beyond} of {count} datapoints, the latest {found[0]:g}, "
            f"against {alarm['ComparisonOperator']} {threshold:g}"
        )
        if beyond + (open_ if missing == "breaching" else 0) >= needed:
            return "ALARM", reason
        # Missing datapoints may still come: while they could decide, the state stays.
        undecided = missing in ("missing", "ignore") and beyond + open_ >= needed
        return (None if undecided else "OK"), reason

    def _datapoints(self, alarm: Alarm, count: int) -> list[float | None]:
        """Return the metric's statistic in each of the latest `count` periods, the latest first; None without
        datapoints."""
        points = self._metrics.get((alarm["Namespace"], alarm["MetricName"], self._dimensions_key(_dimensions(alarm))))
        period, now = float(alarm.get("Period", MINUTE)) * self._scale, time.time()
        periods: list[list[Any]] = [[] for _ in range(count)]
        for point in list(points or []):
            index = int(max(now - point["Timestamp"], 0.0) / period)
            if index < count:
                periods[index].append(point)
        return [self._statistics(inside).get(alarm["Statistic"]) for inside in periods]

    def _run(self) -> None:
        # Look several times in each period.
        while not self._stopping.wait(min(SAMPLE_SECONDS, MINUTE / 4 * self._scale)):
            for step in self._steps:
                try:
                    step()
                except Exception:
                    # One alarm that cannot be evaluated must not end the thread for all.
                    _log.exception("alarms")

    def _evaluate_all(self) -> None:
        for alarm in list(self._alarms.values()):
            self.evaluate(alarm)

    def _sample_queues(self) -> None:
        watched = [alarm for alarm in list(self._alarms.values()) if alarm.get("Namespace") == "AWS/SQS"]
        names = {_dimensions(alarm).get("QueueName") for alarm in watched}
        for url, queue in list(symbols.find("services.sqs", "_queues").items()):
            name = url.rsplit("/", 1)[-1]
            if name not in names:
                continue
            with symbols.find("services.sqs", "_queues_lock"):
                symbols.find("services.sqs", "_refresh_counts")(queue)
            for metric, attribute in _QUEUE_METRICS.items():
                self.level("AWS/SQS", metric, float(queue["attributes"][attribute]), {"QueueName": name})
            # SQS leaves out messages that were received three times; ages are as short as periods.
            now = time.time()
            ages = [now - message["sent_at"] for message in list(queue["messages"]) if message["receive_count"] < 3]
            age = max(ages, default=0.0) / self._scale
            self.level("AWS/SQS", "ApproximateAgeOfOldestMessage", age, {"QueueName": name})


def _dimensions(alarm: Alarm) -> dict[str, str]:
    given = alarm.get("Dimensions") or []
    if isinstance(given, dict):
        return {str(name): str(value) for name, value in given.items()}
    return {str(entry["Name"]): str(entry["Value"]) for entry in given}
