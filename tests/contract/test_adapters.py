"""The smaller adapters: queue, endpoints, executions, announcements."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.stub import Stubber

from autolabel.aws.announcements import AwsAnnouncements
from autolabel.aws.endpoints import SageMakerEndpoints
from autolabel.aws.executions import StepFunctionsExecutions
from autolabel.aws.queue import SqsSubmitQueue
from autolabel.errors import EndpointUnavailable, Unavailable
from autolabel.frames import FrameKey
from autolabel.submission import read_message
from autolabel.units import Unit, UnitRequest

pytestmark = pytest.mark.usefixtures("aws")

MACHINE = "arn:aws:states:eu-central-1:123456789012:stateMachine:m"
REQUEST: dict[str, Any] = {
    "endpoint": "e",
    "input_location": "s3://ingest/k",
    "inference_id": "i",
    "output_extension": "d/m/c/t",
    "filename": "f-1.out",
    "content_type": "application/x-image",
    "accept": "application/json",
    "ttl": 21_600,
    "timeout": 60,
}


def requests(count: int) -> list[tuple[Unit, str, str]]:
    frames = [FrameKey("d", "front", f"{i:019d}", "png") for i in range(count)]
    return [(Unit.of(frame, "e", "m.0001"), frame.key, "e") for frame in frames]


@pytest.mark.parametrize("count", [0, 1, 10, 23])
def test_units_are_sent_ten_at_a_time_as_submit_reads_them(count: int) -> None:
    client = boto3.client("sqs")
    url = client.create_queue(QueueName="q")["QueueUrl"]
    SqsSubmitQueue(client, url).send(requests(count))
    found: list[Any] = []
    while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [asked for message in messages for asked in read_message(message["Body"])]
    assert sorted(found, key=lambda asked: asked.key) == [UnitRequest(*one) for one in requests(count)]


def test_a_queue_that_takes_only_some_units_is_an_error() -> None:
    client = boto3.client("sqs")
    with Stubber(client) as stubber:
        failed = [{"Id": "1", "SenderFault": False, "Code": "InternalError"}]
        stubber.add_response("send_message_batch", {"Successful": [], "Failed": failed})
        with pytest.raises(Unavailable, match="1 units"):
            SqsSubmitQueue(client, "https://queue").send(requests(2))


def test_an_endpoint_is_asked_with_all_that_names_the_answer() -> None:
    client = boto3.client("sagemaker-runtime")
    expected = {
        "EndpointName": "e",
        "InputLocation": "s3://ingest/k",
        "InferenceId": "i",
        "S3OutputPathExtension": "d/m/c/t",
        "Filename": "f-1.out",
        "ContentType": "application/x-image",
        "Accept": "application/json",
        "RequestTTLSeconds": 21_600,
        "InvocationTimeoutSeconds": 60,
    }
    with Stubber(client) as stubber:
        stubber.add_response("invoke_endpoint_async", {"OutputLocation": "s3://labels/x"}, expected)
        assert SageMakerEndpoints(client).invoke(**REQUEST) == "s3://labels/x"


@pytest.mark.parametrize(
    ("code", "status"),
    [("ThrottlingException", 400), ("ValidationError", 400), ("InternalFailure", 500), ("ServiceUnavailable", 503)],
)
def test_whatever_an_endpoint_answers_instead_is_no_fault_of_the_frame(code: str, status: int) -> None:
    client = boto3.client("sagemaker-runtime")
    with Stubber(client) as stubber:
        stubber.add_client_error("invoke_endpoint_async", code, "why", http_status_code=status)
        with pytest.raises(EndpointUnavailable, match=r"endpoint e: .*why"):
            SageMakerEndpoints(client).invoke(**REQUEST)


def test_an_endpoint_that_cannot_be_reached_is_no_fault_of_the_frame() -> None:
    client = boto3.client("sagemaker-runtime")

    def fail(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://x")

    client.meta.events.register("before-call", fail)
    with pytest.raises(EndpointUnavailable):
        SageMakerEndpoints(client).invoke(**REQUEST)


def test_an_execution_is_started_with_exactly_its_drive_and_run() -> None:
    client = boto3.client("stepfunctions")
    with Stubber(client) as stubber:
        expected = {"stateMachineArn": MACHINE, "name": "d-0001", "input": json.dumps({"drive": "d", "run": "0001"})}
        stubber.add_response("start_execution", {"executionArn": "a", "startDate": 0}, expected)
        stubber.add_client_error("start_execution", "ExecutionAlreadyExists")
        stubber.add_client_error("start_execution", "ExecutionLimitExceeded")
        executions = StepFunctionsExecutions(client, MACHINE)
        assert executions.start("d-0001", "d", "0001")
        assert not executions.start("d-0001", "d", "0001")
        with pytest.raises(ClientError, match="ExecutionLimitExceeded"):
            executions.start("d-0001", "d", "0001")


def test_a_wake_that_comes_too_late_is_normal_and_any_other_error_is_not() -> None:
    client = boto3.client("stepfunctions")
    with Stubber(client) as stubber:
        stubber.add_response("send_task_success", {})
        for code in ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken", "AccessDeniedException"):
            stubber.add_client_error("send_task_success", code)
        executions = StepFunctionsExecutions(client, MACHINE)
        assert [executions.wake("t") for _ in range(4)] == [True, False, False, False]
        with pytest.raises(ClientError, match="AccessDenied"):
            executions.wake("t")


def test_operators_are_told_what_fits_into_a_message() -> None:
    client = boto3.client("sns")
    topic = client.create_topic(Name="ops")["TopicArn"]
    asked: list[dict[str, Any]] = []
    client.meta.events.register("provide-client-params.sns.Publish", lambda params, **_: asked.append(params))
    announcements = AwsAnnouncements(sns=client, topic=topic)
    announcements.tell_ops("s" * 500, "😀" * 1_000_000)
    announcements.tell_ops("subject", "message")
    assert len(asked[0]["Subject"]) == 100
    assert len(asked[0]["Message"].encode()) < 262_144
    assert (asked[1]["Subject"], asked[1]["Message"]) == ("subject", "message")


def test_an_event_that_the_bus_does_not_take_is_an_error() -> None:
    client = boto3.client("events")
    with Stubber(client) as stubber:
        stubber.add_response("put_events", {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]})
        with pytest.raises(Unavailable, match="DriveLabelled"):
            AwsAnnouncements(events=client).publish("DriveLabelled", {"drive": "d"})


def test_an_event_reaches_the_bus_whole() -> None:
    client = boto3.client("events")
    with Stubber(client) as stubber:
        entry = {"Source": "autolabel", "DetailType": "DriveLabelled", "Detail": json.dumps({"drive": "é", "boxes": 1})}
        stubber.add_response("put_events", {"FailedEntryCount": 0, "Entries": []}, {"Entries": [entry]})
        AwsAnnouncements(events=client).publish("DriveLabelled", {"drive": "é", "boxes": 1})
