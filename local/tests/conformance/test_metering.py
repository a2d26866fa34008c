"""The meter counts what AWS would bill: each call once, in its units, for its caller."""

from __future__ import annotations

import json

import pytest

from local.cloud.metering.meter import Usage, used_between
from local.cloud.metering.table_units import read_units, write_units
from local.tests.conformance.workbench import Workbench, eventually, unique

WRITES = """
    import os
    import boto3

    table = {"TableName": os.environ["TABLE"]}
    db = boto3.client("dynamodb")

    def handler(event, context):
        for record in event["Records"]:
            key = {"pk": {"S": "a"}}
            db.put_item(**table, Item={**key, "text": {"S": "x" * 1500}})
            db.get_item(**table, Key=key, ConsistentRead=True)
            db.query(**table, KeyConditionExpression="pk = :a", ExpressionAttributeValues={":a": key["pk"]})
            db.update_item(**table, Key=key, UpdateExpression="REMOVE #t", ExpressionAttributeNames={"#t": "text"})
            db.transact_write_items(TransactItems=[{"Delete": {**table, "Key": key}}])
        print("x" * 1000)
"""


class Metered:
    """What was used since the start of a test."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._before = bench.cloud.usage()

    def of(self, service: str, operation: str, caller: str) -> tuple[int, float]:
        """Return calls and units of an operation."""
        found = [usage for usage in self._now() if usage[:3] == (service, operation, caller)]
        return (found[0].calls, found[0].units) if found else (0, 0.0)

    def by(self, service: str, caller: str) -> dict[str, tuple[int, float]]:
        """Return calls and units of a caller's operations."""
        return {u.operation: (u.calls, u.units) for u in self._now() if (u.service, u.caller) == (service, caller)}

    def _now(self) -> list[Usage]:
        return used_between(self._before, self._bench.cloud.usage())


@pytest.fixture
def metered(strict: Workbench) -> Metered:
    return Metered(strict)


def test_an_upload_is_metered_until_its_function_has_written(strict: Workbench) -> None:
    table = unique("t")
    made = strict.dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    bucket = strict.bucket()
    url, arn = strict.open_queue("s3.amazonaws.com", f"arn:aws:s3:::{bucket}", VisibilityTimeout=30)
    role = strict.role("lambda", ("sqs:*", arn), ("dynamodb:*", made["TableDescription"]["TableArn"]))
    name = strict.function(
        WRITES,
        Role=role,
        MemorySize=512,
        Environment={"Variables": {"TABLE": table}},
        TracingConfig={"Mode": "Active"},
    )
    strict.s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    strict.receive(url)
    strict.sqs.purge_queue(QueueUrl=url)
    metered = Metered(strict)
    strict.s3.put_object(Bucket=bucket, Key="a", Body=b"x" * 100_000)
    strict.functions.create_event_source_mapping(FunctionName=name, EventSourceArn=arn, BatchSize=10)
    eventually(lambda: metered.of("sqs", "DeleteMessageBatch", "lambda") == (1, 1))
    assert metered.of("s3", "PutObject", "") == (1, 1)
    assert metered.of("sqs", "SendMessage", "s3") == (1, 1)
    assert metered.of("sqs", "ReceiveMessage", "lambda") == (1, 1)
    assert metered.of("lambda", "Request", name) == (1, 1)
    assert metered.of("xray", "Trace", name) == (1, 0.05)
    calls, gigabyte_seconds = metered.of("lambda", "Duration", name)
    assert (calls, 0 < gigabyte_seconds < 30 * 0.5) == (1, True)
    # The line itself, and those of the platform.
    assert 1_600 < metered.of("logs", "Ingestion", name)[1] < 2_000
    # 1.5 KB: two write units, one read unit, half if it may be stale, and twice two in a transaction of a small item.
    assert metered.by("dynamodb", name) == {
        "PutItem": (1, 2),
        "GetItem": (1, 1),
        "Query": (1, 0.5),
        "UpdateItem": (1, 2),
        "TransactWriteItems": (1, 2),
    }


def test_payloads_are_billed_by_64_kib(strict: Workbench, metered: Metered) -> None:
    topic = strict.sns.create_topic(Name=unique("topic"))["TopicArn"]
    _, arn = strict.open_queue("sns.amazonaws.com")
    strict.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    strict.sns.publish(TopicArn=topic, Message="x" * 100_000)
    assert metered.of("sns", "Publish", "") == (1, 2)
    assert metered.of("sqs", "SendMessage", "sns") == (1, 2)


def test_each_state_and_each_retry_is_a_transition(strict: Workbench, metered: Metered) -> None:
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": "missing", "Payload": {}},
        "Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 2, "IntervalSeconds": 1}],
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "c"}],
        "Next": "c",
    }
    states = {"a": {"Type": "Pass", "Next": "b"}, "b": task, "c": {"Type": "Pass", "End": True}}
    name = unique("m")
    machine = strict.stepfunctions.create_state_machine(
        name=name,
        roleArn=strict.role("states", ("lambda:InvokeFunction", "*")),
        definition=json.dumps({"QueryLanguage": "JSONata", "StartAt": "a", "States": states}),
    )
    assert strict.outcome(strict.start(machine["stateMachineArn"]))["status"] == "SUCCEEDED"
    # Three states, one of them tried three times.
    assert metered.of("stepfunctions", "Transition", name) == (5, 5)


def test_units_grow_with_the_larger_size() -> None:
    assert write_units("PutItem", [0], [1024]) == 1
    assert write_units("UpdateItem", [1025], [10]) == 2
    assert write_units("DeleteItem", [0], [0]) == 1
    assert write_units("BatchWriteItem", [0, 0], [3000, 10]) == 4
    assert write_units("TransactWriteItems", [0, 0], [3000, 10]) == 8
    items = [{"pk": {"S": "x" * 3_000}}, {"pk": {"S": "y" * 3_000}}]
    assert read_units({"ConsistentRead": True}, {"Items": items}) == 2
    assert read_units({}, {}) == 0.5


def test_the_difference_of_readings_has_new_use_only() -> None:
    before = [Usage("s3", "GetObject", "f", 2, 2, 10), Usage("s3", "PutObject", "f", 1, 1, 5)]
    after = [Usage("s3", "GetObject", "f", 3, 3, 14), before[1], Usage("sqs", "SendMessage", "s3", 1, 2, 7)]
    assert used_between(before, after) == [Usage("s3", "GetObject", "f", 1, 1, 4), after[2]]
