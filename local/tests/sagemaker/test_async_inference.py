"""Asynchronous invocations through boto3 against real stub model servers."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from local.sagemaker.names import S3Uri
from local.tests.sagemaker.stand_in import ERROR, SUCCESS, StandIn, eventually
from models.servers.stub import Behaviour


def _refused(stand_in: StandIn, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        stand_in.runtime.invoke_endpoint_async(**request)
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def test_an_unknown_endpoint_is_not_found(stand_in: StandIn) -> None:
    assert _refused(stand_in, EndpointName="nobody", InputLocation="s3://b/k") == (
        "ValidationError",
        "Endpoint nobody of account 000000000000 not found.",
    )


def test_a_failed_endpoint_accepts_no_requests(stand_in: StandIn) -> None:
    stand_in.create_model(image="unknown")
    stand_in.create_config()
    stand_in.sagemaker.create_endpoint(EndpointName="ep", EndpointConfigName="config")
    stand_in.settled("ep")
    code, message = _refused(stand_in, EndpointName="ep", InputLocation="s3://b/k")
    assert (code, "Failed" in message) == ("ValidationError", True)


def test_an_answer_is_stored_and_announced_as_documented(stand_in: StandIn) -> None:
    stand_in.create_endpoint()
    answer = stand_in.invoke(
        InferenceId="unit-1",
        ContentType="application/x-image",
        Accept="application/json;verbose",
        S3OutputPathExtension="drive/camera",
        Filename="1-1.out",
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert answer["InferenceId"] == "unit-1"
    assert answer["OutputLocation"] == "s3://labels/out/drive/camera/1-1.out"
    assert answer["FailureLocation"].startswith("s3://labels/failed/")
    message = stand_in.message(SUCCESS)
    for moment in (message.pop("eventTime"), message.pop("receivedTime")):
        time.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ")
    assert message == {
        "awsRegion": "us-east-1",
        "invocationStatus": "Completed",
        "requestParameters": {
            "contentType": "application/x-image",
            "accept": "application/json;verbose",
            "endpointName": "ep",
            "inputLocation": "s3://drives/in.png",
        },
        "responseParameters": {
            "contentType": "application/json",
            "outputLocation": "s3://labels/out/drive/camera/1-1.out",
        },
        "inferenceId": "unit-1",
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }
    body, content_type = stand_in.objects.contents[answer["OutputLocation"]]
    assert content_type == "application/json"
    assert set(json.loads(body)) == {"normalized_boxes", "classes", "scores", "labels"}


def test_answers_without_a_filename_get_unique_names(stand_in: StandIn) -> None:
    stand_in.create_endpoint()
    answers = [stand_in.invoke(InferenceId="same") for _ in range(3)]
    assert len({answer["OutputLocation"] for answer in answers}) == 3
    stand_in.message(SUCCESS, count=3)
    assert all(answer["OutputLocation"] in stand_in.objects.contents for answer in answers)


def test_an_inline_body_is_accepted_as_input(stand_in: StandIn) -> None:
    stand_in.create_endpoint()
    stand_in.runtime.invoke_endpoint_async(EndpointName="ep", Body=b"pixels", ContentType="application/x-image")
    assert "inputLocation" not in stand_in.message(SUCCESS)["requestParameters"]


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({}, "InputLocation and Body"),
        ({"InputLocation": "s3://b/k", "Body": b"x"}, "InputLocation and Body"),
        ({"Body": b"x" * 128_001}, "128001"),
        ({"InputLocation": "https://b.s3.amazonaws.com/k"}, "https://"),
        ({"InputLocation": "s3://b/k", "RequestTTLSeconds": 59}, "requestTTLSeconds"),
        ({"InputLocation": "s3://b/k", "InvocationTimeoutSeconds": 3601}, "invocationTimeoutSeconds"),
        ({"InputLocation": "s3://b/k", "Filename": "a.b.c"}, "filename"),
        ({"InputLocation": "s3://b/k", "Filename": "x" * 33}, "filename"),
        ({"InputLocation": "s3://b/k", "S3OutputPathExtension": "s3:x"}, "s3OutputPathExtension"),
        ({"InputLocation": "s3://b/k", "InferenceId": "x" * 65}, "inferenceId"),
    ],
)
def test_a_request_that_breaks_a_limit_is_refused_by_name(
    stand_in: StandIn, members: dict[str, Any], named: str
) -> None:
    code, message = _refused(stand_in, EndpointName="ep", **members)
    assert code == "ValidationError"
    assert named in message


def test_a_synchronous_invocation_is_refused(stand_in: StandIn) -> None:
    stand_in.create_endpoint()
    with pytest.raises(ClientError, match="only InvokeEndpointAsync") as refused:
        stand_in.runtime.invoke_endpoint(EndpointName="ep", Body=b"x")
    assert refused.value.response["Error"]["Code"] == "ValidationError"


@pytest.mark.parametrize(
    ("behaviour", "side", "status"), [("error", "server", 500), ("refuse", "client", 400), ("broken", "server", 500)]
)
def test_a_request_that_the_container_refuses_is_not_retried(
    stand_in: StandIn, behaviour: str, side: str, status: int
) -> None:
    stand_in.create_endpoint({"STUB_BEHAVIOUR": behaviour})
    answer = stand_in.invoke(InferenceId="unit-1", ContentType="application/x-image")
    message = stand_in.message(ERROR)
    assert message["invocationStatus"] == "Failed"
    assert message["inferenceId"] == "unit-1"
    assert message["eventName"] == "InferenceResult"
    assert message["failureReason"] == (
        f"ClientError: Received {side} error ({status}) from model. "
        "See the SageMaker Endpoint logs in your account for more information."
    )
    assert message["responseParameters"]["failureLocation"] == answer["FailureLocation"]
    assert "outputLocation" not in message["responseParameters"]
    assert answer["FailureLocation"] in stand_in.objects.contents
    assert answer["OutputLocation"] not in stand_in.objects.contents
    assert stand_in.service.endpoints.metrics()["ep"]["InvocationFailures"] == 1


def test_a_missing_input_is_a_failure(stand_in: StandIn) -> None:
    stand_in.create_endpoint()
    stand_in.runtime.invoke_endpoint_async(EndpointName="ep", InputLocation="s3://drives/none.png")
    assert "s3://drives/none.png" in stand_in.message(ERROR)["failureReason"]
    assert stand_in.service.endpoints.metrics()["ep"]["RequestDownloadFailures"] == 1


def test_a_hanging_container_is_a_failure_after_the_timeout(stand_in: StandIn) -> None:
    stand_in.create_endpoint({"STUB_BEHAVIOUR": "hang"})
    stand_in.invoke(InvocationTimeoutSeconds=1)
    message = stand_in.message(ERROR)
    assert message["invocationStatus"] == "Failed"
    assert "timed out after 1 seconds" in message["failureReason"]


def test_a_dead_server_fails_its_requests_and_is_restarted(stand_in: StandIn) -> None:
    environment = {"STUB_SHARES": '{"exit": 0.5}'}
    stand_in.create_endpoint(environment)
    inputs = {Behaviour.read(environment).choose(body): body for body in (b"%d" % n for n in range(20))}
    stand_in.invoke(inputs["exit"])
    assert "server error (500)" in stand_in.message(ERROR)["failureReason"]
    stand_in.invoke(inputs["answer"])
    stand_in.message(SUCCESS)
    assert stand_in.sagemaker.describe_endpoint(EndpointName="ep")["EndpointStatus"] == "InService"


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_requests_wait_while_a_killed_server_restarts(stand_in: StandIn) -> None:
    stand_in.create_endpoint()
    servers = [p for p in psutil.Process().children() if "models.servers.stub" in p.cmdline()]
    for server in servers:
        server.kill()
    # A dying server accepts connections and breaks them, which would be a failure of the invocation.
    eventually(lambda: not any(_alive(server) for server in servers))
    for _ in range(5):
        stand_in.invoke()
    stand_in.message(SUCCESS, count=5)
    assert not [t for t, _ in stand_in.topics.messages if t == ERROR]


def test_an_instance_keeps_its_configured_concurrency(stand_in: StandIn) -> None:
    stand_in.create_endpoint({"STUB_DELAY_MS": "200"}, concurrency=2)
    begun = time.monotonic()
    for _ in range(6):
        stand_in.invoke()
    stand_in.message(SUCCESS, count=6)
    assert 0.6 <= time.monotonic() - begun < 1.2


def test_two_instances_share_the_queue(stand_in: StandIn) -> None:
    stand_in.create_endpoint({"STUB_DELAY_MS": "200"}, concurrency=1, instances=2)
    begun = time.monotonic()
    for _ in range(4):
        stand_in.invoke()
    stand_in.message(SUCCESS, count=4)
    assert 0.4 <= time.monotonic() - begun < 0.8


def test_a_small_response_is_embedded_on_request(stand_in: StandIn) -> None:
    notifications = {
        "SuccessTopic": SUCCESS,
        "ErrorTopic": ERROR,
        "IncludeInferenceResponseIn": ["SUCCESS_NOTIFICATION_TOPIC"],
    }
    stand_in.create_endpoint(output={"NotificationConfig": notifications})
    answer = stand_in.invoke()
    content = stand_in.message(SUCCESS)["responseBody"]["content"]
    assert base64.b64decode(content) == stand_in.objects.contents[answer["OutputLocation"]][0]


def test_a_large_response_is_stored_whole_and_not_embedded(stand_in: StandIn) -> None:
    notifications = {"SuccessTopic": SUCCESS, "IncludeInferenceResponseIn": ["SUCCESS_NOTIFICATION_TOPIC"]}
    stand_in.create_endpoint({"STUB_BALLAST": "3000000"}, output={"NotificationConfig": notifications})
    answer = stand_in.invoke()
    assert "content" not in stand_in.message(SUCCESS)["responseBody"]
    body = stand_in.objects.contents[answer["OutputLocation"]][0]
    assert len(body) > 2_500_000
    assert len(json.loads(body)["scores"]) == 3


def test_invalid_json_passes_through_as_an_answer(stand_in: StandIn) -> None:
    stand_in.create_endpoint({"STUB_BEHAVIOUR": "truncated"})
    answer = stand_in.invoke()
    stand_in.message(SUCCESS)
    with pytest.raises(json.JSONDecodeError):
        json.loads(stand_in.objects.contents[answer["OutputLocation"]][0])


def test_without_a_failure_path_a_failure_is_only_announced(stand_in: StandIn) -> None:
    stand_in.create_model(environment={"STUB_BEHAVIOUR": "error"})
    stand_in.sagemaker.create_endpoint_config(
        EndpointConfigName="config",
        ProductionVariants=[
            {"VariantName": "v", "ModelName": "model", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        ],
        AsyncInferenceConfig={
            "OutputConfig": {"S3OutputPath": "s3://labels/", "NotificationConfig": {"ErrorTopic": ERROR}}
        },
    )
    stand_in.sagemaker.create_endpoint(EndpointName="ep", EndpointConfigName="config")
    stand_in.settled("ep")
    assert "FailureLocation" not in stand_in.invoke()
    assert "failureLocation" not in stand_in.message(ERROR, count=2)["responseParameters"]


def test_a_lost_notification_leaves_the_answer_in_place(stand_in: StandIn) -> None:
    stand_in.create_endpoint()
    stand_in.topics.missing.add(SUCCESS)
    answer = stand_in.invoke()
    eventually(lambda: stand_in.service.endpoints.metrics()["ep"]["NotificationFailures"] == 1)
    assert answer["OutputLocation"] in stand_in.objects.contents


def test_a_deleted_endpoint_never_answers_its_queue(stand_in: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    stand_in.create_endpoint({"STUB_BEHAVIOUR": "hang"}, concurrency=1)
    for _ in range(3):
        stand_in.invoke()
    stand_in.sagemaker.delete_endpoint(EndpointName="ep")
    eventually(lambda: not stand_in.sagemaker.list_endpoints()["Endpoints"])
    assert "3 requests in its queue will never be answered" in caplog.text
    assert not stand_in.topics.messages


@pytest.mark.parametrize(
    ("prefix", "parts", "uri"),
    [
        ("s3://b", ("", "n"), "s3://b/n"),
        ("s3://b/p/", ("x/", "n"), "s3://b/p/x/n"),
        ("s3://b/p", ("/x", "n"), "s3://b/p/x/n"),
    ],
)
def test_output_names_have_single_slashes(prefix: str, parts: tuple[str, ...], uri: str) -> None:
    assert str(S3Uri.parse(prefix).below(*parts)) == uri
