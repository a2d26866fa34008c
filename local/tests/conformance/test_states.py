"""State machines: each construct works as documented, and unsupported ones are refused."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud.stepfunctions.attempts import Attempt
from local.cloud.stepfunctions.cancellation import Cancellation
from local.cloud.stepfunctions.errors import Cancelled
from local.tests.conformance.workbench import ROLE, Workbench, eventually, unique

PASS: dict[str, Any] = {"Type": "Pass", "End": True}
ECHO = "def handler(event, context):\n    return event\n"
FAILS_TWICE = """
    import boto3

    class Flaky(Exception):
        pass

    def handler(event, context):
        table = boto3.client("sqs")
        url = event["queue"]
        table.send_message(QueueUrl=url, MessageBody="try")
        count = int(table.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
                    ["Attributes"]["ApproximateNumberOfMessages"])
        if count < 3:
            raise Flaky(f"try {count}")
        return count
"""


def invoke(function: str, payload: Any = "{% $states.input %}", **fields: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": function, "Payload": payload},
        "Output": "{% $states.result.Payload %}",
        "End": True,
        **fields,
    }


def callback(function: str, payload: Any | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "Arguments": {
            "FunctionName": function,
            "Payload": payload or {"token": "{% $states.context.Task.Token %}", "queue": "{% $states.input.queue %}"},
        },
        "End": True,
        **fields,
    }


HAND_OVER = """
    import boto3

    def handler(event, context):
        boto3.client("sqs").send_message(QueueUrl=event["queue"], MessageBody=event["token"])
