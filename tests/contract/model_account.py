"""A stack to which models come: buckets and ledger by moto, other services as tests say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
from botocore.exceptions import ClientError

from autolabel.models.catalogue import Model
from autolabel_cli.models.bringing import bring_source
from autolabel_cli.models.catalogue import change_index, without_model
from autolabel_cli.models.documents import draft_model
from autolabel_cli.models.removal import remove_model
from autolabel_cli.models.sources import Source
from autolabel_cli.stack import Stack
from tests.contract.conftest import create_bucket, create_table
from tests.fakes.answers import answer

IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/street:1"
ROLE = "arn:aws:iam::123456789012:role/endpoints"
OUTPUTS = {
    "IngestBucketName": "ingest",
    "LabelBucketName": "labels",
    "LedgerName": "ledger",
    "StateMachineArn": "arn:aws:states:eu-central-1:1:stateMachine:m",
    "EndpointRoleArn": ROLE,
    "SuccessTopicArn": "arn:aws:sns:eu-central-1:123456789012:success",
    "ErrorTopicArn": "arn:aws:sns:eu-central-1:123456789012:error",
}


def refused(operation: str, code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


class SageMaker:
    """One endpoint, `theirs`, as the pipeline wants it unless a test changes it; `said` maps images to answers."""

    def __init__(self) -> None:
        self.status = "InService"
        self.role = ROLE
        self.config: dict[str, Any] = {
            "ProductionVariants": [{"ModelName": "m"}],
            "AsyncInferenceConfig": {
                "OutputConfig": {
                    "S3OutputPath": "s3://labels/inference",
                    "NotificationConfig": {
                        "SuccessTopic": OUTPUTS["SuccessTopicArn"],
                        "ErrorTopic": OUTPUTS["ErrorTopicArn"],
                    },
                }
            },
        }

    @property
    def output(self) -> dict[str, Any]:
        found: dict[str, Any] = self.config["AsyncInferenceConfig"]["OutputConfig"]
        return found

    @property
    def topics(self) -> dict[str, str]:
        found: dict[str, str] = self.output["NotificationConfig"]
        return found

    def describe_endpoint(self, EndpointName: str) -> dict[str, str]:  # noqa: N803 (boto3's own name)
        if EndpointName != "theirs":
            raise refused("DescribeEndpoint", "ValidationException", "Could not find endpoint")
        return {"EndpointStatus": self.status, "EndpointConfigName": "c"}

    def describe_endpoint_config(self, **_: Any) -> dict[str, Any]:
        return self.config

    def describe_model(self, **_: Any) -> dict[str, str]:
        return {"ExecutionRoleArn": self.role}

    def get_paginator(self, _: str) -> SageMaker:
        return self

    def paginate(self) -> Iterator[dict[str, Any]]:
        return iter([{"Endpoints": [{"EndpointName": "theirs"}]}])


class Runtime:
    """Endpoints that answer at once with `body`, or fail."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3
        self.body = answer()
        self.fails = False
        self.silent = False
        self.asked: dict[str, Any] = {}

    def invoke_endpoint_async(self, **asked: Any) -> dict[str, str]:
        self.asked = asked
        place = f"inference/{asked['S3OutputPathExtension']}/{asked['Filename']}"
        failure = "inference-failures/f.out"
        if self.silent:
            return {"OutputLocation": f"s3://labels/{place}"}
        self._s3.put_object(Bucket="labels", Key=failure if self.fails else place, Body=self.body)
        return {"OutputLocation": f"s3://labels/{place}", "FailureLocation": f"s3://labels/{failure}"}


class States:
    """The running executions."""

    def __init__(self) -> None:
        self.running: list[str] = []

    def get_paginator(self, _: str) -> States:
        return self

    def paginate(self, **_: Any) -> Iterator[dict[str, Any]]:
        return iter([{"executions": [{"name": name} for name in self.running]}])


