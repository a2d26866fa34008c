"""Stacks of models: creates and deletes a stack of models/endpoint.yaml for each model with CloudFormation."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from botocore.exceptions import ClientError

from autolabel.aws import error_code
from autolabel.models import model_key
from autolabel_cli.errors import CommandError
from autolabel_cli.installation import endpoint_template
from autolabel_cli.stack import Stack
from autolabel_cli.suggestions import did_you_mean

# SageMaker's limit for the name of an endpoint. Its stack has the same name.
_MAX_NAME = 63
_MODEL_TAG = "autolabel:model"
_FINGERPRINT_TAG = "autolabel:deployment"
# Parameters of the template that are outputs of the pipeline's stack.
_OUTPUTS = {
    "LabelBucket": "LabelBucketName",
    "ExecutionRoleArn": "EndpointRoleArn",
    "SuccessTopicArn": "SuccessTopicArn",
    "ErrorTopicArn": "ErrorTopicArn",
    "OpsTopicArn": "OpsTopicArn",
    "KmsKeyId": "KmsKeyArn",
}
# Another key can be given.
_OURS = frozenset({"EndpointName", "Image", "ModelData", *_OUTPUTS}) - {"KmsKeyId"}
_FIRST_POLL, _LAST_POLL = 0.5, 5.0


@dataclass(frozen=True)
class Deployment:
    """Contents of an endpoint. `parameters`: further parameters of models/endpoint.yaml."""

    image: str
    model_data: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FormerStack:
    """What CloudFormation knows of a model's stack: its template as JSON or YAML, its parameters and tags."""

    template: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]


def endpoint_name(stack: str, model_id: str) -> str:
    """Derive the name of a revision's endpoint and stack from the pipeline's stack and `name.revision`."""
    name = f"{stack}-{model_id.replace('.', '-')}"
    if len(name) <= _MAX_NAME:
        return name
    # Two long names with the same beginning stay different.
    digest = hashlib.sha256(stack.encode()).hexdigest()[:8]
    rest = f"-{digest}-{model_id.replace('.', '-')}"
    return stack[: _MAX_NAME - len(rest)].rstrip("-") + rest


def check_parameters(given: Mapping[str, str]) -> None:
    """Check parameters. CommandError for one that models/endpoint.yaml does not have, or that the command derives."""
    known = _read_template()["Parameters"].keys() - _OURS
    for name in given:
        if name not in known:
            raise CommandError(
                f"models/endpoint.yaml has no parameter {name!r} that can be given; "
                f"known are {', '.join(sorted(known))}{did_you_mean(name, known)}"
            )


