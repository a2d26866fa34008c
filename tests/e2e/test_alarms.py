"""Every alarm of the stack is caused, publishes on the ops topic, and publishes its end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from autolabel.drives import is_canary
from local.cloud.faults.fault import Fault
from tests.e2e.conftest import listen
from tests.e2e.pipeline import Pipeline, eventually, image, timestamps
from tests.e2e.terminal import documented_permissions, terminal_of_user
from tools.demo.deployment import STACK

pytestmark = pytest.mark.cloud
UNKNOWN = {"drive": "unknown", "run": "0001"}


class Watcher:
    """Finds resources by their logical ids, and hears what alarms publish."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.client = pipeline.cloud.client
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK)
        found = [one for page in pages for one in page["StackResourceSummaries"]]
        self.ids = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found}
        self.functions = [one["LogicalResourceId"] for one in found if one["ResourceType"] == "AWS::Lambda::Function"]
        self.alarms = [one["LogicalResourceId"] for one in found if one["ResourceType"] == "AWS::CloudWatch::Alarm"]
        self._heard = set[tuple[str, str]]()

    def hears(self, state: str, alarms: Sequence[str], seconds: float = 60) -> None:
        """Wait until these alarms published this state."""
        wanted = {(self.ids[alarm], state) for alarm in alarms}
        sqs, url = self.client("sqs"), self.pipeline.ops_queue

        def look() -> bool:
            while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
                for message in messages:
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                    if message["Body"].startswith("{"):
                        told = json.loads(message["Body"])
                        self._heard.add((told.get("AlarmName", ""), told.get("NewStateValue", "")))
            return wanted <= self._heard

        try:
            eventually(look, f"{state} of all", seconds)
        except AssertionError:
            assert sorted(wanted - self._heard) == []

    def state(self, alarm: str) -> str:
        (found,) = self.client("cloudwatch").describe_alarms(AlarmNames=[self.ids[alarm]])["MetricAlarms"]
        return str(found["StateValue"])

    def call(self, function: str, event: dict[str, Any]) -> None:
        """Invoke a function that may fail or be refused."""
        try:
            self.client("lambda").invoke(FunctionName=self.ids[function], Payload=json.dumps(event))
        except ClientError as e:
            assert e.response["Error"]["Code"] == "TooManyRequestsException"  # noqa: PT017 - other errors fail the test

    def call_until_alarm(self, metric: str, functions: Sequence[str]) -> list[str]:
        """Call functions without a request until the alarms of this metric ring; returns these alarms."""

        def ring(function: str) -> str:
            alarm = f"{function.removesuffix('Function')}{metric}Alarm"
            eventually(lambda: self.call(function, {}) or self.state(alarm) == "ALARM", alarm, 300)
            return alarm

        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(ring, functions))

    def start(self, machine: str, name: str, request: dict[str, str]) -> str:
        return str(
            self.client("stepfunctions").start_execution(
                stateMachineArn=self.ids[machine], name=name, input=json.dumps(request)
            )["executionArn"]
        )

    def measure(self, metric: str, value: float, *ages: float) -> None:
        """Put datapoints of the stack's own metric, these seconds old."""
        dimensions = [{"Name": "service", "Value": STACK}]
        data = [
            {
                "MetricName": metric,
                "Dimensions": dimensions,
                "Value": value,
                "Timestamp": datetime.fromtimestamp(time.time() - age, UTC),
            }
            for age in ages
        ]
        self.client("cloudwatch").put_metric_data(Namespace="autolabel", MetricData=data)

    @contextmanager
    def refused_calls(self) -> Iterator[None]:
        """Leave the functions without concurrency."""
        functions = self.client("lambda")
        for name in self.functions:
            functions.put_function_concurrency(FunctionName=self.ids[name], ReservedConcurrentExecutions=0)
        try:
            yield
        finally:
            for name in self.functions:
                functions.delete_function_concurrency(FunctionName=self.ids[name])

    @contextmanager
    def short_time_outs(self, machines: Sequence[str]) -> Iterator[None]:
        """Let executions time out after a second, instead of after days."""
        client, before = self.client("stepfunctions"), dict[str, str]()
        for name in machines:
            before[name] = client.describe_state_machine(stateMachineArn=self.ids[name])["definition"]
            short = json.dumps({**json.loads(before[name]), "TimeoutSeconds": 1})
            client.update_state_machine(stateMachineArn=self.ids[name], definition=short)
        try:
            yield
        finally:
            for name, definition in before.items():
                client.update_state_machine(stateMachineArn=self.ids[name], definition=definition)

    @contextmanager
    def sources_off(self) -> Iterator[None]:
        """Switch the queues' event sources off."""
        functions = self.client("lambda")
        sources = [one["UUID"] for one in functions.list_event_source_mappings()["EventSourceMappings"]]
        self._switch(sources, False)
        try:
            yield
        finally:
            self._switch(sources, True)

    def _switch(self, sources: Sequence[str], enabled: bool) -> None:
        for source in sources:
            self.client("lambda").update_event_source_mapping(UUID=source, Enabled=enabled)

    def send(self, queue: str, body: str) -> None:
        self.client("sqs").send_message(QueueUrl=self.ids[queue], MessageBody=body)