class Formation:
    """Stacks that stand at once, or fail with a reason; `meanwhile` happens before the next one is created."""

    def __init__(self) -> None:
        self.stacks: dict[str, dict[str, Any]] = {}
        self.created: list[dict[str, Any]] = []
        self.fails = ""
        self.meanwhile: list[Callable[[], object]] = []

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 (boto3's own name)
        if StackName not in self.stacks:
            raise refused("DescribeStacks", "ValidationError", "does not exist")
        return {"Stacks": [self.stacks[StackName]]}

    def create_stack(self, **asked: Any) -> dict[str, str]:
        while self.meanwhile:
            self.meanwhile.pop()()
        if asked["StackName"] in self.stacks:
            raise refused("CreateStack", "AlreadyExistsException", "Stack exists")
        self.created.append(asked)
        status = "DELETE_COMPLETE" if self.fails else "CREATE_COMPLETE"
        number = len(self.created)
        stack = {
            "StackName": asked["StackName"],
            "StackId": f"id-{asked['StackName']}-{number}",
            "StackStatus": status,
            "Tags": asked["Tags"],
            "Parameters": asked["Parameters"],
            "TemplateBody": json.loads(asked["TemplateBody"]),
            "CreationTime": number,
        }
        self.stacks[stack["StackId"]] = stack
        if not self.fails:
            self.stacks[asked["StackName"]] = stack
        return {"StackId": stack["StackId"]}

    def delete_stack(self, StackName: str) -> None:  # noqa: N803 (boto3's own name)
        stack = self.stacks.pop(StackName)
        stack["StackStatus"] = "DELETE_COMPLETE"

    def get_template(self, StackName: str, TemplateStage: str) -> dict[str, Any]:  # noqa: N803 (boto3's own names)
        return {"TemplateBody": self.stacks[StackName]["TemplateBody"]}

    def get_paginator(self, _: str) -> Formation:
        return self

    def paginate(self, StackStatusFilter: list[str]) -> Iterator[dict[str, Any]]:  # noqa: N803 (boto3's own name)
        """One stack a page."""
        return ({"StackSummaries": [s]} for s in list(self.stacks.values()) if s["StackStatus"] in StackStatusFilter)

    def describe_stack_events(self, **_: Any) -> dict[str, Any]:
        cancelled = {"ResourceStatusReason": "Resource creation cancelled"}
        failed = {"LogicalResourceId": "Endpoint", "ResourceStatus": "CREATE_FAILED"}
        return {"StackEvents": [{**failed, **cancelled}, {**failed, "ResourceStatusReason": self.fails}]}


class Account:
    """A deployed stack without models."""

    def __init__(self) -> None:
        self.s3 = create_bucket("labels", boto3.client("s3"))
        create_bucket("ingest", self.s3)
        create_bucket("weights", self.s3)
        database = boto3.client("dynamodb")
        create_table("ledger", database)
        self.sagemaker, self.states, self.formation, self.runtime = SageMaker(), States(), Formation(), Runtime(self.s3)
        clients = {
            "s3": self.s3,
            "dynamodb": database,
            "sagemaker": self.sagemaker,
            "sagemaker-runtime": self.runtime,
            "stepfunctions": self.states,
            "cloudformation": self.formation,
        }
        self.stack = Stack("autolabel", OUTPUTS, {}, clients.__getitem__)


def draft(name: str = "street", **given: Any) -> Model:
    return draft_model(name, None, None, "jumpstart-detection", given)


def bring(account: Account, source: Source | None = None, **given: Any) -> Any:
    chosen: dict[str, Any] = {"parameters": given.pop("parameters", {}), "active": given.pop("active", None)}
    return bring_source(account.stack, draft(**given), source or Source(IMAGE), **chosen, tell=lambda text: None)


def remove(account: Account, name: str = "street", force: bool = False) -> Any:
    return remove_model(account.stack, name, force=force, tell=lambda text: None)


def remove_from_catalogue(account: Account) -> None:
    """As if the command had died before it wrote the document."""
    change_index(account.stack, lambda index: without_model(index, "street"))
    account.s3.delete_object(Bucket="labels", Key="catalogue/models/street/0001.json")
