"""Function URLs: an address on this machine, payload 2.0, open only to callers that the policy allows."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.cloud.lambda_runtime import HOST_ARCHITECTURE
from local.tests.conformance.workbench import RUNTIME, Workbench, eventually, unique

ECHO = """
import json, os, boto3

def handler(event, context):
    if event["rawPath"] == "/secret":
        asked = {"SecretId": os.environ[event["queryStringParameters"]["name"]]}
        secret = boto3.client("secretsmanager").get_secret_value(**asked)
        return {"statusCode": 200, "body": secret["SecretString"]}
    if event["rawPath"] == "/broken":
        raise ValueError("broken")
    return {"statusCode": 201, "headers": {"x-own": "1"}, "body": json.dumps(event)}
"""
# As in the project's template, the function and its URL depend on one condition.
TEMPLATE: dict[str, Any] = {
    "Transform": "AWS::Serverless-2016-10-31",
    "Parameters": {"Secret": {"Type": "String", "Default": ""}, "Other": {"Type": "String", "Default": ""}},
    "Conditions": {"HasSecret": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Secret"}, ""]}]}},
    "Resources": {
        "Hook": {
            "Type": "AWS::Serverless::Function",
            "Condition": "HasSecret",
            "Properties": {
                "Runtime": RUNTIME,
                "Architectures": [HOST_ARCHITECTURE],
                "Handler": "index.handler",
                "InlineCode": ECHO,
                "ReservedConcurrentExecutions": 5,
                "Environment": {"Variables": {"OWN": {"Ref": "Secret"}, "OTHER": {"Ref": "Other"}}},
                "FunctionUrlConfig": {"AuthType": "NONE"},
                "Policies": [
                    {
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Action": "secretsmanager:GetSecretValue",
                                "Resource": {"Ref": "Secret"},
                            }
                        ]
                    }
                ],
            },
        },
        "Queue": {"Type": "AWS::SQS::Queue"},
    },
    "Outputs": {
        "Url": {"Value": {"Fn::If": ["HasSecret", {"Fn::GetAtt": ["HookUrl", "FunctionUrl"]}, "none"]}},
        "Name": {"Value": {"Fn::If": ["HasSecret", {"Ref": "Hook"}, "none"]}},
    },
}

Deploy = Callable[..., dict[str, str]]


@pytest.fixture
def deploy(strict: Workbench) -> Iterator[Deploy]:
    made: list[str] = []

    def deployed(**parameters: str) -> dict[str, str]:
        made.append(unique("addresses"))
        strict.cloudformation.create_stack(
            StackName=made[-1],
            TemplateBody=json.dumps(TEMPLATE),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )

        def settled() -> dict[str, Any] | None:
            [described] = strict.cloudformation.describe_stacks(StackName=made[-1])["Stacks"]
            return described if not described["StackStatus"].endswith("_IN_PROGRESS") else None

        described = eventually(settled)
        assert described["StackStatus"] == "CREATE_COMPLETE", described
        return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]} | {"Stack": made[-1]}

    yield deployed
    for name in made:
        strict.cloudformation.delete_stack(StackName=name)


@pytest.fixture
def secret(strict: Workbench) -> Callable[[str], str]:
    """Create a secret with a value; return its ARN."""
    return lambda value: str(strict.secretsmanager.create_secret(Name=unique("secret"), SecretString=value)["ARN"])


def post(url: str, body: bytes = b"{}", **headers: str) -> tuple[int, dict[str, str], str]:
    """Return the response to a POST without an AWS signature."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, dict(e.headers), e.read().decode()


def test_without_its_condition_neither_function_nor_url_exists(strict: Workbench, deploy: Deploy) -> None:
    made = deploy()
    assert (made["Url"], made["Name"]) == ("none", "none")
    resources = strict.cloudformation.list_stack_resources(StackName=made["Stack"])["StackResourceSummaries"]
    assert [resource["LogicalResourceId"] for resource in resources] == ["Queue"]


def test_anyone_can_call_the_function_which_gets_payload_2(
    strict: Workbench, deploy: Deploy, secret: Callable[[str], str]
) -> None:
    made = deploy(Secret=secret("s"))
    url = made["Url"]
    assert urlsplit(url).hostname == "127.0.0.1"
    assert strict.functions.get_function_url_config(FunctionName=made["Name"])["FunctionUrl"] == url
    status, headers, text = post(f"{url}?job=a-b%2Fc%20d", b'{"x": "\xc3\xa4"}', **{"X-Own-Header": "v"})
    assert (status, headers["x-own"]) == (201, "1")
    event = json.loads(text)
    assert (event["version"], event["routeKey"], event["rawPath"]) == ("2.0", "$default", "/")
    assert event["rawQueryString"] == "job=a-b%2Fc%20d"
    assert event["queryStringParameters"] == {"job": "a-b/c d"}
    # Header names arrive in lower case.
    assert event["headers"]["x-own-header"] == "v"
    assert (event["body"], event["isBase64Encoded"]) == ('{"x": "ä"}', False)
    assert event["requestContext"]["accountId"] == "anonymous"
    assert event["requestContext"]["http"]["method"] == "POST"
    status, _, text = post(url, b"\xff\x00", **{"Content-Type": "application/octet-stream"})
    assert (json.loads(text)["body"], json.loads(text)["isBase64Encoded"]) == ("/wA=", True)


def test_a_function_that_fails_is_a_bad_gateway(deploy: Deploy, secret: Callable[[str], str]) -> None:
    status, _, text = post(deploy(Secret=secret("s"))["Url"] + "broken")
    assert status == 502
    assert "Traceback" not in text


def test_the_function_reads_only_the_secret_that_its_role_allows(deploy: Deploy, secret: Callable[[str], str]) -> None:
    url = deploy(Secret=secret("its own"), Other=secret("another"))["Url"]
    assert post(url + "secret?name=OWN")[::2] == (200, "its own")
    status, _, text = post(url + "secret?name=OTHER")
    assert status == 502
    assert "another" not in text


@pytest.mark.parametrize("action", ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"])
def test_a_url_needs_both_permissions_in_its_policy(
    strict: Workbench, deploy: Deploy, secret: Callable[[str], str], action: str
) -> None:
    made = deploy(Secret=secret("s"))
    policy = json.loads(strict.functions.get_policy(FunctionName=made["Name"])["Policy"])
    (statement,) = (one for one in policy["Statement"] if one["Action"] == action)
    strict.functions.remove_permission(FunctionName=made["Name"], StatementId=statement["Sid"])
    assert post(made["Url"])[0] == 403


def test_a_url_is_deleted_with_its_stack(strict: Workbench, deploy: Deploy, secret: Callable[[str], str]) -> None:
    made = deploy(Secret=secret("s"))
    strict.cloudformation.delete_stack(StackName=made["Stack"])
    eventually(lambda: post(made["Url"])[0] == 404)
