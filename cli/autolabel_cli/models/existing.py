"""Endpoints that are there already: may the pipeline send its frames to them?"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from autolabel.aws.clients import error_code
from autolabel.contracts.units import ANSWERS
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack
from autolabel_cli.suggestions import did_you_mean


def accept_endpoint(stack: Stack, endpoint: str) -> None:
    """CommandError, with what to change, for an endpoint that does not answer as the pipeline needs it.

    It must be in service and asynchronous, write under the label bucket's `inference`, notify both topics of the
    stack, and run under a role that may publish to them.
    """
    sagemaker = stack.client("sagemaker")
    described = _describe(sagemaker, endpoint)
    status = described["EndpointStatus"]
    if status != "InService":
        reason = f": {described['FailureReason']}" if described.get("FailureReason") else ""
        raise CommandError(f"endpoint {endpoint} is {status}{reason}; add it once it is InService")
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
            told = topics.get(member, "nobody")
            raise CommandError(
                f"endpoint {endpoint} notifies {told}: the {member} of its AsyncInferenceConfig must be "
                f"{stack.output(name)}"
            )
    _check_role(stack, endpoint, config)


def _check_role(stack: Stack, endpoint: str, config: dict[str, Any]) -> None:
    """The topics let nobody publish but the stack's role for endpoints and those that it was told of."""
    model = config["ProductionVariants"][0].get("ModelName")
    described = stack.client("sagemaker").describe_model(ModelName=model) if model else config
    role = described.get("ExecutionRoleArn", "")
    extra = stack.parameters.get("ExtraPublisherRoles", "").split(",")
    if role not in (stack.output("EndpointRoleArn"), *extra):
        raise CommandError(
            f"endpoint {endpoint} runs as {role}, which may not publish to the stack's topics: create its model with "
            f"{stack.output('EndpointRoleArn')}, or deploy stack {stack.name!r} with ExtraPublisherRoles={role}"
        )


def _describe(sagemaker: Any, endpoint: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = sagemaker.describe_endpoint(EndpointName=endpoint)
    except ClientError as e:
        # SageMaker says that it could not find an endpoint under this code.
        if error_code(e) != "ValidationException":
            raise
        pages = sagemaker.get_paginator("list_endpoints").paginate()
        known = [summary["EndpointName"] for page in pages for summary in page["Endpoints"]]
        raise CommandError(f"there is no endpoint {endpoint!r}{did_you_mean(endpoint, known)}") from e
    return found
