"""Requests that no boto3 client sends, and calls within the process."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from local.sagemaker import service
from local.sagemaker.errors import SageMakerError, UnknownOperation, UnsupportedHere
from local.tests.sagemaker.stand_in import ROLE, StandIn


def _send(stand_in: StandIn, path: str = "/", body: bytes = b"", **headers: str) -> tuple[int, dict[str, Any]]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    status, _, answer = asyncio.run(stand_in.service.handle_request("POST", path, sent, body, {}))
    return status, json.loads(answer)


def test_a_request_without_a_target_is_refused(stand_in: StandIn) -> None:
    status, error = _send(stand_in)
    assert (status, error["__type"]) == (400, "ValidationException")


@pytest.mark.parametrize(("body", "reason"), [(b"{", "not JSON"), (b"[]", "not a JSON object")])
def test_a_body_that_is_not_a_json_object_is_refused(stand_in: StandIn, body: bytes, reason: str) -> None:
    status, error = _send(stand_in, body=body, x_amz_target="SageMaker.ListModels")
    assert (status, error["__type"]) == (400, "SerializationException")
    assert reason in error["message"]


def test_an_operation_that_does_not_exist_is_unknown(stand_in: StandIn) -> None:
    assert _send(stand_in, x_amz_target="SageMaker.MakeCoffee")[1]["__type"] == "UnknownOperationException"
    with pytest.raises(UnknownOperation):
        stand_in.service.call("MakeCoffee", {})


def test_an_operation_that_is_not_implemented_raises_in_process_too(stand_in: StandIn) -> None:
    with pytest.raises(UnsupportedHere, match="CreateTransformJob"):
        stand_in.service.call("CreateTransformJob", {})


def test_a_runtime_header_that_should_be_a_number_is_named(stand_in: StandIn) -> None:
    stand_in.create_endpoint()
    status, error = _send(
        stand_in,
        "/endpoints/ep/async-invocations",
        b"x",
        X_Amzn_SageMaker_RequestTTLSeconds="soon",
    )
    assert status == 400
    assert "RequestTTLSeconds" in error["message"]


def test_answers_of_the_control_plane_are_plain_json_values(stand_in: StandIn) -> None:
    stand_in.service.call(
        "CreateModel",
        {"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": "stub"}},
    )
    described = stand_in.service.call("DescribeModel", {"ModelName": "m"})
    assert json.loads(json.dumps(described)) == described
    assert isinstance(described["CreationTime"], float)


def test_before_the_start_a_call_fails_and_a_stop_has_no_effect() -> None:
    service.stop()
    with pytest.raises(RuntimeError, match="has not been started"):
        service.call("ListModels", {})


def test_an_error_has_code_message_and_status(stand_in: StandIn) -> None:
    with pytest.raises(SageMakerError) as refused:
        stand_in.service.call("DescribeEndpoint", {"EndpointName": "none"})
    assert (refused.value.code, refused.value.status) == ("ValidationException", 400)
    assert "none" in refused.value.message
