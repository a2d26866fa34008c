"""`python -m tools.permission_use`: list the permissions of the stack's roles that no recorded run has used.

Tests and rehearsals write a record of each embedded cloud into build/permissions; this command reads those of the
present template.
Exit status 1 if a permission is unused without a reason, or if a reason is for no permission.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from rich.console import Console

from local import EmbeddedCloud
from tools.demo.deployment import PROJECT, STACK

# A changed template needs new records.
_VERSION = hashlib.sha256((PROJECT / "template.yaml").read_bytes()).hexdigest()[:12]
RECORDS = PROJECT / "build" / "permissions" / _VERSION

# Why a permission stays that no recorded request needs: `role action resource`, as a pattern.
REASONS = {
    "LabelDriveRole xray:*": "Step Functions itself sends an execution's traces",
    "ExtractLogRole xray:*": "as above",
    "LabelDriveRole logs:*": "Step Functions itself writes an execution's log",
    "ExtractLogRole logs:*": "as above",
    "LabelDriveRole states:*": "Step Functions itself starts, follows and stops the child executions of maps",
    "ExtractLogRole states:*": "as above",
    "LabelDriveRole s3:GetObject */map/[*]": "Step Functions reads the results that it wrote (guide, ResultWriter)",
    "ExtractLogRole s3:GetObject */map/[*]": "as above",
    "LabelDriveRole s3:ListMultipartUploadParts *": "Step Functions writes long results of maps in parts",
    "ExtractLogRole s3:ListMultipartUploadParts *": "as above",
    "LabelDriveRole s3:AbortMultipartUpload *": "as above",
    "ExtractLogRole s3:AbortMultipartUpload *": "as above",
    "LabelDriveRole events:*": "Step Functions itself makes the rule that tells it of the end of labelling jobs",
    "LabelDriveRole sagemaker:StopLabelingJob *": "Step Functions itself stops the job of a stopped execution",
    "LabelDriveRole sagemaker:AddTags *": "Step Functions tags the jobs that it waits for, and reads the tags",
    "LabelDriveRole sagemaker:ListTags *": "as above",
    "LabelingRole lambda:*": "Ground Truth itself invokes its own functions",
    "LabelingRole logs:*": "Ground Truth itself writes the log of a job",
    "LabelingRole cloudwatch:*": "Ground Truth itself sends the metrics of a job",
    "LabelingRole s3:GetBucketLocation *": "Ground Truth needs it (guide, sms-security-permission-execution-role)",
    "LabelingRole s3:ListBucket *": "as above",
    "LabelingRole s3:AbortMultipartUpload *": "as above",
    "EndpointRole ecr:*": "SageMaker itself pulls the image of a model",
    "EndpointRole logs:*": "SageMaker itself writes the log of a model",
    "EndpointRole cloudwatch:*": "SageMaker itself sends the metrics of a model",
    "EndpointRole s3:ListBucket *": "SageMaker needs it for asynchronous endpoints (guide, async-inference)",
    "EndpointRole s3:AbortMultipartUpload *": "as above",
    "TrainingRole ecr:*": "SageMaker itself pulls the image of a training job",
    "TrainingRole logs:*": "SageMaker itself writes the log of a training job",
    "TrainingRole cloudwatch:*": "SageMaker itself sends the metrics of a training job",
    "TrainingRole s3:*": "make loop uses them, which is not one of these runs",
    "TrainingRole kms:*": "as above",
    "CollectFunctionRole s3:ListBucket *": "only for a model's missing revision: S3 says 404, and not 403",
    "SweepFunctionRole s3:ListBucket *LabelBucket": "only for a missing listing, as above",
    "ExtractFunctionRole s3:ListBucket *LabelBucket": "only for a missing slice, as above",
    "ExtractFunctionRole dynamodb:GetItem *": "only where a frame of another place of the log is there already",
    "ExtractFunctionRole states:StartExecution *": "only for another log of the drive whose start was lost",
    "LabelFunctionRole s3:ListBucket *IngestBucket": "only for a frame that is gone, as above",
    "PublishFunctionRole s3:ListBucket *IngestBucket": "as above, for the report's pictures",
    "*FunctionRole s3:GetObject *exclusions/[*]": "only after an exclusion: tests/contract/test_excluding.py",
    "UploaderRole kms:Decrypt *": "S3 reads the parts of an upload when it is completed",
    "*FunctionRole s3:AbortMultipartUpload *": "only for objects of many megabytes: tests/contract/test_bucket.py",
}


class Permission(NamedTuple):
    """An action that a role may take on a resource. `resource`: an ARN, in a policy with wildcards and variables."""

    role: str
    action: str
    resource: str

    def __str__(self) -> str:
        return f"{self.role} {self.action} {self.resource}"

    def covers(self, request: Permission) -> bool:
        """Tell whether this permission of a policy allows a request, whose conditions are not looked at."""
        pattern = re.sub(r"\$\{[^}]+\}", "*", self.resource)
        same = (self.role, self.action.lower()) == (request.role, request.action.lower())
        return same and fnmatchcase(request.resource, pattern)


def keep_permission_use(cloud: EmbeddedCloud, run: str) -> None:
    """Write which permissions of the stack's roles the cloud has used; `run`: the name of the record."""
    names = dict(_logical_names(cloud))
    lines = (cloud.folder / "allowed.jsonl").read_text().splitlines()
    requests = [Permission(**json.loads(line)) for line in lines]
    RECORDS.mkdir(parents=True, exist_ok=True)
    with (RECORDS / f"{run}.jsonl").open("w") as out:
        for granted in _granted(cloud, names):
            used = any(map(granted.covers, requests))
            permission = granted._replace(role=names[granted.role], resource=_readable(granted.resource, names))
            out.write(json.dumps({**permission._asdict(), "used": used}) + "\n")


