"""The deployed stack that a command works on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from autolabel.aws.bucket import S3Bucket
from autolabel.aws.ledger import DynamoLedger
from cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Stack:
    """A deployed stack: its outputs by name; `client` makes the boto3 client of a service that reaches it."""

    name: str
    outputs: Mapping[str, str]
    client: Callable[[str], Any]

    @classmethod
    def find(cls, name: str, client: Callable[[str], Any] = boto3.client) -> Stack:
        """Look a stack up by its name; CommandError when there is none or nobody may look."""
        try:
            found = client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        except (ClientError, BotoCoreError) as e:
            raise CommandError(f"there is no stack {name!r} to work on: {e}") from e
        outputs = {o["OutputKey"]: o["OutputValue"] for o in found.get("Outputs", [])}
        missing = {"IngestBucketName", "LabelBucketName", "LedgerName", "StateMachineArn"} - outputs.keys()
        if missing:
            raise CommandError(
                f"stack {name!r} is {found['StackStatus']} and no autolabel: it has no {sorted(missing)}"
            )
        return cls(name, outputs, client)

    @cached_property
    def ingest(self) -> S3Bucket:
        return S3Bucket(self.client("s3"), self.outputs["IngestBucketName"])

    @cached_property
    def labels(self) -> S3Bucket:
        return S3Bucket(self.client("s3"), self.outputs["LabelBucketName"])

    @cached_property
    def ledger(self) -> DynamoLedger:
        return DynamoLedger(self.client("dynamodb"), self.outputs["LedgerName"])

    def execution_arn(self, name: str) -> str:
        """The ARN of the state machine's execution of that name."""
        return self.outputs["StateMachineArn"].replace(":stateMachine:", ":execution:") + f":{name}"
