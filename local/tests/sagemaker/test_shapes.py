"""Requests are checked against the service model; errors name the member and the value."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from local.sagemaker.errors import UnknownOperation, ValidationFailed
from local.sagemaker.shapes import check_request, input_shape


def _refusal(operation: str, request: Mapping[str, object], service: str = "sagemaker") -> str:
    with pytest.raises(ValidationFailed) as refused:
        check_request(service, operation, request)
    return refused.value.message


def test_an_empty_request_names_every_required_member() -> None:
    message = _refusal("CreateEndpoint", {})
    assert message.startswith("2 validation errors detected")
    assert "'endpointName'" in message
    assert "'endpointConfigName'" in message


def test_a_request_that_fits_passes() -> None:
    check_request("sagemaker", "CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c"})


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("bad_name", "regular expression pattern"),
        ("x" * 64, "length less than or equal to 63"),
        (7, "of type string, not int"),
        (None, "must not be null"),
    ],
)
def test_a_refused_name_comes_with_the_broken_rule(value: object, rule: str) -> None:
    message = _refusal("CreateEndpoint", {"EndpointName": value, "EndpointConfigName": "c"})
    assert "'endpointName'" in message
    assert rule in message


def test_a_member_that_does_not_exist_is_refused() -> None:
    assert "'endpointNames'" in _refusal("DescribeEndpoint", {"EndpointName": "e", "EndpointNames": "x"})


def test_rules_apply_inside_lists_and_structures() -> None:
    variant = {"VariantName": "v", "InstanceType": "ml.none", "InitialInstanceCount": 0}
    message = _refusal("CreateEndpointConfig", {"EndpointConfigName": "c", "ProductionVariants": [variant]})
    assert "'productionVariants.1.member.instanceType'" in message
    assert "enum value set" in message
    assert "'productionVariants.1.member.initialInstanceCount'" in message


def test_a_boolean_is_not_a_number() -> None:
    request = {"EndpointName": "e", "DesiredWeightsAndCapacities": [{"VariantName": "v", "DesiredInstanceCount": True}]}
    assert "of type integer, not bool" in _refusal("UpdateEndpointWeightsAndCapacities", request)


def test_an_inference_id_must_begin_with_a_visible_character() -> None:
    message = _refusal("InvokeEndpointAsync", {"EndpointName": "e", "InferenceId": " x"}, "sagemaker-runtime")
    assert "'inferenceId'" in message


def test_a_file_name_may_have_one_dot() -> None:
    check_request("sagemaker-runtime", "InvokeEndpointAsync", {"EndpointName": "e", "Filename": "a.out"})
    assert "'filename'" in _refusal(
        "InvokeEndpointAsync", {"EndpointName": "e", "Filename": "a.b.out"}, "sagemaker-runtime"
    )


def test_an_operation_that_sagemaker_does_not_have_is_unknown() -> None:
    with pytest.raises(UnknownOperation, match="CreateUnicorn"):
        input_shape("sagemaker", "CreateUnicorn")


def test_the_installed_boto3_knows_the_members_for_output_names() -> None:
    members = input_shape("sagemaker-runtime", "InvokeEndpointAsync").members
    assert {"Filename", "S3OutputPathExtension", "Body"} <= members.keys()