"""


def test_an_empty_input_passes_through(bench: Workbench) -> None:
    assert bench.run({"A": PASS}) == {}


def test_output_and_assign_see_the_variables_of_the_states_entry(bench: Workbench) -> None:
    states = {
        "A": {"Type": "Pass", "Assign": {"n": 1}, "Next": "B"},
        "B": {"Type": "Pass", "Assign": {"n": "{% $n + 1 %}"}, "Output": "{% $n %}", "Next": "C"},
        "C": {"Type": "Pass", "Output": {"before": "{% $states.input %}", "now": "{% $n %}"}, "End": True},
    }
    assert bench.run(states) == {"before": 1, "now": 2}


def test_a_choice_takes_the_first_match_with_its_output(bench: Workbench) -> None:
    states = {
        "Pick": {
            "Type": "Choice",
            "Choices": [
                {"Condition": "{% $states.input.n > 5 %}", "Next": "End", "Output": "big", "Assign": {"x": 1}},
                {"Condition": "{% $states.input.n > 1 %}", "Next": "End", "Output": "middle"},
            ],
            "Default": "End",
            "Output": "small",
        },
        "End": {"Type": "Succeed"},
    }
    assert [bench.run(states, {"n": n}) for n in (9, 3, 0)] == ["big", "middle", "small"]


def test_a_choice_without_a_match_fails(bench: Workbench) -> None:
    states = {"Pick": {"Type": "Choice", "Choices": [{"Condition": "{% false %}", "Next": "E"}]}, "E": PASS}
    assert bench.failure(states)[0] == "States.NoChoiceMatched"


def test_a_fail_state_reports_its_error_and_cause(bench: Workbench) -> None:
    assert bench.failure(
        {"F": {"Type": "Fail", "Error": "Bad", "Cause": "{% $states.input.why %}"}}, {"why": "so"}
    ) == (
        "Bad",
        "so",
    )


def test_an_expression_that_yields_nothing_fails(bench: Workbench) -> None:
    error, cause = bench.failure({"A": {"Type": "Pass", "Output": "{% $states.input.absent %}", "End": True}})
    assert error == "States.QueryEvaluationError"
    assert "absent" in cause


def test_null_is_a_value(bench: Workbench) -> None:
    states = {"A": {"Type": "Pass", "Output": {"x": "{% $states.input.x %}"}, "End": True}}
    assert bench.run(states, {"x": None}) == {"x": None}


def test_step_functions_own_jsonata_functions_work(bench: Workbench) -> None:
    output = {
        "parts": "{% $partition([1,2,3], 2) %}",
        "range": "{% $range(1, 5, 2) %}",
        "hash": "{% $hash('a', 'SHA-1') %}",
        "parsed": "{% $parse('{\"a\": 1}') %}",
        "uuid": "{% $length($uuid()) %}",
        "random": "{% $random() < 1 %}",
    }
    assert bench.run({"A": {"Type": "Pass", "Output": output, "End": True}}) == {
        "parts": [[1, 2], [3]],
        "range": [1, 3, 5],
        "hash": "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8",
        "parsed": {"a": 1},
        "uuid": 36,
        "random": True,
    }


def test_a_function_gets_its_payload_and_returns_its_result(bench: Workbench) -> None:
    assert bench.run({"A": invoke(bench.function(ECHO))}, {"x": 1}) == {"x": 1}


def test_a_functions_error_type_is_what_retry_and_catch_match(bench: Workbench) -> None:
    code = "class MyError(Exception): pass\ndef handler(event, context):\n    raise MyError('no')\n"
    state = invoke(
        bench.function(code),
        Catch=[
            {"ErrorEquals": ["Other"], "Next": "Wrong"},
            {"ErrorEquals": ["MyError"], "Next": "Right", "Output": "{% $states.errorOutput %}"},
        ],
    )
    output = bench.run({"A": state, "Wrong": {"Type": "Fail"}, "Right": PASS})
    assert output["Error"] == "MyError"
    assert json.loads(output["Cause"])["errorMessage"] == "no"


def test_retry_repeats_until_success(bench: Workbench) -> None:
    url, _ = bench.queue()
    state = invoke(
        bench.function(FAILS_TWICE),
        Retry=[{"ErrorEquals": ["Flaky"], "IntervalSeconds": 1, "BackoffRate": 1.5, "JitterStrategy": "FULL"}],
    )
    execution = bench.start(bench.machine({"A": state}), {"queue": url})
    assert bench.outcome(execution)["output"] == "3"
    assert bench.kinds(execution).count("TaskScheduled") == 3


def test_a_retry_ends_after_max_attempts(bench: Workbench) -> None:
    state = invoke(
        bench.function("def handler(event, context):\n    raise KeyError('x')\n"),
        Retry=[{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1}],
    )
    execution = bench.start(bench.machine({"A": state}))
    assert bench.outcome(execution)["error"] == "KeyError"
    assert bench.kinds(execution).count("TaskScheduled") == 2


def test_the_context_has_the_counts_of_attempts_and_redrives(bench: Workbench) -> None:
    code = "def handler(event, context):\n    if event['n'] < 2: raise KeyError('again')\n    return event\n"
    payload = {"n": "{% $states.context.State.RetryCount %}", "r": "{% $states.context.Execution.RedriveCount %}"}
    state = invoke(bench.function(code), payload, Retry=[{"ErrorEquals": ["KeyError"]}])
    assert bench.run({"A": state}) == {"n": 2, "r": 0}


def test_states_all_does_not_cover_data_limit_exceeded(bench: Workbench) -> None:
    state = invoke(
        bench.function("def handler(event, context):\n    return 'x' * 300000\n"),
        Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
    )
    assert bench.failure({"A": state, "Caught": PASS})[0] == "States.DataLimitExceeded"


def test_a_callback_ends_the_task(bench: Workbench) -> None:
    url, _ = bench.queue()
    execution = bench.start(bench.machine({"A": callback(bench.function(HAND_OVER))}), {"queue": url})
    token = bench.receive(url)[0]["Body"]
    bench.stepfunctions.send_task_success(taskToken=token, output='{"ok": true}')
    assert bench.outcome(execution)["output"] == '{"ok":true}'
    with pytest.raises(ClientError) as late:
        bench.stepfunctions.send_task_success(taskToken=token, output="{}")
    assert late.value.response["Error"]["Code"] == "TaskTimedOut"
    assert {"TaskSubmitted", "TaskSucceeded"} <= set(bench.kinds(execution))


def test_a_function_that_fails_before_the_callback_fails_the_task(bench: Workbench) -> None:
    function = bench.function("def handler(event, context):\n    raise KeyError('never sent')\n")
    state = callback(function, Catch=[{"ErrorEquals": ["KeyError"], "Next": "Caught"}])
    assert (
        bench.run({"A": state, "Caught": {"Type": "Pass", "Output": "caught", "End": True}}, {"queue": ""}) == "caught"
    )


def test_every_attempt_has_a_new_token(bench: Workbench) -> None:
    url, _ = bench.queue()
    state = callback(bench.function(HAND_OVER), Retry=[{"ErrorEquals": ["Again"], "MaxAttempts": 1}], TimeoutSeconds=30)
    execution = bench.start(bench.machine({"A": state}), {"queue": url})
    first = bench.receive(url)[0]
    bench.sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    bench.stepfunctions.send_task_failure(taskToken=first["Body"], error="Again", cause="")
    second = bench.receive(url)[0]["Body"]
    assert second != first["Body"]
    bench.stepfunctions.send_task_success(taskToken=second, output="2")
    assert bench.outcome(execution)["output"] == "2"


def test_an_answer_before_the_end_of_a_sibling_counts() -> None:
    # The task wakes late: its answer was taken, and then the failure of a sibling ended it.
    attempt, cancellation = Attempt("arn"), Cancellation()
    assert attempt.succeed("yes")
    cancellation.cancel()
    assert attempt.await_outcome(cancellation, timeout=None, heartbeat=None) == "yes"
    with pytest.raises(Cancelled):
        Attempt("arn").await_outcome(cancellation, timeout=None, heartbeat=None)


def test_a_timed_out_task_accepts_no_answer(bench: Workbench) -> None:
    url, _ = bench.queue()
    state = callback(
        bench.function(HAND_OVER),
        TimeoutSeconds="{% $states.input.limit %}",
        Catch=[{"ErrorEquals": ["States.Timeout"], "Next": "Late"}],
    )
    execution = bench.start(bench.machine({"A": state, "Late": PASS}), {"queue": url, "limit": 1})
    token = bench.receive(url)[0]["Body"]
    assert bench.outcome(execution)["status"] == "SUCCEEDED"
    assert "TaskTimedOut" in bench.kinds(execution)
    with pytest.raises(ClientError) as late:
        bench.stepfunctions.send_task_success(taskToken=token, output="{}")
    assert late.value.response["Error"]["Code"] == "TaskTimedOut"


def test_a_task_lives_as_long_as_its_heartbeats(bench: Workbench) -> None:
    url, _ = bench.queue()
    state = callback(
        bench.function(HAND_OVER), HeartbeatSeconds=2, Catch=[{"ErrorEquals": ["States.HeartbeatTimeout"], "Next": "B"}]
    )
    execution = bench.start(bench.machine({"A": state, "B": PASS}), {"queue": url})
    token = bench.receive(url)[0]["Body"]
    for _ in range(4):
        bench.stepfunctions.send_task_heartbeat(taskToken=token)
        time.sleep(0.7)
    assert bench.stepfunctions.describe_execution(executionArn=execution)["status"] == "RUNNING"
    assert bench.outcome(execution)["status"] == "SUCCEEDED"
    assert "TaskTimedOut" in bench.kinds(execution)


@pytest.mark.parametrize(("token", "code"), [("nonsense", "InvalidToken"), ("", "TaskDoesNotExist")])
def test_an_unknown_token_is_refused(bench: Workbench, token: str, code: str) -> None:
    from local.cloud.stepfunctions.attempts import TOKEN_PREFIX

    with pytest.raises(ClientError) as refused:
        bench.stepfunctions.send_task_success(taskToken=token or TOKEN_PREFIX + "abc", output="{}")
    assert refused.value.response["Error"]["Code"] == code


def test_starting_again_is_idempotent_only_while_running(bench: Workbench) -> None:
    machine = bench.machine({"W": {"Type": "Wait", "Seconds": 20, "End": True}})
    name = unique("run")
    first = bench.start(machine, {"a": 1}, name=name)
    assert bench.start(machine, {"a": 1}, name=name) == first
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        bench.start(machine, {"a": 2}, name=name)
    bench.outcome(first)
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        bench.start(machine, {"a": 1}, name=name)


def test_a_parallel_state_collects_its_branches_outputs(bench: Workbench) -> None:
    branches = [
        {"StartAt": "X", "States": {"X": {"Type": "Pass", "Output": f"{{% $v & '{letter}' %}}", "End": True}}}
        for letter in "ab"
    ]
    states = {
        "V": {"Type": "Pass", "Assign": {"v": "v"}, "Next": "P"},
        "P": {"Type": "Parallel", "Branches": branches, "End": True},
    }
    assert bench.run(states) == ["va", "vb"]


def test_an_inline_map_keeps_the_order_and_knows_its_items(bench: Workbench) -> None:
    states = {
        "M": {
            "Type": "Map",
            "Items": "{% $states.input.list %}",
            "MaxConcurrency": 2,
            "ItemSelector": {"i": "{% $states.context.Map.Item.Index %}", "v": "{% $states.context.Map.Item.Value %}"},
            "ItemProcessor": {"StartAt": "X", "States": {"X": PASS}},
            "End": True,
        }
    }
    assert bench.run(states, {"list": ["a", "b", "c"]}) == [{"i": i, "v": v} for i, v in enumerate("abc")]
    assert bench.run(states, {"list": []}) == []


def test_an_execution_ends_at_its_timeout(bench: Workbench) -> None:
    execution = bench.start(bench.machine({"W": {"Type": "Wait", "Seconds": 600, "End": True}}, TimeoutSeconds=1))
    described = bench.outcome(execution)
    assert described["status"] == "TIMED_OUT"
    assert bench.kinds(execution)[-1] == "ExecutionTimedOut"


def test_stopping_interrupts_a_wait_and_starts_no_further_state(bench: Workbench) -> None:
    url, _ = bench.queue()
    states = {
        "A": {**callback(bench.function(HAND_OVER)), "Next": "B"},
        "B": {
            "Type": "Task",
            "Resource": "arn:aws:states:::sqs:sendMessage",
            "Arguments": {"QueueUrl": url, "MessageBody": "called after the stop"},
            "End": True,
        },
    }
    del states["A"]["End"]
    execution = bench.start(bench.machine(states), {"queue": url})
    message = bench.receive(url)[0]
    bench.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    bench.stepfunctions.stop_execution(executionArn=execution, error="Ops", cause="enough")
    described = bench.stepfunctions.describe_execution(executionArn=execution)
    assert (described["status"], described["error"], described["cause"]) == ("ABORTED", "Ops", "enough")
    with pytest.raises(ClientError, match="TaskTimedOut"):
        bench.stepfunctions.send_task_success(taskToken=message["Body"], output="{}")
    time.sleep(0.3)
    assert "Messages" not in bench.sqs.receive_message(QueueUrl=url)
    assert bench.kinds(execution)[-1] == "ExecutionAborted"


def test_a_redrive_continues_at_the_failed_state(bench: Workbench) -> None:
    url, _ = bench.queue()
    code = """
        import boto3

        def handler(event, context):
            messages = boto3.client("sqs").receive_message(QueueUrl=event["queue"]).get("Messages")
            if not messages:
                raise RuntimeError("not yet")
            return {"found": event["n"]}
    """
    states = {
        "First": {"Type": "Pass", "Assign": {"n": 7}, "Next": "Second"},
        "Second": invoke(bench.function(code), {"queue": "{% $states.input.queue %}", "n": "{% $n %}"}),
    }
    execution = bench.start(bench.machine(states), {"queue": url})
    failed = bench.outcome(execution)
    assert (failed["status"], failed["redriveStatus"]) == ("FAILED", "REDRIVABLE")
    bench.sqs.send_message(QueueUrl=url, MessageBody="now")
    bench.stepfunctions.redrive_execution(executionArn=execution)
    done = bench.outcome(execution)
    assert json.loads(done["output"]) == {"found": 7}
    assert done["redriveCount"] == 1
    kinds = bench.kinds(execution)
    assert kinds.count("PassStateEntered") == 1
    assert "ExecutionRedriven" in kinds
    with pytest.raises(ClientError, match="ExecutionNotRedrivable"):
        bench.stepfunctions.redrive_execution(executionArn=execution)


def test_an_execution_whose_history_is_full_fails_and_cannot_be_redriven(bench: Workbench) -> None:
    execution = bench.start(bench.machine({"Again": {"Type": "Pass", "Next": "Again"}}))
    failed = bench.outcome(execution, 60)
    assert (failed["status"], failed["error"]) == ("FAILED", "States.Runtime")
    assert failed["redriveStatus"] == "NOT_REDRIVABLE"
    assert failed["redriveStatusReason"] == "Execution history event limit exceeded"
    with pytest.raises(ClientError, match="ExecutionNotRedrivable"):
        bench.stepfunctions.redrive_execution(executionArn=execution)


def test_redriving_a_map_repeats_only_unsuccessful_items(bench: Workbench) -> None:
    url, _ = bench.queue()
    gate, _ = bench.queue()
    code = """
        import boto3

        def handler(event, context):
            sqs = boto3.client("sqs")
            sqs.send_message(QueueUrl=event["log"], MessageBody=str(event["i"]))
            if event["i"] == 2 and "Messages" not in sqs.receive_message(QueueUrl=event["gate"]):
                raise RuntimeError("closed")
            return event["i"]
    """
    selector = {"i": "{% $states.context.Map.Item.Value %}", "log": url, "gate": gate}
    states = {
        "M": {
            "Type": "Map",
            "Items": [1, 2],
            "MaxConcurrency": 1,
            "ItemSelector": selector,
            "ItemProcessor": {"StartAt": "X", "States": {"X": invoke(bench.function(code))}},
            "End": True,
        }
    }
    execution = bench.start(bench.machine(states))
    assert bench.outcome(execution)["error"] == "RuntimeError"
    bench.sqs.send_message(QueueUrl=gate, MessageBody="open")
    bench.stepfunctions.redrive_execution(executionArn=execution)
    assert bench.outcome(execution)["output"] == "[1,2]"
    calls = eventually(lambda: bench.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"))
    assert sorted(call["Body"] for call in calls) == ["1", "2", "2"]


def test_every_end_of_an_execution_is_an_event(bench: Workbench) -> None:
    url, arn = bench.open_queue("events.amazonaws.com")
    machine = bench.machine(
        {
            "C": {
                "Type": "Choice",
                "Choices": [{"Condition": "{% $states.input.fail %}", "Next": "F"}],
                "Default": "W",
            },
            "F": {"Type": "Fail", "Error": "E"},
            "W": {"Type": "Wait", "Seconds": 600, "End": True},
        },
        TimeoutSeconds=1,
    )
    rule = unique("rule")
    bench.eventbridge.put_rule(
        Name=rule,
        EventPattern=json.dumps(
            {
                "source": ["aws.states"],
                "detail": {"stateMachineArn": [machine], "status": ["FAILED", "TIMED_OUT", "ABORTED"]},
            }
        ),
    )
    bench.eventbridge.put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": arn}])
    bench.start(machine, {"fail": True})
    bench.start(machine, {"fail": False})
    stopped = bench.start(machine, {"fail": False})
    bench.stepfunctions.stop_execution(executionArn=stopped)
    seen: dict[str, dict[str, Any]] = {}

    def collect() -> bool:
        for message in bench.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            detail = json.loads(message["Body"])["detail"]
            seen[detail["status"]] = detail
        return len(seen) == 3

    eventually(collect)
    assert seen["FAILED"]["error"] == "E"
    assert all(detail["redriveStatus"] == "REDRIVABLE" for detail in seen.values())


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ({"Type": "Pass", "End": True, "ResultPath": "$.x"}, "ResultPath"),
        ({"Type": "Task", "Resource": "arn:aws:states:::ecs:runTask", "End": True}, "ecs:runTask"),
        ({"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:noSuchThing", "End": True}, "noSuchThing"),
        ({"Type": "Pass", "Next": "Nowhere"}, "Nowhere"),
        ({"Type": "Pass", "Output": "{% $$$( %}", "End": True}, "JSONata"),
        ({"Type": "Wait", "Seconds": "60", "End": True}, "Seconds"),
        ({"Type": "Pass", "QueryLanguage": "JSONPath", "End": True}, "JSONata"),
    ],
)
def test_an_unsupported_construct_is_refused_at_creation(bench: Workbench, state: dict[str, Any], word: str) -> None:
    definition = {"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": state}}
    with pytest.raises(ClientError, match="InvalidDefinition") as refused:
        bench.stepfunctions.create_state_machine(name=unique("m"), roleArn=ROLE, definition=json.dumps(definition))
    assert word in str(refused.value)


def test_objects_can_be_written_and_read_by_tasks(bench: Workbench) -> None:
    bucket = bench.bucket()
    states = {
        "Put": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:s3:putObject",
            "Arguments": {"Bucket": bucket, "Key": "a.json", "Body": {"n": 1}},
            "Next": "Get",
        },
        "Get": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:s3:getObject",
            "Arguments": {"Bucket": bucket, "Key": "a.json"},
            "Output": "{% $parse($states.result.Body) %}",
            "Next": "Missing",
        },
        "Missing": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:s3:getObject",
            "Arguments": {"Bucket": bucket, "Key": "absent"},
            "Catch": [{"ErrorEquals": ["S3.NoSuchKeyException"], "Next": "End", "Output": "{% $states.input %}"}],
            "End": True,
        },
        "End": PASS,
    }
    assert bench.run(states) == {"n": 1}


def test_events_are_put_on_the_bus(bench: Workbench) -> None:
    url, arn = bench.open_queue("events.amazonaws.com")
    rule = unique("rule")
    bench.eventbridge.put_rule(Name=rule, EventPattern=json.dumps({"source": [rule]}))
    bench.eventbridge.put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": arn}])
    entry = {"Source": rule, "DetailType": "Done", "Detail": {"n": "{% 1 + 1 %}"}}
    bench.run(
        {
            "A": {
                "Type": "Task",
                "Resource": "arn:aws:states:::events:putEvents",
                "Arguments": {"Entries": [entry]},
                "End": True,
            }
        }
    )
    assert json.loads(bench.receive(url)[0]["Body"])["detail"] == {"n": 2}