def _logical_names(cloud: EmbeddedCloud) -> Iterator[tuple[str, str]]:
    """Yield the name of each named resource of the stack with its logical id."""
    for page in cloud.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK):
        for resource in page["StackResourceSummaries"]:
            name = re.split("[:/]", resource["PhysicalResourceId"])[-1]
            if name.startswith(f"{STACK}-"):
                yield name, resource["LogicalResourceId"]


def _granted(cloud: EmbeddedCloud, names: Mapping[str, str]) -> Iterator[Permission]:
    """Yield each permission of the stack's roles, with generated names."""
    iam = cloud.client("iam")
    for role in (name for name, logical in names.items() if logical.endswith("Role")):
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document: dict[str, Any] = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
            for statement in document["Statement"]:
                if statement["Effect"] == "Allow":
                    resources = statement["Resource"]
                    for resource in [resources] if isinstance(resources, str) else resources:
                        yield Permission(role, statement["Action"], resource)


def _readable(resource: str, names: Mapping[str, str]) -> str:
    """Replace generated names in an ARN, longer names first, so that the permission is the same in every cloud."""
    for name in sorted(names, key=len, reverse=True):
        resource = resource.replace(name, names[name])
    return re.sub(":key/.+", ":key/KmsKeyArn", resource)


def recorded() -> dict[Permission, bool]:
    """Read all records of this template: each permission, and whether a run has used it."""
    use: dict[Permission, bool] = {}
    for record in sorted(RECORDS.glob("*.jsonl")):
        for line in record.read_text().splitlines():
            found = json.loads(line)
            permission = Permission(found["role"], found["action"], found["resource"])
            use[permission] = found["used"] or use.get(permission, False)
    return use


def problems(use: Mapping[Permission, bool], reasons: Mapping[str, str]) -> list[str]:
    """List unused permissions without a reason, and reasons that match no permission."""
    unused = [str(permission) for permission, used in use.items() if not used]
    return [
        *(f"unused: {one}" for one in unused if not any(fnmatchcase(one, pattern) for pattern in reasons)),
        *(
            f"a reason for no permission: {pattern}"
            for pattern in reasons
            if not any(fnmatchcase(str(permission), pattern) for permission in use)
        ),
    ]


def main() -> None:
    """Print what the records show."""
    console = Console(highlight=False, soft_wrap=True)
    use = recorded()
    if not use:
        console.print("no run of this template is recorded: run make test, make test-label-studio and make chaos first")
        sys.exit(1)
    found = problems(use, REASONS)
    for line in sorted(found):
        console.print(line, markup=False)
    unused = sum(not used for used in use.values())
    console.print(f"{len(use)} permissions, {len(use) - unused} used, {unused} unused; {len(found)} problems")
    if found:
        sys.exit(1)


if __name__ == "__main__":
    main()
