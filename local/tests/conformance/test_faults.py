"""Planned faults are injected, and no others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.cloud.faults.fault import Fault, FaultError
from local.tests.conformance.workbench import Workbench, eventually, unique

# Forwards its batch's bodies, and reports the code of an error; the SDK does not retry.
FORWARDS = """
    import os
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError

    sqs = boto3.client("sqs", config=Config(retries={"total_max_attempts": 1}))

    def handler(event, context):
        try:
            for record in event["Records"]:
                sqs.send_message(QueueUrl=os.environ["OUT"], MessageBody=record["body"])
        except ClientError as e:
            return {"code": e.response["Error"]["Code"], "status": e.response["ResponseMetadata"]["HTTPStatusCode"]}
"""


@pytest.fixture
def faulty(strict: Workbench) -> Iterator[Workbench]:
    yield strict
    strict.cloud.faults.disarm()


def uploads(bench: Workbench) -> tuple[str, str]:
    """Create a bucket that notifies a queue; return it and the queue's URL."""
    bucket = bench.bucket()
    url, arn = bench.open_queue("s3.amazonaws.com", f"arn:aws:s3:::{bucket}")
    notification = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
    bench.s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [notification]}
    )
    # S3's test event.
    bench.receive(url)
    bench.sqs.purge_queue(QueueUrl=url)
    return bucket, url


def heard(bench: Workbench, url: str, count: int) -> list[str]:
    """Return the keys that a queue was notified of, in order of delivery, once there are enough."""
    keys: list[str] = []

    def enough() -> bool:
        messages = bench.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        keys.extend(json.loads(message["Body"])["Records"][0]["s3"]["object"]["key"] for message in messages)
        return len(keys) >= count

    eventually(enough)
    return keys


def put(bench: Workbench, bucket: str, *keys: str) -> None:
    for key in keys:
        bench.s3.put_object(Bucket=bucket, Key=key, Body=b"x")


def forwarder(bench: Workbench, **queue: Any) -> tuple[str, str, str]:
    """Create a function behind a queue; return its name, the queue's URL, and the URL of the queue that it sends to."""
    url, arn = bench.queue(**{"VisibilityTimeout": 1, **queue})
    out, out_arn = bench.queue()
    role = bench.role("lambda", ("sqs:*", arn), ("sqs:SendMessage", out_arn))
    settings = {"Environment": {"Variables": {"OUT": out}}, "TracingConfig": {"Mode": "Active"}}
    name = bench.function(FORWARDS, Role=role, **settings)
    bench.functions.create_event_source_mapping(FunctionName=name, EventSourceArn=arn, BatchSize=1)
    return name, url, out


def sent(bench: Workbench, out: str) -> int:
    attributes = bench.sqs.get_queue_attributes(QueueUrl=out, AttributeNames=["ApproximateNumberOfMessages"])
    return int(attributes["Attributes"]["ApproximateNumberOfMessages"])


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(FaultError, match="explode"):
        Fault("call", "explode")
    with pytest.raises(FaultError, match="code"):
        Fault("call", "error")


def test_no_fault_is_injected_unless_armed(faulty: Workbench) -> None:
    bucket, url = uploads(faulty)
    faulty.cloud.faults.arm(1, [])
    put(faulty, bucket, "a")
    assert heard(faulty, url, 1) == ["a"]
    assert faulty.cloud.faults.injected() == {}


def test_a_dropped_event_is_lost_and_a_doubled_one_comes_twice(faulty: Workbench) -> None:
    bucket, url = uploads(faulty)
    queue = url.rpartition("/")[2]
    drop, double = Fault("delivery", "drop", queue), Fault("delivery", "double", queue)
    faulty.cloud.faults.arm(1, [drop, double])
    put(faulty, bucket, "dropped")
    eventually(lambda: faulty.cloud.faults.injected().get(str(drop)))
    put(faulty, bucket, "doubled")
    eventually(lambda: faulty.cloud.faults.injected().get(str(double)))
    put(faulty, bucket, "plain")
    assert sorted(heard(faulty, url, 3)) == ["doubled", "doubled", "plain"]


