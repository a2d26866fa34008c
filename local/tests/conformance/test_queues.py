"""Queues: event source mappings, redelivery, dead letters and redrives."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud.event_sources import MalformedBatchResponse, failed_messages
from local.tests.conformance.workbench import Workbench, eventually

RECORDER = """
    import json, os, time
    import boto3

    def handler(event, context):
        begun = time.time()
        time.sleep(float(os.environ.get("SLEEP", "0")))
        bodies = [record["body"] for record in event["Records"]]
        entry = {"bodies": bodies, "begun": begun, "ended": time.time(),
                 "receives": [int(r["attributes"]["ApproximateReceiveCount"]) for r in event["Records"]]}
        boto3.client("sqs").send_message(QueueUrl=os.environ["OUT"], MessageBody=json.dumps(entry))
        if "explode" in bodies:
            raise RuntimeError("boom")
        if "die" in bodies and entry["receives"][bodies.index("die")] == 1:
            os.kill(os.getpid(), 9)
        bad = [record["messageId"] for record in event["Records"] if record["body"] == "bad"]
        return {"batchItemFailures": [{"itemIdentifier": message} for message in bad]}
"""


class Mapped:
    """A queue, a function that takes from it, and the queue in which the function records its batches."""

    def __init__(
        self, bench: Workbench, *, sleep: float = 0, mapping: dict[str, Any] | None = None, **queue: Any
    ) -> None:
        self.bench = bench
        self.url, self.arn = bench.queue(**{"VisibilityTimeout": 1} | queue)
        self.out, _ = bench.queue()
        function = bench.function(RECORDER, Environment={"Variables": {"OUT": self.out, "SLEEP": str(sleep)}})
        bench.functions.create_event_source_mapping(
            FunctionName=function,
            EventSourceArn=self.arn,
            **{"BatchSize": 10, "FunctionResponseTypes": ["ReportBatchItemFailures"]} | (mapping or {}),
        )

    def send(self, *bodies: str) -> None:
        for start in range(0, len(bodies), 10):
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[start : start + 10])]
            self.bench.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)

    def batches(self, enough: Any, within: float = 15) -> list[dict[str, Any]]:
        """Return the batches so far, once they satisfy `enough`."""
        seen: list[dict[str, Any]] = []

        def collect() -> bool:
            for message in self.bench.sqs.receive_message(QueueUrl=self.out, MaxNumberOfMessages=10).get(
                "Messages", []
            ):
                self.bench.sqs.delete_message(QueueUrl=self.out, ReceiptHandle=message["ReceiptHandle"])
                seen.append(json.loads(message["Body"]))
            return bool(enough(seen))

        eventually(collect, within)
        return seen


def bodies(batches: list[dict[str, Any]]) -> list[str]:
    return [body for batch in batches for body in batch["bodies"]]


def test_a_message_reaches_its_function_within_a_second(bench: Workbench) -> None:
    mapped = Mapped(bench)
    mapped.send("warm")
    mapped.batches(lambda seen: seen)
    time.sleep(0.3)
    sent = time.time()
    mapped.send("now")
    [batch] = mapped.batches(lambda seen: seen)
    assert batch["begun"] - sent < 0.5


def test_only_reported_messages_come_back(bench: Workbench) -> None:
    # Long enough: a batch that a busy machine holds for longer would return whole.
    mapped = Mapped(bench, VisibilityTimeout=5)
    mapped.send("good", "bad")
    seen = mapped.batches(lambda seen: bodies(seen).count("bad") >= 2)
    assert bodies(seen).count("good") == 1


def test_a_failed_or_killed_batch_returns_whole(bench: Workbench) -> None:
    mapped = Mapped(bench)
    mapped.send("good", "die")
    seen = mapped.batches(lambda seen: bodies(seen).count("die") >= 2)
    assert bodies(seen).count("good") == 2
    assert max(max(batch["receives"]) for batch in seen) == 2


def test_a_failing_message_is_dead_lettered_and_can_be_redriven(bench: Workbench) -> None:
    dead_url, dead_arn = bench.queue()
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    mapped = Mapped(bench, RedrivePolicy=policy)
    mapped.send("explode")
    [message] = bench.receive(dead_url)
    assert message["Body"] == "explode"
    assert len(mapped.batches(lambda seen: len(seen) >= 2)) == 2
    bench.sqs.change_message_visibility(QueueUrl=dead_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    bench.sqs.start_message_move_task(SourceArn=dead_arn)
    again = mapped.batches(lambda seen: seen)
    assert again[0]["receives"] == [1]
    [task] = bench.sqs.list_message_move_tasks(SourceArn=dead_arn)["Results"]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)


def test_only_dead_letter_queues_can_be_moved(bench: Workbench) -> None:
    _, arn = bench.queue()
    with pytest.raises(ClientError, match="Dead Letter Queue"):
        bench.sqs.start_message_move_task(SourceArn=arn)


def test_moving_directly_sent_messages_needs_a_destination(bench: Workbench) -> None:
    dead_url, dead_arn = bench.queue()
    bench.queue(RedrivePolicy=json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2}))
    other_url, other_arn = bench.queue()
    bench.sqs.send_message(QueueUrl=dead_url, MessageBody="lost")
    bench.sqs.start_message_move_task(SourceArn=dead_arn)

    def status() -> str:
        return str(bench.sqs.list_message_move_tasks(SourceArn=dead_arn)["Results"][0]["Status"])

    eventually(lambda: status() == "FAILED")
    bench.sqs.start_message_move_task(SourceArn=dead_arn, DestinationArn=other_arn)
    assert bench.receive(other_url)[0]["Body"] == "lost"


def test_batches_run_concurrently_up_to_the_maximum(bench: Workbench) -> None:
    mapped = Mapped(
        bench, sleep=0.3, VisibilityTimeout=30, mapping={"BatchSize": 1, "ScalingConfig": {"MaximumConcurrency": 2}}
    )
    mapped.send(*"abcdef")
    seen = mapped.batches(lambda seen: len(seen) == 6)
    overlaps = [sum(other["begun"] <= one["begun"] < other["ended"] for other in seen) for one in seen]
    assert max(overlaps) == 2


def test_a_batch_can_hold_more_than_ten(bench: Workbench) -> None:
    mapped = Mapped(bench, mapping={"BatchSize": 50, "MaximumBatchingWindowInSeconds": 1, "Enabled": False})
    mapped.send(*(str(n) for n in range(40)))
    [mapping] = bench.functions.list_event_source_mappings(EventSourceArn=mapped.arn)["EventSourceMappings"]
    bench.functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
    seen = mapped.batches(lambda seen: len(bodies(seen)) == 40)
    assert len(seen) == 1


def test_a_batch_waits_until_it_is_full_or_its_window_is_over(bench: Workbench) -> None:
    mapped = Mapped(bench, VisibilityTimeout=30, mapping={"BatchSize": 4, "MaximumBatchingWindowInSeconds": 3})
    mapped.send(*"warm")
    mapped.batches(lambda seen: seen)
    sent = time.time()
    mapped.send(*"abcde")
    full, rest = sorted(mapped.batches(lambda seen: len(seen) == 2), key=lambda batch: float(batch["begun"]))
    assert (full["bodies"], rest["bodies"]) == ([*"abcd"], ["e"])
    assert full["begun"] < rest["begun"]
    assert rest["begun"] >= sent + 3


def test_a_message_may_have_one_mebibyte(bench: Workbench) -> None:
    url, _ = bench.queue()
    bench.sqs.send_message(QueueUrl=url, MessageBody="x" * 1_048_576)
    assert len(bench.receive(url)[0]["Body"]) == 1_048_576
    with pytest.raises(ClientError):
        bench.sqs.send_message(QueueUrl=url, MessageBody="x" * 1_048_577)


@pytest.mark.parametrize("response", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}])
def test_a_response_without_failures_is_success(response: Any) -> None:
    assert failed_messages(response, {"a"}) == set()


@pytest.mark.parametrize(
    "failures", ["text", [{"itemIdentifier": ""}], [{"itemIdentifier": "unknown"}], [{"id": "a"}], ["a"]]
)
def test_a_malformed_response_fails_the_whole_batch(failures: Any) -> None:
    with pytest.raises(MalformedBatchResponse):
        failed_messages({"batchItemFailures": failures}, {"a"})
