"""With IAM enforced, functions and state machines may do what their roles allow and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.cloud.launcher import EmbeddedCloud
from local.cloud.settings import CloudSettings
from tests.conformance.workbench import Workbench, unique

SENDS = """
    import boto3

    def handler(event, context):
        boto3.client("sqs").send_message(QueueUrl=event["queue"], MessageBody="hello")
        return "sent"
"""


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    settings = CloudSettings(wait_scale=0.05, enforce_iam=True)
    with EmbeddedCloud(tmp_path_factory.mktemp("strict"), settings=settings) as cloud:
        yield Workbench(cloud)


def role(bench: Workbench, service: str, *allowed: tuple[str, str]) -> str:
    """The ARN of a role with one statement for each (action, resource)."""
    name = unique("role")
    trust = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
    created = bench.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document([trust]))
    statements = [{"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in allowed]
    if statements:
        bench.iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(statements))
    return str(created["Role"]["Arn"])


def document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def test_a_function_may_do_what_its_role_allows_only(strict: Workbench) -> None:
    url, arn = strict.queue()
    other, _ = strict.queue()
    name = strict.function(SENDS, Role=role(strict, "lambda", ("sqs:SendMessage", arn)))
    assert strict.invoke(name, {"queue": url}) == ("sent", None)
    answer, error = strict.invoke(name, {"queue": other})
    assert error == "Unhandled"
    assert "sqs:sendmessage" in answer["errorMessage"].lower()


def test_a_deny_for_all_but_a_role_lets_the_role_through(strict: Workbench) -> None:
    topic = strict.sns.create_topic(Name=unique("t"))["TopicArn"]
    code = """
        import boto3

        def handler(event, context):
            return bool(boto3.client("sns").publish(TopicArn=event["topic"], Message="m")["MessageId"])
    """
    publishers = [role(strict, "lambda", ("sns:Publish", topic)) for _ in range(2)]
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sns:Publish",
        "Resource": topic,
        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": publishers[0]}},
    }
    strict.sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=document([deny]))
    answers = [strict.invoke(strict.function(code, Role=one), {"topic": topic}) for one in publishers]
    assert answers[0] == (True, None)
    assert answers[1][1] == "Unhandled"


def test_a_bucket_that_wants_tls_is_open_on_loopback(strict: Workbench) -> None:
    bucket = strict.bucket()
    strict.s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    tls_only = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    strict.s3.put_bucket_policy(Bucket=bucket, Policy=document([tls_only]))
    code = """
        import boto3

        def handler(event, context):
            return boto3.client("s3").get_object(Bucket=event["bucket"], Key="k")["Body"].read().decode()
    """
    reader = role(strict, "lambda", ("s3:GetObject", f"arn:aws:s3:::{bucket}/*"))
    assert strict.invoke(strict.function(code, Role=reader), {"bucket": bucket}) == ("x", None)


def test_a_state_machine_may_call_what_its_role_allows_only(strict: Workbench) -> None:
    url, arn = strict.queue()
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage",
        "Arguments": {"QueueUrl": url, "MessageBody": "x"},
        "End": True,
    }
    definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": state}})

    def outcome(role_arn: str) -> dict[str, Any]:
        machine = strict.stepfunctions.create_state_machine(name=unique("m"), roleArn=role_arn, definition=definition)[
            "stateMachineArn"
        ]
        return strict.outcome(strict.start(machine))

    assert outcome(role(strict, "states", ("sqs:SendMessage", arn)))["status"] == "SUCCEEDED"
    refused = outcome(role(strict, "states"))
    assert (refused["status"], "AccessDenied" in refused["error"]) == ("FAILED", True)


def test_a_callback_needs_the_permission_for_its_own_state_machine(strict: Workbench) -> None:
    url, arn = strict.queue()
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Arguments": {"QueueUrl": url, "MessageBody": "{% $states.context.Task.Token %}"},
        "End": True,
    }
    machine = strict.stepfunctions.create_state_machine(
        name=unique("m"),
        roleArn=role(strict, "states", ("sqs:SendMessage", arn)),
        definition=json.dumps({"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": state}}),
    )["stateMachineArn"]
    code = """
        import boto3

        def handler(event, context):
            boto3.client("stepfunctions").send_task_success(taskToken=event["token"], output="1")
    """
    execution = strict.start(machine)
    token = strict.receive(url)[0]["Body"]
    wrong = role(strict, "lambda", ("states:SendTaskSuccess", machine + "-other"))
    right = role(strict, "lambda", ("states:SendTaskSuccess", machine))
    assert strict.invoke(strict.function(code, Role=wrong), {"token": token})[1] == "Unhandled"
    assert strict.invoke(strict.function(code, Role=right), {"token": token}) == (None, None)
    assert strict.outcome(execution)["output"] == "1"