def test_a_delayed_event_comes_at_the_latest_when_faults_are_disarmed(faulty: Workbench) -> None:
    bucket, url = uploads(faulty)
    faulty.cloud.faults.arm(1, [Fault("delivery", "delay", url.rpartition("/")[2], seconds=60)])
    put(faulty, bucket, "late")
    eventually(faulty.cloud.faults.injected)
    put(faulty, bucket, "early")
    assert heard(faulty, url, 1) == ["early"]
    faulty.cloud.faults.disarm()
    assert heard(faulty, url, 1) == ["late"]


def test_reordered_messages_of_a_topic_overtake_each_other(faulty: Workbench) -> None:
    url, arn = faulty.open_queue("sns.amazonaws.com")
    topic = faulty.sns.create_topic(Name=unique("t"))["TopicArn"]
    raw = {"RawMessageDelivery": "true"}
    faulty.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=raw)
    faulty.cloud.faults.arm(1, [Fault("delivery", "reorder", arn, times=2, seconds=0.5)])
    for message in ("first", "second"):
        faulty.sns.publish(TopicArn=topic, Message=message)
    bodies: list[str] = []
    eventually(lambda: bodies.extend(m["Body"] for m in faulty.receive(url)) or len(bodies) == 2)
    assert bodies == ["second", "first"]


def test_a_refused_call_has_the_services_error_and_no_effect(faulty: Workbench) -> None:
    name, _, out = forwarder(faulty)
    faulty.cloud.faults.arm(1, [Fault("call", "error", name, "sqs", "SendMessage", "ServiceUnavailable")])
    record = {"Records": [{"body": "hello"}]}
    answer, error = faulty.invoke(name, record)
    assert (answer["status"], error) == (503, None)
    assert answer["code"].endswith("ServiceUnavailable")
    assert sent(faulty, out) == 0
    assert faulty.invoke(name, record) == (None, None)
    assert sent(faulty, out) == 1


def test_a_call_with_a_lost_answer_takes_effect(faulty: Workbench) -> None:
    name, _, out = forwarder(faulty)
    faulty.cloud.faults.arm(1, [Fault("call", "lost", name, "sqs", "SendMessage", "InternalFailure")])
    answer, error = faulty.invoke(name, {"Records": [{"body": "hello"}]})
    assert answer["status"] >= 500
    assert error is None
    assert sent(faulty, out) == 1


def test_calls_of_the_account_get_no_faults(faulty: Workbench) -> None:
    faulty.cloud.faults.arm(1, [Fault("call", "error", service="sqs", code="InternalFailure", times=100)])
    url, _ = faulty.queue()
    faulty.sqs.send_message(QueueUrl=url, MessageBody="hello")
    assert faulty.cloud.faults.injected() == {}


@pytest.mark.parametrize(("kind", "in_all"), [("kill-before", 1), ("kill-after", 2)])
def test_a_function_killed_at_a_call_gets_its_message_again(faulty: Workbench, kind: str, in_all: int) -> None:
    name, url, out = forwarder(faulty)
    faulty.cloud.faults.arm(1, [Fault("call", kind, name, "sqs", "SendMessage")])
    faulty.sqs.send_message(QueueUrl=url, MessageBody="hello")
    eventually(lambda: sent(faulty, out) == in_all, within=20)
    assert list(faulty.cloud.faults.injected().values()) == [1]


@pytest.mark.parametrize(("kind", "in_all"), [("kill-before", 1), ("kill-after", 2), ("slow", 2)])
def test_a_killed_or_late_invocation_gets_its_message_again(faulty: Workbench, kind: str, in_all: int) -> None:
    name, url, out = forwarder(faulty)
    faulty.cloud.faults.arm(1, [Fault("invocation", kind, name, seconds=3)])
    faulty.sqs.send_message(QueueUrl=url, MessageBody="hello")
    eventually(lambda: sent(faulty, out) == in_all, within=20)
    assert list(faulty.cloud.faults.injected().values()) == [1]
