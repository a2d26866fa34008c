"""The deployed stack that a command works on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from autolabel.aws import DynamoLedger, S3Bucket, StepFunctionsExecutions, error_code
from autolabel.contracts.drive import FIRST_RUN
from autolabel_cli.errors import CommandError, explain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# The outcome of a run with a dataset.
_PUBLISHED = "published"


@dataclass(frozen=True)
class Stack:
    """Deployed stack with its outputs and parameters by name. `client(service)` makes a boto3 client for it."""

    name: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
    client: Callable[[str], Any]

    @classmethod
    def find(cls, name: str, client: Callable[[str], Any] = boto3.client) -> Stack:
        """Look up a stack by its name. CommandError when it does not exist or may not be read."""
        try:
            found = client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        except (ClientError, BotoCoreError) as e:
            # CloudFormation has no other code for a stack that does not exist.
            if isinstance(e, ClientError) and error_code(e) == "ValidationError":
                raise CommandError(f"stack {name!r} does not exist: name the deployed stack with --stack") from e
            raise CommandError(f"cannot read stack {name!r}: {explain(e)}") from e
        outputs = {o["OutputKey"]: o["OutputValue"] for o in found.get("Outputs", [])}
        missing = {"IngestBucketName", "LabelBucketName", "LedgerName", "StateMachineArn"} - outputs.keys()
        if missing:
            raise CommandError(
                f"stack {name!r} ({found['StackStatus']}) is not an autolabel stack: it has no output "
                f"{', '.join(sorted(missing))}; name another with --stack"
            )
        parameters = {p["ParameterKey"]: p["ParameterValue"] for p in found.get("Parameters", [])}
        return cls(name, outputs, parameters, client)

    def output(self, name: str) -> str:
        """Return an output that older stacks do not have. CommandError when this stack lacks it."""
        return self._given(self.outputs, name)

    def parameter(self, name: str) -> str:
        """Return a parameter that the stack was deployed with. CommandError when it has none of this name."""
        return self._given(self.parameters, name)

    @property
    def shows_views(self) -> bool:
        """Check whether people see views of all drives' frames."""
        return self.parameters.get("Privacy") == "blur"

    def _given(self, values: Mapping[str, str], name: str) -> str:
        if name not in values:
            raise CommandError(f"stack {self.name!r} is older than this command: it has no {name}; deploy it again")
        return values[name]

    @cached_property
    def ingest(self) -> S3Bucket:
        return S3Bucket(self.client("s3"), self.outputs["IngestBucketName"])

    @cached_property
    def labels(self) -> S3Bucket:
        return S3Bucket(self.client("s3"), self.outputs["LabelBucketName"])

    @cached_property
    def ledger(self) -> DynamoLedger:
        return DynamoLedger(self.client("dynamodb"), self.outputs["LedgerName"])

    @cached_property
    def executions(self) -> StepFunctionsExecutions:
        return StepFunctionsExecutions(self.client("stepfunctions"), self.outputs["StateMachineArn"])

    def resources(self, kind: str) -> dict[str, str]:
        """Return the names or ARNs of the stack's resources of a type, by their logical ids."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.name)
        found = (one for page in pages for one in page["StackResourceSummaries"] if one["ResourceType"] == kind)
        return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found if "PhysicalResourceId" in one}

    def execution_arn(self, name: str) -> str:
        """Return the ARN of the state machine's execution of this name."""
        return self.outputs["StateMachineArn"].replace(":stateMachine:", ":execution:") + f":{name}"

    def run_of(self, drive: str, run: str | None = None) -> str:
        """Return the named run, else the latest, else the name that the first run will have."""
        if run is not None:
            return run
        latest = self.ledger.latest_run(drive)
        return latest.run if latest else FIRST_RUN

    def published_run(self, drive: str, wanted: str = "") -> str:
        """Return the name of a published run: the wanted one, else the latest. CommandError when there is none."""
        latest = self.ledger.latest_run(drive)
        if latest is None:
            raise CommandError(f"stack {self.name!r} has no run of drive {drive!r}: see autolabel status {drive}")
        names = [f"{number:04d}" for number in range(int(FIRST_RUN), int(latest.run) + 1)]
        if wanted and wanted not in names:
            raise CommandError(f"drive {drive!r} has no run {wanted!r}; its runs are: {', '.join(names)}")
        for run in [wanted] if wanted else reversed(names):
            if self.ledger.outcome(drive, run) == _PUBLISHED:
                return run
        what = f"run {wanted} of drive {drive!r} is not" if wanted else f"no run of drive {drive!r} is"
        raise CommandError(f"{what} published: see autolabel status {drive}")