class ModelStack:
    """Stack of one endpoint, by its name."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.name = name
        self._stack = stack
        self._formation = stack.client("cloudformation")

    def exists(self) -> bool:
        return self._describe(self.name) is not None

    def belongs_to(self, name: str) -> bool:
        """Tell whether the stack exists, complete or not, and is of this model."""
        found = self._describe(self.name)
        return found is not None and _model_of(found) == name

    def holds(self, fingerprint: str) -> bool:
        """Tell whether the stack is complete and of a deployment with this fingerprint."""
        found = self._describe(self.name)
        return found is not None and _stands(found) and _tags(found).get(_FINGERPRINT_TAG) == fingerprint

    def deploy(self, deployment: Deployment, model_id: str, fingerprint: str, tell: Callable[[str], None]) -> None:
        """Create the stack, unless it is complete already, and wait for it. `tell(text)` gets the progress.

        A stack that an interrupted or another deployment left under this name is waited for or deleted first.
        CloudFormation deletes a deployment that fails: CommandError with the reason of the first failed resource.
        CommandError also for the stack of another model, and when another command added the revision meanwhile.
        """
        found = self._describe(self.name)
        if found and found["StackStatus"].endswith("_IN_PROGRESS"):
            self._await(found["StackId"], tell)
        if self.holds(fingerprint):
            return
        if self.exists():
            self._refuse_others(model_id)
            self.delete(tell)
        body, parameters = self._request(deployment)
        try:
            stack_id = self._create(body, parameters, {_MODEL_TAG: model_id, _FINGERPRINT_TAG: fingerprint})
        except ClientError as e:
            if error_code(e) != "AlreadyExistsException":
                raise
            # Another command was faster.
            self.deploy(deployment, model_id, fingerprint, tell)
            return
        self._await_creation(stack_id, model_id, tell)

    def former(self, name: str) -> FormerStack | None:
        """Find the stack, or else the last deleted one of this name, if it is of this model; None without one."""
        ids = [self.name] if self.exists() else self._deleted()
        for stack_id in ids:
            found = self._describe(stack_id)
            if found and _model_of(found) == name:
                body = self._formation.get_template(StackName=stack_id, TemplateStage="Original")["TemplateBody"]
                parameters = {p["ParameterKey"]: p["ParameterValue"] for p in found.get("Parameters", [])}
                # boto3 decodes a template that is JSON.
                return FormerStack(body if isinstance(body, str) else json.dumps(body), parameters, _tags(found))
        return None

    def restore(self, former: FormerStack, tell: Callable[[str], None]) -> None:
        """Create the stack again as it was, with the pipeline's present outputs; what is left of it is deleted first.

        CommandError as for `deploy`, and while another command works on the stack.
        """
        left = self._describe(self.name)
        if left and left["StackStatus"].endswith("_IN_PROGRESS"):
            raise CommandError(
                f"stack {self.name} is {left['StackStatus']}: another command works on it; wait until that has ended, "
                "and give this one again if the endpoint is still missing"
            )
        self.delete(tell)
        outputs = self._stack.outputs
        present = {p: outputs[o] for p, o in _OUTPUTS.items() if p in former.parameters and o in outputs}
        parameters = {**former.parameters, **present}
        stack_id = self._create(former.template, parameters, former.tags)
        self._await_creation(stack_id, former.tags[_MODEL_TAG], tell)

    def _create(self, template: str, parameters: Mapping[str, str], tags: Mapping[str, str]) -> str:
        created = self._formation.create_stack(
            StackName=self.name,
            TemplateBody=template,
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
            Tags=[{"Key": k, "Value": v} for k, v in tags.items()],
            OnFailure="DELETE",
        )
        return str(created["StackId"])

    def _await_creation(self, stack_id: str, model_id: str, tell: Callable[[str], None]) -> None:
        ended = self._await(stack_id, tell)
        if ended is None or not _stands(ended):
            reason = self._first_failure(stack_id)
            raise CommandError(f"{model_id} was not deployed, and nothing of it is left: {reason}")

    def _deleted(self) -> list[str]:
        """Return the ids of deleted stacks of this name, the last one first. CloudFormation keeps them 90 days."""
        pages = self._formation.get_paginator("list_stacks").paginate(StackStatusFilter=["DELETE_COMPLETE"])
        found = [one for page in pages for one in page["StackSummaries"] if one["StackName"] == self.name]
        return [one["StackId"] for one in sorted(found, key=lambda one: one["CreationTime"], reverse=True)]

    def _refuse_others(self, model_id: str) -> None:
        name = model_id.rpartition(".")[0]
        if not self.belongs_to(name):
            raise CommandError(
                f"stack {self.name} exists but is not of this model: give the model another name, or delete that stack"
            )
        if self._stack.labels.read(model_key(model_id)) is not None:
            raise CommandError(f"another command added {model_id} meanwhile: give the command again")

    def delete(self, tell: Callable[[str], None]) -> None:
        """Delete the stack, if it exists, and wait until it is deleted."""
        found = self._describe(self.name)
        if found is None:
            return
        self._formation.delete_stack(StackName=self.name)
        ended = self._await(found["StackId"], tell)
        if ended is not None and ended["StackStatus"] != "DELETE_COMPLETE":
            raise CommandError(
                f"stack {self.name} cannot be deleted: {self._first_failure(found['StackId'])}; "
                "fix that and give the command again"
            )

    def _request(self, deployment: Deployment) -> tuple[str, dict[str, str]]:
        template = _read_template()
        if deployment.environment:
            container = template["Resources"]["Model"]["Properties"]["PrimaryContainer"]
            container["Environment"] = {**container.get("Environment", {}), **deployment.environment}
        outputs = self._stack.outputs
        derived = {
            parameter: outputs[output]
            for parameter, output in _OUTPUTS.items()
            if parameter in template["Parameters"] and output in outputs
        }
        own = {"EndpointName": self.name, "Image": deployment.image, "ModelData": deployment.model_data}
        return json.dumps(template), {**derived, **deployment.parameters, **own}

    def _await(self, stack_id: str, tell: Callable[[str], None]) -> dict[str, Any] | None:
        """Wait until the stack has settled, and describe it; None for a deleted stack."""
        pause, said = _FIRST_POLL, ""
        while True:
            found = self._describe(stack_id)
            if found is None or not found["StackStatus"].endswith("_IN_PROGRESS"):
                return found
            events = self._formation.describe_stack_events(StackName=stack_id)["StackEvents"]
            if events and said != (said := f"{events[0]['LogicalResourceId']} {events[0]['ResourceStatus']}"):
                tell(f"stack {self.name}: {said}")
            # CloudFormation has no event for its end that this command could wait for.
            time.sleep(pause)
            pause = min(pause * 1.5, _LAST_POLL)

    def _describe(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._formation.describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as e:
            # CloudFormation has no other code for a stack that does not exist.
            if error_code(e) == "ValidationError":
                return None
            raise
        # A deleted stack can be described by its id only.
        return None if name == self.name and found["StackStatus"] == "DELETE_COMPLETE" else found

    def _first_failure(self, stack_id: str) -> str:
        events = self._formation.describe_stack_events(StackName=stack_id)["StackEvents"]
        failed = [e for e in reversed(events) if e["ResourceStatus"].endswith("_FAILED")]
        # A cancelled resource failed because of another one.
        causes = [e for e in failed if "cancelled" not in e.get("ResourceStatusReason", "")] or failed
        if not causes:
            return "CloudFormation gives no reason"
        return f"{causes[0]['LogicalResourceId']} failed: {causes[0].get('ResourceStatusReason', 'without a reason')}"


def fingerprint_of(deployment: Deployment, *sources: str) -> str:
    """Return a hash that differs between deployments. `sources`: the parts of the artefact with their hashes.

    The template counts without its comments and descriptions: a new wording alone does not deploy a model again.
    """
    said = [deployment.image, sorted(deployment.environment.items()), sorted(deployment.parameters.items()), *sources]
    template = _without_descriptions(_read_template())
    return hashlib.sha256(json.dumps([said, template], sort_keys=True).encode()).hexdigest()[:32]


def _stands(found: Mapping[str, Any]) -> bool:
    return found["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")


def _tags(found: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}


def model_id_of(found: Mapping[str, Any]) -> str:
    """Return the model of a described stack as `name.revision`; empty for a stack of something else."""
    return _tags(found).get(_MODEL_TAG, "")


def _model_of(found: Mapping[str, Any]) -> str:
    return model_id_of(found).rpartition(".")[0]


def _without_descriptions(part: object) -> object:
    if isinstance(part, dict):
        kept = {key: value for key, value in part.items() if key not in ("Description", "AlarmDescription")}
        return {key: _without_descriptions(value) for key, value in kept.items()}
    return [_without_descriptions(value) for value in part] if isinstance(part, list) else part


class _Loader(yaml.SafeLoader):
    """YAML loader that turns CloudFormation's short forms into the long ones."""


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _intrinsic)


def _read_template() -> dict[str, Any]:
    # `Any`: the parts of a CloudFormation template differ. S506 knows SafeLoader only by its own name.
    template: dict[str, Any] = yaml.load(endpoint_template().read_text(), Loader=_Loader)  # noqa: S506
    return template
