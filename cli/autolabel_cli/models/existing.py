"""Existing endpoints: checks whether the pipeline can use one."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from autolabel.aws import error_code
from autolabel.contracts.units import ANSWERS
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack
from autolabel_cli.suggestions import did_you_mean


def accept_endpoint(stack: Stack, endpoint: str) -> None:
    """Check that an endpoint answers as the pipeline needs it. CommandError says what to change.

    It must be in service and asynchronous, write under `inference/` of the label bucket, notify both topics of the
    stack, and run with a role that may publish to them.
    """
    sagemaker = stack.client("sagemaker")
    described = _describe(sagemaker, endpoint)
    status = described["EndpointStatus"]
    if status != "InService":
        reason = f": {described['FailureReason']}" if described.get("FailureReason") else ""
        raise CommandError(f"endpoint {endpoint} is {status}{reason}; add it when it is InService")
    config = sagemaker.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
    asynchronous = config.get("AsyncInferenceConfig")
    if not asynchronous:
        raise CommandError(
            f"endpoint {endpoint} is synchronous: give its configuration an AsyncInferenceConfig "
            "(models/endpoint.yaml has one) and update the endpoint"
        )
    output = asynchronous["OutputConfig"]
    wanted = f"{stack.labels.uri(ANSWERS)}"
    if output.get("S3OutputPath", "").rstrip("/") != wanted:
        raise CommandError(
            f"endpoint {endpoint} writes to {output.get('S3OutputPath', 'no path')}: its S3OutputPath must be {wanted}"
        )
    topics = output.get("NotificationConfig", {})
    for member, name in (("SuccessTopic", "SuccessTopicArn"), ("ErrorTopic", "ErrorTopicArn")):
        if topics.get(member) != stack.output(name):
            told = topics.get(member, "no topic")
            raise CommandError(
                f"endpoint {endpoint} notifies {told}: {member} of its AsyncInferenceConfig must be "
                f"{stack.output(name)}"
            )
    _check_role(stack, endpoint, config)


def _check_role(stack: Stack, endpoint: str, config: dict[str, Any]) -> None:
    """Check the role: only the stack's role for endpoints and its ExtraPublisherRoles may publish to the topics."""
    model = config["ProductionVariants"][0].get("ModelName")
    described = stack.client("sagemaker").describe_model(ModelName=model) if model else config
    role = described.get("ExecutionRoleArn", "")
    extra = stack.parameters.get("ExtraPublisherRoles", "").split(",")
    if role not in (stack.output("EndpointRoleArn"), *extra):
        raise CommandError(
            f"endpoint {endpoint} runs as {role}, which may not publish to the stack's topics: create its model with "
            f"role {stack.output('EndpointRoleArn')}, or deploy stack {stack.name!r} with ExtraPublisherRoles={role}"
        )


def _describe(sagemaker: Any, endpoint: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = sagemaker.describe_endpoint(EndpointName=endpoint)
    except ClientError as e:
        # SageMaker's code for an endpoint that does not exist.
        if error_code(e) != "ValidationException":
            raise
        pages = sagemaker.get_paginator("list_endpoints").paginate()
        known = [summary["EndpointName"] for page in pages for summary in page["Endpoints"]]
        raise CommandError(f"endpoint {endpoint!r} does not exist{did_you_mean(endpoint, known)}") from e
    return found