def failing_functions(watcher: Watcher) -> list[str]:
    # Nothing in the request of a sweep can make it fail.
    watcher.pipeline.cloud.faults.arm(1, [Fault("invocation", "kill-before", "SweepFunction")])
    watcher.call("SweepFunction", {})
    others = [name for name in watcher.functions if name != "SweepFunction"]
    return ["SweepErrorsAlarm", *watcher.call_until_alarm("Errors", others)]


def refused_functions(watcher: Watcher) -> list[str]:
    with watcher.refused_calls():
        machines = ("LabelDriveStateMachine", "ExtractLogStateMachine")
        # A call that is refused is repeated, and meanwhile the execution can be stopped or time out.
        stopped = watcher.start(machines[0], "stopped", UNKNOWN)
        watcher.client("stepfunctions").stop_execution(executionArn=stopped)
        with watcher.short_time_outs(machines):
            for machine in machines:
                watcher.start(machine, "late", {**UNKNOWN, "name": "front.mcap", "etag": "e"})
            rung = watcher.call_until_alarm("Throttles", watcher.functions)
            watcher.hears("ALARM", ["StoppedRunsAlarm", "TimedOutRunsAlarm", "TimedOutExtractionsAlarm"])
    return [*rung, "StoppedRunsAlarm", "TimedOutRunsAlarm", "TimedOutExtractionsAlarm"]


def failed_runs(watcher: Watcher) -> list[str]:
    watcher.start("LabelDriveStateMachine", "failed", UNKNOWN)
    watcher.start("ExtractLogStateMachine", "failed", {})
    # The request of the state FailedJobs.
    watcher.call("AssembleFunction", {**UNKNOWN, "failed": ["unknown-0001-0: the work team does not exist"]})
    return ["FailedRunsAlarm", "FailedExtractionsAlarm", "FailedJobsAlarm"]


def rejected_frames(watcher: Watcher) -> list[str]:
    good, bad = timestamps(2)
    watcher.pipeline.upload("rejecting", {f"front/{good}.png": image(), f"front/{bad}.png": b"no picture"})
    assert watcher.pipeline.succeed("rejecting")["frames"]["rejected"] == 1
    return ["RejectedFramesAlarm", "RunDollarsAlarm"]


def standing_queues(watcher: Watcher) -> list[str]:
    alarms = ["SubmitStandsStillAlarm", "CollectStandsStillAlarm"]
    with watcher.sources_off():
        for queue in ("SubmitQueue", "CollectQueue"):
            watcher.send(queue, "not a message of this pipeline")
        watcher.hears("ALARM", alarms, 90)
    return alarms


def long_waits(watcher: Watcher) -> list[str]:
    # What reconcile measures of a run that waits for more than a day, and in two half hours without an endpoint.
    watcher.measure("WaitingHours", 25, 0)
    watcher.measure("EndpointUnavailable", 1, 0, 25)
    return ["StandingRunsAlarm", "AbsentEndpointAlarm"]


def canary(watcher: Watcher) -> list[str]:
    watcher.call("SweepFunction", {"canary": True})
    (name,) = (one for one in watcher.pipeline.stack.ingest.folders("drives/") if is_canary(one))
    summary = watcher.pipeline.succeed(name)
    assert (summary["triage"], summary["labelled_by"]) == ({"unreviewed": 10}, {"nobody": 10})
    # What a sweep measures while the newest canary has not ended.
    watcher.measure("CanaryHours", 3, 0)
    return ["CanaryAlarm"]


def dead_letters(watcher: Watcher) -> list[str]:
    alarms = ["SubmitDeadLettersAlarm", "CollectDeadLettersAlarm"]
    for queue in ("SubmitDeadLetters", "CollectDeadLetters"):
        watcher.send(queue, "not a message of this pipeline")
    watcher.hears("ALARM", alarms)
    # What the page says: the messages move back, and the functions drop what is not theirs.
    terminal = terminal_of_user(watcher.pipeline, "redriver", documented_permissions("For operators"))
    for queue in ("submit", "collect"):
        terminal.say("redrive", "--queue", queue)
    return alarms


def no_subscriber(watcher: Watcher) -> list[str]:
    sns, topic = watcher.client("sns"), watcher.pipeline.stack.outputs["OpsTopicArn"]
    (subscription,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    watcher.call("SweepFunction", {})
    # The topic has no subscriber, so its queue hears nothing of this alarm.
    eventually(lambda: watcher.state("OpsSubscribersAlarm") == "ALARM", "the alarm of the topic without subscribers")
    listen(watcher.pipeline.cloud, topic)

    def ended() -> bool:
        watcher.call("SweepFunction", {})
        return watcher.state("OpsSubscribersAlarm") == "OK"

    eventually(ended, "its end")
    return []


CAUSES: tuple[Callable[[Watcher], list[str]], ...] = (
    no_subscriber,
    rejected_frames,
    failing_functions,
    refused_functions,
    failed_runs,
    standing_queues,
    long_waits,
    canary,
    dead_letters,
)


def test_every_alarm_is_caused_and_tells_its_begin_and_its_end(pipeline: Pipeline) -> None:
    watcher, caused = Watcher(pipeline), ["OpsSubscribersAlarm"]
    for cause in CAUSES:
        rung = cause(watcher)
        watcher.hears("ALARM", rung)
        caused += rung
    assert sorted(caused) == sorted(watcher.alarms)
    watcher.hears("OK", watcher.alarms, 180)
