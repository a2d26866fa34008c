"""The distributed map: readers, batches, results, tolerance, listings and redrive."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.tests.conformance.workbench import ROLE, Workbench, unique

PASS: dict[str, Any] = {"Type": "Pass", "End": True}
GET = "arn:aws:states:::s3:getObject"


def processor(states: dict[str, Any] | None = None) -> dict[str, Any]:
    states = states or {"X": PASS}
    return {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": next(iter(states)),
        "States": states,
    }


def distributed(**fields: Any) -> dict[str, Any]:
    return {"M": {"Type": "Map", "ItemProcessor": processor(), "End": True, **fields}}


def reader(kind: str, **config: Any) -> dict[str, Any]:
    return {
        "Resource": GET,
        "Arguments": {"Bucket": "{% $states.input.bucket %}", "Key": "{% $states.input.key %}"},
        "ReaderConfig": {"InputType": kind, **config},
    }


FAILS_ON_BAD = {
    "X": {
        "Type": "Choice",
        "Choices": [{"Condition": "{% $states.input = 'bad' %}", "Next": "F"}],
        "Default": "S",
    },
    "F": {"Type": "Fail", "Error": "Bad"},
    "S": {"Type": "Succeed"},
}


def put(bench: Workbench, text: str) -> dict[str, str]:
    bucket = bench.bucket()
    bench.s3.put_object(Bucket=bucket, Key="items", Body=text.encode())
    return {"bucket": bucket, "key": "items"}


def test_no_items_give_an_empty_result(bench: Workbench) -> None:
    assert bench.run(distributed(Items=[])) == []


@pytest.mark.parametrize(
    ("text", "item_reader"),
    [
        ('{"n": 1}\n{"n": "x\\u2028y"}\n', reader("JSONL")),
        ('[{"n": 1}, {"n": "x\\u2028y"}]', reader("JSON")),
        ("n\n1\nx\u2028y\n", reader("CSV", CSVHeaderLocation="FIRST_ROW")),
        ("1\nx\u2028y\n", reader("CSV", CSVHeaderLocation="GIVEN", CSVHeaders=["n"])),
    ],
)
def test_items_are_read_from_an_object(bench: Workbench, text: str, item_reader: dict[str, Any]) -> None:
    output = bench.run(distributed(ItemReader=item_reader), put(bench, text))
    assert [str(item["n"]) for item in output] == ["1", "x\u2028y"]


def test_only_max_items_are_read(bench: Workbench) -> None:
    item_reader = reader("JSON", MaxItems="{% $states.input.most %}")
    assert bench.run(distributed(ItemReader=item_reader), {**put(bench, "[1,2,3]"), "most": 2}) == [1, 2]


def test_a_missing_items_object_fails_the_reader(bench: Workbench) -> None:
    data = {"bucket": bench.bucket(), "key": "absent"}
    assert bench.failure(distributed(ItemReader=reader("JSON")), data)[0] == "States.ItemReaderFailed"


def test_a_listing_returns_keys_and_sizes(bench: Workbench) -> None:
    bucket = bench.bucket()
    for key in ("in/a", "in/b", "out/c"):
        bench.s3.put_object(Bucket=bucket, Key=key, Body=b"12")
    item_reader = {
        "Resource": "arn:aws:states:::s3:listObjectsV2",
        "Arguments": {"Bucket": "{% $states.input.bucket %}", "Prefix": "in/"},
    }
    output = bench.run(distributed(ItemReader=item_reader), {"bucket": bucket})
    assert [(item["Key"], item["Size"]) for item in output] == [("in/a", 2), ("in/b", 2)]


def test_the_selector_sees_the_item_the_input_and_variables(bench: Workbench) -> None:
    selector = {
        "v": "{% $states.context.Map.Item.Value %}",
        "run": "{% $states.input.run %}",
        "x": "{% $x %}",
    }
    states = {
        "A": {"Type": "Pass", "Assign": {"x": 9}, "Next": "M"},
        **distributed(Items="{% $states.input.list %}", ItemSelector=selector),
    }
    output = bench.run(states, {"list": ["a", "b"], "run": 1})
    assert output == [{"v": v, "run": 1, "x": 9} for v in "ab"]


def test_outer_variables_do_not_reach_child_executions(bench: Workbench) -> None:
    states = {
        "A": {"Type": "Pass", "Assign": {"x": 9}, "Next": "M"},
        **distributed(Items=[1], ItemProcessor=processor({"X": {"Type": "Pass", "Output": "{% $x %}", "End": True}})),
    }
    assert bench.failure(states)[0] == "States.ExceedToleratedFailureThreshold"


def test_batches_hold_max_items_and_the_batch_input(bench: Workbench) -> None:
    batcher = {"MaxItemsPerBatch": "{% $states.input.size %}", "BatchInput": {"run": "{% $states.input.run %}"}}
    output = bench.run(distributed(Items=[1, 2, 3], ItemBatcher=batcher), {"size": 2, "run": "r"})
    assert output == [{"BatchInput": {"run": "r"}, "Items": [1, 2]}, {"BatchInput": {"run": "r"}, "Items": [3]}]


def test_batches_keep_their_byte_limit(bench: Workbench) -> None:
    output = bench.run(distributed(Items=["x" * 30] * 4, ItemBatcher={"MaxInputBytesPerBatch": 80}))
    assert [len(batch["Items"]) for batch in output] == [2, 2]


def test_results_are_exported_with_a_manifest(bench: Workbench) -> None:
    bucket = bench.bucket()
    states = distributed(
        Items=["good", "bad"],
        ItemProcessor=processor(FAILS_ON_BAD),
        ToleratedFailureCount=1,
        Label="shards",
        ResultWriter={
            "Resource": "arn:aws:states:::s3:putObject",
            "Arguments": {"Bucket": bucket, "Prefix": "{% $states.input.prefix %}"},
        },
    )
    execution = bench.start(bench.machine(states), {"prefix": "runs/1"})
    output = json.loads(bench.outcome(execution)["output"])
    run_id = output["MapRunArn"].split(":")[-1]
    assert "/shards:" in output["MapRunArn"]
    details = output["ResultWriterDetails"]
    assert details == {"Bucket": bucket, "Key": f"runs/1/{run_id}/manifest.json"}

    def read(key: str) -> Any:
        return json.loads(bench.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    files = read(details["Key"])["ResultFiles"]
    [good] = read(files["SUCCEEDED"][0]["Key"])
    [bad] = read(files["FAILED"][0]["Key"])
    assert (json.loads(good["Input"]), json.loads(good["Output"])) == ("good", "good")
    assert (bad["Status"], bad["Error"], json.loads(bad["Input"])) == ("FAILED", "Bad", "bad")
    assert files["PENDING"] == []


@pytest.mark.parametrize(
    ("transformation", "kind", "expected"),
    [("COMPACT", "JSON", "[[1],[2]]"), ("FLATTEN", "JSON", "[1,2]"), ("FLATTEN", "JSONL", "1\n2")],
)
def test_results_are_written_as_configured(bench: Workbench, transformation: str, kind: str, expected: str) -> None:
    bucket = bench.bucket()
    writer = {
        "Resource": "arn:aws:states:::s3:putObject",
        "Arguments": {"Bucket": bucket, "Prefix": "out"},
        "WriterConfig": {"Transformation": transformation, "OutputType": kind},
    }
    bench.run(distributed(Items=[[1], [2]], ResultWriter=writer))
    keys = [entry["Key"] for entry in bench.s3.list_objects_v2(Bucket=bucket)["Contents"]]
    [key] = [key for key in keys if "SUCCEEDED" in key]
    assert key.endswith(kind.lower())
    assert bench.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode() == expected


def test_a_writer_without_a_bucket_shapes_the_output(bench: Workbench) -> None:
    writer = {"WriterConfig": {"Transformation": "FLATTEN"}}
    assert bench.run(distributed(Items=[[1], [2, 3]], ResultWriter=writer)) == [1, 2, 3]


def test_without_a_tolerance_one_failure_fails_the_map(bench: Workbench) -> None:
    states = distributed(Items=["bad"] + ["good"] * 5, MaxConcurrency=1, ItemProcessor=processor(FAILS_ON_BAD))
    execution = bench.start(bench.machine(states))
    assert bench.outcome(execution)["error"] == "States.ExceedToleratedFailureThreshold"
    [run] = bench.stepfunctions.list_map_runs(executionArn=execution)["mapRuns"]
    described = bench.stepfunctions.describe_map_run(mapRunArn=run["mapRunArn"])
    assert described["status"] == "FAILED"
    assert (described["itemCounts"]["failed"], described["itemCounts"]["pending"]) == (1, 5)
    assert {"MapRunStarted", "MapRunFailed"} <= set(bench.kinds(execution))


def test_a_tolerated_percentage_counts_the_items_of_batches(bench: Workbench) -> None:
    states = {
        "X": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% 'bad' in $states.input.Items %}", "Next": "F"}],
            "Default": "S",
        },
        "F": {"Type": "Fail", "Error": "Bad"},
        "S": {"Type": "Succeed"},
    }

    def outcome(percentage: int) -> str:
        fields = distributed(
            Items=["good", "bad", "good", "good"],
            ItemBatcher={"MaxItemsPerBatch": 2},
            ToleratedFailurePercentage=percentage,
            ItemProcessor=processor(states),
        )
        return str(bench.outcome(bench.start(bench.machine(fields)))["status"])

    assert (outcome(50), outcome(49)) == ("SUCCEEDED", "FAILED")


def test_children_are_listed_by_their_map_run(bench: Workbench) -> None:
    execution = bench.start(bench.machine(distributed(Items=[1, 2, 3], MaxConcurrency=2)))
    bench.outcome(execution)
    kinds = bench.kinds(execution)
    assert kinds.index("MapStateStarted") < kinds.index("MapRunStarted") < kinds.index("MapRunSucceeded")
    [run] = bench.stepfunctions.list_map_runs(executionArn=execution)["mapRuns"]
    children = bench.stepfunctions.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    assert len(children) == 3
    child = bench.stepfunctions.describe_execution(executionArn=children[0]["executionArn"])
    assert (child["status"], child["mapRunArn"]) == ("SUCCEEDED", run["mapRunArn"])
    assert bench.kinds(child["executionArn"])[0] == "ExecutionStarted"
    described = bench.stepfunctions.describe_map_run(mapRunArn=run["mapRunArn"])
    assert described["executionCounts"]["succeeded"] == described["itemCounts"]["total"] == 3
    assert described["maxConcurrency"] == 2


def test_redriving_runs_only_the_children_that_did_not_succeed(bench: Workbench) -> None:
    log, _ = bench.queue()
    gate, _ = bench.queue()
    code = """
        import boto3

        def handler(event, context):
            sqs = boto3.client("sqs")
            sqs.send_message(QueueUrl=event["log"], MessageBody=str(event["i"]))
            if event["i"] == 3 and "Messages" not in sqs.receive_message(QueueUrl=event["gate"]):
                raise RuntimeError("closed")
            return event["i"]
    """
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": bench.function(code), "Payload": "{% $states.input %}"},
        "Output": "{% $states.result.Payload %}",
        "End": True,
    }
    states = distributed(
        Items=[1, 2, 3],
        MaxConcurrency=1,
        ItemSelector={"i": "{% $states.context.Map.Item.Value %}", "log": log, "gate": gate},
        ItemProcessor=processor({"X": task}),
    )
    execution = bench.start(bench.machine(states))
    assert bench.outcome(execution)["status"] == "FAILED"
    bench.sqs.send_message(QueueUrl=gate, MessageBody="open")
    bench.stepfunctions.redrive_execution(executionArn=execution)
    assert bench.outcome(execution)["output"] == "[1,2,3]"
    [run] = bench.stepfunctions.list_map_runs(executionArn=execution)["mapRuns"]
    described = bench.stepfunctions.describe_map_run(mapRunArn=run["mapRunArn"])
    assert (described["status"], described["redriveCount"]) == ("SUCCEEDED", 1)
    assert "MapRunRedriven" in bench.kinds(execution)
    calls: list[str] = []
    while messages := bench.sqs.receive_message(QueueUrl=log, MaxNumberOfMessages=10).get("Messages"):
        calls += [message["Body"] for message in messages]
    assert sorted(calls) == ["1", "2", "3", "3"]


def test_a_result_that_is_too_large_fails_without_a_writer(bench: Workbench) -> None:
    states = distributed(
        Items=[1, 2],
        ItemProcessor=processor(
            {
                "X": {
                    "Type": "Pass",
                    "Output": "{% $join($map([1..150], function() { $pad('x', 1000) })) %}",
                    "End": True,
                }
            }
        ),
    )
    assert bench.failure(states)[0] == "States.DataLimitExceeded"


@pytest.mark.parametrize(
    "field",
    [
        {"ItemReader": {"Resource": GET, "Arguments": {}, "ReaderConfig": {"InputType": "PARQUET"}}},
        {"ItemReader": {"Resource": GET, "Arguments": {}, "ReaderConfig": {"InputType": "JSON", "ItemsPointer": "/a"}}},
        {"ItemBatcher": {"MaxItemsPerBatchPath": "$.n"}},
        {"ToleratedFailureCountPath": "$.n"},
    ],
)
def test_an_unknown_part_of_a_map_is_refused(bench: Workbench, field: dict[str, Any]) -> None:
    definition = {"QueryLanguage": "JSONata", "StartAt": "M", "States": distributed(**field)}
    with pytest.raises(ClientError, match="InvalidDefinition"):
        bench.stepfunctions.create_state_machine(name=unique("m"), roleArn=ROLE, definition=json.dumps(definition))
