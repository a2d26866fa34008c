"""The smaller adapters: queue, endpoints, executions, announcements."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.stub import Stubber

from autolabel.aws.announcements import AwsAnnouncements
from autolabel.aws.deliveries import Deliveries
from autolabel.aws.endpoints import SageMakerEndpoints, SageMakerEndpointStates
from autolabel.aws.executions import StepFunctionsExecutions
from autolabel.aws.queue import SqsSubmitQueue
from autolabel.contracts.errors import EndpointUnavailable, Unavailable
from autolabel.contracts.frames import FrameKey
from autolabel.contracts.units import CloseRequest, Unit, UnitRequest
from autolabel.inference.submission import read_message

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
def test_submit_reads_the_units_that_the_queue_sends(count: int) -> None:
    client = boto3.client("sqs")
    url = client.create_queue(QueueName="q")["QueueUrl"]
    SqsSubmitQueue(client, url).send(requests(count))
    found: list[Any] = []
    while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [asked for message in messages for asked in read_message(message["Body"])]
    assert sorted(found, key=lambda asked: asked.key) == [UnitRequest(*one) for one in requests(count)]


REFUSED = {"Successful": [], "Failed": [{"Id": "1", "SenderFault": False, "Code": "InternalError"}]}


def test_only_rejected_units_are_sent_again() -> None:
    client = boto3.client("sqs")
    sent: list[list[str]] = []
    client.meta.events.register(
        "provide-client-params.sqs.SendMessageBatch",
        lambda params, **_: sent.append([entry["Id"] for entry in params["Entries"]]),
    )
    with Stubber(client) as stubber:
        stubber.add_response("send_message_batch", REFUSED)
        stubber.add_response("send_message_batch", {"Successful": [], "Failed": []})
        SqsSubmitQueue(client, "https://queue").send(requests(3))
    assert sent == [["0", "1", "2"], ["1"]]


def test_units_that_stay_rejected_are_an_error() -> None:
    client = boto3.client("sqs")
    with Stubber(client) as stubber:
        for _ in range(4):
            stubber.add_response("send_message_batch", REFUSED)
        with pytest.raises(Unavailable, match=r"1 unit$"):
            SqsSubmitQueue(client, "https://queue").send(requests(2))


def test_submit_reads_the_close_request_that_the_queue_sends() -> None:
    client = boto3.client("sqs")
    url = client.create_queue(QueueName="q")["QueueUrl"]
    SqsSubmitQueue(client, url).close("d")
    (message,) = client.receive_message(QueueUrl=url)["Messages"]
    assert list(read_message(message["Body"])) == [CloseRequest("d")]


# Messages that fail


def deliver(received: int, error: Exception) -> tuple[list[str], list[dict[str, Any]], int | None]:
    """Deliver a message whose work raises; return the type of the raised error, the dead letters and the wait."""
    client = boto3.client("sqs")
    queue, dead = (client.create_queue(QueueName=name)["QueueUrl"] for name in ("q", "dead"))
    client.send_message(QueueUrl=queue, MessageBody="the body")
    (message,) = client.receive_message(QueueUrl=queue)["Messages"]
    attributes = {"ApproximateReceiveCount": str(received)}
    record = SQSRecord({"receiptHandle": message["ReceiptHandle"], "body": "the body", "attributes": attributes})
    waits: list[int] = []
    client.meta.events.register(
        "provide-client-params.sqs.ChangeMessageVisibility",
        lambda params, **_: waits.append(params["VisibilityTimeout"]),
    )

    def work() -> None:
        raise error

    with pytest.raises(Exception) as raised:  # noqa: PT011 - the tests check its type
        Deliveries(client, queue, dead, first_wait=10.0, dead_letter_after=5).work(record, work)
    letters = client.receive_message(QueueUrl=dead, MessageAttributeNames=["All"]).get("Messages", [])
    return [type(raised.value).__name__], letters, waits[0] if waits else None


@pytest.mark.parametrize(("count", "wait"), [(1, 10), (2, 20), (7, 640), (8, 900), (1_000, 900)])
def test_the_wait_of_a_message_doubles_up_to_fifteen_minutes(count: int, wait: int) -> None:
    assert deliver(count, Unavailable("away")) == (["Unavailable"], [], wait)


def test_a_failing_message_is_tried_again_before_the_limit() -> None:
    assert deliver(4, KeyError("bug")) == (["KeyError"], [], 80)


def test_a_message_is_dead_lettered_with_its_body_and_reason() -> None:
    raised, (letter,), wait = deliver(5, KeyError("bug\x00\x1b[0m"))
    assert (raised, wait) == (["DeadLettered"], None)
    assert letter["Body"] == "the body"
    assert letter["MessageAttributes"]["reason"]["StringValue"] == "KeyError: 'bug\\x00\\x1b[0m'"


@pytest.mark.parametrize("text", ["\x00\x1b\n\ud800", "x" * 10_000])
def test_any_reason_is_made_printable_and_short(text: str) -> None:
    _, (letter,), _ = deliver(5, RuntimeError(text))
    reason = letter["MessageAttributes"]["reason"]["StringValue"]
    assert reason.isprintable()
    assert len(reason) <= 2_000


@pytest.mark.parametrize(
    ("code", "status", "reasons", "passing"),
    [
        ("ThrottlingException", 400, [], True),
        ("ProvisionedThroughputExceededException", 400, [], True),
        ("SlowDown", 503, [], True),
        ("InternalError", 500, [], True),
        ("TransactionConflictException", 400, [], True),
        ("TransactionInProgressException", 400, [], True),
        ("RequestTimeout", 400, [], True),
        ("BandwidthLimitExceeded", 400, [], True),
        ("TransactionCanceledException", 400, ["None", "TransactionConflict"], True),
        ("TransactionCanceledException", 400, ["ValidationError"], False),
        ("AccessDenied", 403, [], False),
        ("ValidationException", 400, [], False),
    ],
)
def test_temporary_errors_are_never_dead_lettered(code: str, status: int, reasons: list[str], passing: bool) -> None:
    response: Any = {
        "Error": {"Code": code, "Message": "m"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        "CancellationReasons": [{"Code": reason} for reason in reasons],
    }
    (raised,), letters, _ = deliver(5, ClientError(response, "Operation"))
    assert (raised, len(letters)) == (("ClientError", 0) if passing else ("DeadLettered", 1))


def test_a_failed_connection_is_a_temporary_error() -> None:
    assert deliver(5, EndpointConnectionError(endpoint_url="u"))[1] == []


# Endpoints


@pytest.mark.parametrize(
    ("status", "state"),
    [("InService", "InService"), ("Updating", "InService"), ("Creating", "Creating"), ("Failed", "Failed")],
)
def test_an_endpoint_that_serves_is_reported_as_in_service(status: str, state: str) -> None:
    client = boto3.client("sagemaker")
    with Stubber(client) as stubber:
        described = {
            "EndpointName": "e",
            "EndpointArn": "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/e",
            "EndpointStatus": status,
            "CreationTime": datetime.fromtimestamp(1, UTC),
            "LastModifiedTime": 1,
        }
        stubber.add_response("describe_endpoint", described, {"EndpointName": "e"})
        assert SageMakerEndpointStates(client).state("e") == state
        stubber.add_response("describe_endpoint", described, {"EndpointName": "e"})
        assert SageMakerEndpointStates(client).created("e") == 1.0


def test_an_endpoint_that_scaled_to_zero_takes_requests() -> None:
    client = boto3.client("sagemaker")
    asleep = {"VariantName": "all", "CurrentInstanceCount": 0, "DesiredInstanceCount": 0}
    described = {
        "EndpointName": "e",
        "EndpointArn": "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/e",
        "EndpointStatus": "InService",
        "ProductionVariants": [asleep],
        "CreationTime": 1,
        "LastModifiedTime": 1,
    }
    with Stubber(client) as stubber:
        stubber.add_response("describe_endpoint", described, {"EndpointName": "e"})
        assert SageMakerEndpointStates(client).state("e") == "InService"


def test_an_unknown_endpoint_is_missing_but_a_throttled_call_raises() -> None:
    client = boto3.client("sagemaker")
    with Stubber(client) as stubber:
        stubber.add_client_error("describe_endpoint", "ValidationException", "Could not find endpoint")
        assert SageMakerEndpointStates(client).state("e") == "missing"
        stubber.add_client_error("describe_endpoint", "ValidationException", "Could not find endpoint")
        assert SageMakerEndpointStates(client).created("e") == 0.0
        stubber.add_client_error("describe_endpoint", "ThrottlingException", "Rate exceeded", 400)
        with pytest.raises(ClientError):
            SageMakerEndpointStates(client).state("e")


@pytest.mark.parametrize(("code", "gone"), [("ValidationError", True), ("ThrottlingException", False)])
def test_a_missing_endpoint_differs_from_a_throttled_one(code: str, gone: bool) -> None:
    client = boto3.client("sagemaker-runtime")
    with Stubber(client) as stubber:
        stubber.add_client_error("invoke_endpoint_async", code, "Endpoint e not found.")
        with pytest.raises(EndpointUnavailable) as raised:
            SageMakerEndpoints(client).invoke(**REQUEST)
        assert raised.value.gone == gone


def test_an_invocation_names_its_answer() -> None:
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
def test_every_invocation_error_is_endpoint_unavailable(code: str, status: int) -> None:
    client = boto3.client("sagemaker-runtime")
    with Stubber(client) as stubber:
        stubber.add_client_error("invoke_endpoint_async", code, "why", http_status_code=status)
        with pytest.raises(EndpointUnavailable, match=r"endpoint e: .*why"):
            SageMakerEndpoints(client).invoke(**REQUEST)


def test_an_unreachable_endpoint_is_endpoint_unavailable() -> None:
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


def test_a_late_wake_is_normal_but_other_errors_raise() -> None:
    client = boto3.client("stepfunctions")
    with Stubber(client) as stubber:
        stubber.add_response("send_task_success", {})
        for code in ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken", "AccessDeniedException"):
            stubber.add_client_error("send_task_success", code)
        executions = StepFunctionsExecutions(client, MACHINE)
        assert [executions.wake("t") for _ in range(4)] == [True, False, False, False]
        with pytest.raises(ClientError, match="AccessDenied"):
            executions.wake("t")


def test_a_notice_is_cut_to_the_limits_of_sns() -> None:
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


def test_an_event_that_the_bus_rejects_is_an_error() -> None:
    client = boto3.client("events")
    with Stubber(client) as stubber:
        stubber.add_response("put_events", {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]})
        with pytest.raises(Unavailable, match="DriveLabelled"):
            AwsAnnouncements(events=client).publish("DriveLabelled", {"drive": "d"})


def test_an_event_reaches_the_bus_unchanged() -> None:
    client = boto3.client("events")
    with Stubber(client) as stubber:
        entry = {"Source": "autolabel", "DetailType": "DriveLabelled", "Detail": json.dumps({"drive": "é", "boxes": 1})}
        stubber.add_response("put_events", {"FailedEntryCount": 0, "Entries": []}, {"Entries": [entry]})
        AwsAnnouncements(events=client).publish("DriveLabelled", {"drive": "é", "boxes": 1})


def test_a_missing_execution_has_an_empty_status() -> None:
    client = boto3.client("stepfunctions")
    executions = StepFunctionsExecutions(client, MACHINE)
    with Stubber(client) as stubber:
        stubber.add_client_error("describe_execution", "ExecutionDoesNotExist")
        assert executions.status("d-0001") == ""
        arn = MACHINE.replace("stateMachine", "execution") + ":d-0001"
        described = {"executionArn": arn, "stateMachineArn": MACHINE, "startDate": 1, "status": "FAILED"}
        stubber.add_response("describe_execution", described, {"executionArn": arn})
        assert executions.status("d-0001") == "FAILED"
