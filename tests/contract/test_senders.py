"""Queues, topics and buckets of the expanded template take from their own senders only, and any loosening shows."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.permissions import SENDERS, problems, statements
from tests.contract.template import ROOT, WITH_LABEL_STUDIO, WITHOUT_LABEL_STUDIO, in_stack, template

TRANSFORM = """
import json, sys
from samtranslator.translator.transform import transform
json.dump(transform(json.load(sys.stdin), {}, None), sys.stdout)
"""


@pytest.fixture(scope="module")
def expanded() -> dict[str, Any]:
    """The template as CloudFormation gets it, with the roles and mappings that SAM makes."""
    tree = copy.deepcopy(template())
    for thing in tree["Resources"].values():
        for code in {"CodeUri", "ContentUri", "DefinitionUri"} & thing.get("Properties", {}).keys():
            # Where `sam package` puts what lies on this machine.
            thing["Properties"][code] = "s3://artefacts/built"
    ended = subprocess.run(
        [ROOT / ".venv-sam" / "bin" / "python", "-c", TRANSFORM],
        input=json.dumps(tree),
        capture_output=True,
        text=True,
        check=True,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "AWS_DEFAULT_REGION": "eu-central-1"},
    )
    built: dict[str, Any] = json.loads(ended.stdout)
    return built


@pytest.fixture(params=[WITH_LABEL_STUDIO, WITHOUT_LABEL_STUDIO], ids=["Label Studio", "Ground Truth alone"])
def stack(expanded: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    """The stack with Label Studio, and without."""
    return in_stack(copy.deepcopy(expanded), request.param)


@pytest.fixture
def addressed(expanded: dict[str, Any]) -> dict[str, Any]:
    """The stack in which one function has an address."""
    return in_stack(copy.deepcopy(expanded), WITH_LABEL_STUDIO)


def test_only_their_own_senders_reach_queues_and_topics_and_nobody_else_anything(stack: dict[str, Any]) -> None:
    assert problems(stack) == []


def test_every_queue_and_topic_has_its_senders_written_down(stack: dict[str, Any]) -> None:
    kinds = ("AWS::SQS::Queue", "AWS::SNS::Topic")
    assert sorted(SENDERS) == sorted(n for n, thing in stack["Resources"].items() if thing["Type"] in kinds)
    assert len(list(statements(stack))) > 80


def test_a_function_has_an_address_where_label_studio_is_set_up_and_only_there(expanded: dict[str, Any]) -> None:
    def doors(holding: frozenset[str]) -> list[str]:
        kinds = ("AWS::Lambda::Url", "AWS::Lambda::Permission")
        there = in_stack(expanded, holding)["Resources"]
        return sorted(name for name, thing in there.items() if thing["Type"] in kinds and "Webhook" in name)

    assert doors(WITHOUT_LABEL_STUDIO) == []
    assert len(doors(WITH_LABEL_STUDIO)) == 3
    for name in ("WebhookFunction", "WebhookFunctionRole", "WebhookLogs"):
        assert expanded["Resources"][name]["Condition"] == "HasLabelStudio"


# Loosenings


def document(tree: dict[str, Any], name: str) -> Any:
    """The statements of a resource's policy, or of a role's own first one."""
    properties = tree["Resources"][name]["Properties"]
    return properties.get("PolicyDocument", (properties.get("Policies") or [{}])[0].get("PolicyDocument"))["Statement"]


def in_statement(name: str, index: int, **changes: Any) -> Callable[[dict[str, Any]], None]:
    """A statement with other fields; None leaves a field out."""

    def loosen(tree: dict[str, Any]) -> None:
        body = document(tree, name)[index]
        body.update(changes)
        for field in [field for field, value in body.items() if value is None]:
            del body[field]

    return loosen


def without(name: str, index: int) -> Callable[[dict[str, Any]], None]:
    return lambda tree: document(tree, name).pop(index)


def more(name: str, **body: Any) -> Callable[[dict[str, Any]], None]:
    """One more statement that allows something."""
    return lambda tree: document(tree, name).append({"Effect": "Allow", **body})


def in_properties(name: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda tree: tree["Resources"][name]["Properties"].update(changes)


def trusted(name: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    def loosen(tree: dict[str, Any]) -> None:
        body = tree["Resources"][name]["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]
        body.update(changes)

    return loosen


def resource(kind: str, **properties: Any) -> Callable[[dict[str, Any]], None]:
    return lambda tree: tree["Resources"].update({"Another": {"Type": kind, "Properties": properties}})


def arn(name: str) -> dict[str, str]:
    return {"Fn::GetAtt": f"{name}.Arn"}


ALL_IN_ACCOUNT = {"AWS": "arn:aws:iam::123456789012:root"}
SEND = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn("SubmitQueue")}
LOOSENINGS = {
    "anybody sends to submit": in_statement("SubmitQueuePolicy", 0, Principal="*"),
    "any account sends to submit": in_statement("SubmitQueuePolicy", 0, Principal={"AWS": "*"}),
    "this account sends to submit": in_statement("SubmitQueuePolicy", 0, Principal=ALL_IN_ACCOUNT),
    "another service sends to submit": in_statement("SubmitQueuePolicy", 0, Principal={"Service": "sns.amazonaws.com"}),
    "any bucket sends to submit": in_statement("SubmitQueuePolicy", 0, Condition=None),
    "any account's bucket of that name": in_statement(
        "SubmitQueuePolicy", 0, Condition={"ArnEquals": {"aws:SourceArn": arn("IngestBucket")}}
    ),
    "a bucket of such a name": in_statement(
        "SubmitQueuePolicy", 0, Condition={"ArnLike": {"aws:SourceArn": "arn:aws:s3:::autolabel-*"}}
    ),
    "S3 does all to submit": in_statement("SubmitQueuePolicy", 0, Action="sqs:*"),
    "S3 sends to every queue": in_statement("SubmitQueuePolicy", 0, Resource="*"),
    "S3 sends to dead letters": in_statement("SubmitQueuePolicy", 0, Resource=arn("SubmitDeadLetters")),
    "all but S3": in_statement("SubmitQueuePolicy", 0, Principal=None, NotPrincipal={"Service": "s3.amazonaws.com"}),
    "all but deleting": in_statement("SubmitQueuePolicy", 0, Action=None, NotAction="sqs:DeleteMessage"),
    "one more statement for submit": more("SubmitQueuePolicy", **SEND, Principal={"AWS": "arn:aws:iam::1:role/x"}),
    "any topic sends to collect": in_statement("CollectQueuePolicy", 0, Condition=None),
    "the ops topic sends to collect": in_statement(
        "CollectQueuePolicy",
        0,
        Condition={"ArnEquals": {"aws:SourceArn": [{"Ref": "SuccessTopic"}, {"Ref": "OpsTopic"}]}},
    ),
    "a topic of such a name": in_statement(
        "CollectQueuePolicy", 0, Condition={"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:123456789012:*"}}
    ),
    "anybody sends to collect": in_statement("CollectQueuePolicy", 0, Principal="*"),
    "label sends to submit": more("LabelFunctionRole", Action="sqs:SendMessage", Resource=arn("SubmitQueue")),
    "label sends to collect": more("LabelFunctionRole", Action=["sqs:SendMessage"], Resource=[arn("CollectQueue")]),
    "label does all to queues": more("LabelFunctionRole", Action="sqs:*", Resource=arn("SubmitQueue")),
    "label sends anywhere": more("LabelFunctionRole", Action="sqs:SendMessage", Resource="*"),
    "label sends to queues of a prefix": more(
        "LabelFunctionRole", Action="sqs:Send*", Resource="arn:aws:sqs:eu-central-1:123456789012:Sub*"
    ),
    "the uploader sends": more("UploaderRole", Action="sqs:SendMessage", Resource=arn("SubmitQueue")),
    "nobody is denied to publish": without("InferenceTopicsPolicy", 1),
    "one topic denies nobody": in_statement("InferenceTopicsPolicy", 1, Resource={"Ref": "SuccessTopic"}),
    "the denial spares the account": in_statement(
        "InferenceTopicsPolicy", 1, Condition={"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::123456789012:*"}}
    ),
    "the denial spares many": in_statement(
        "InferenceTopicsPolicy",
        1,
        Condition={"ArnNotEquals": {"aws:PrincipalArn": [arn("EndpointRole"), arn("UploaderRole")]}},
    ),
    "the denial is for some": in_statement("InferenceTopicsPolicy", 1, Principal={"AWS": "arn:aws:iam::1:root"}),
    "the denial is a permission": in_statement("InferenceTopicsPolicy", 1, Effect="Allow"),
    "anybody publishes answers": in_statement("InferenceTopicsPolicy", 0, Principal="*"),
    "the account publishes answers": in_statement("InferenceTopicsPolicy", 0, Principal=ALL_IN_ACCOUNT),
    "a topic without its policy": in_properties("InferenceTopicsPolicy", Topics=[{"Ref": "SuccessTopic"}]),
    "label publishes answers": more("LabelFunctionRole", Action="sns:Publish", Resource={"Ref": "SuccessTopic"}),
    "any account's alarms": in_statement("OpsTopicPolicy", 1, Condition=None),
    "another service tells operators": in_statement("OpsTopicPolicy", 0, Principal={"Service": "s3.amazonaws.com"}),
    "EventBridge does all to ops": in_statement("OpsTopicPolicy", 0, Action="sns:*"),
    "label tells operators": more("LabelFunctionRole", Action="sns:Publish", Resource={"Ref": "OpsTopic"}),
    "frames without TLS": without("IngestBucketPolicy", 0),
    "objects without TLS": in_statement("IngestBucketPolicy", 0, Resource=arn("IngestBucket")),
    "reading without TLS": in_statement("LabelBucketPolicy", 0, Action="s3:PutObject"),
    "some without TLS": in_statement("LabelBucketPolicy", 0, Principal=ALL_IN_ACCOUNT),
    "anybody reads frames": more(
        "IngestBucketPolicy", Principal="*", Action="s3:GetObject", Resource={"Fn::Sub": "${IngestBucket.Arn}/*"}
    ),
    "a bucket may be public": in_properties("IngestBucket", PublicAccessBlockConfiguration={"BlockPublicAcls": True}),
    "a bucket is public": in_properties("LabelBucket", AccessControl="PublicRead"),
    "objects of their owners": in_properties("LabelBucket", OwnershipControls=None),
    "the uploader does all": in_statement("UploaderRole", 0, Action="s3:*"),
    "the uploader puts anywhere": in_statement("UploaderRole", 0, Resource={"Fn::Sub": "${IngestBucket.Arn}/*"}),
    "roles are passed freely": more("LabelDriveRole", Action="iam:PassRole", Resource="*"),
    "all but one resource": more("PlanFunctionRole", Action="s3:GetObject", NotResource=arn("IngestBucket")),
    "anybody is an endpoint": trusted("EndpointRole", Principal={"AWS": "*"}),
    "any account's SageMaker": trusted("LabelingRole", Condition={}),
    "anybody uploads": trusted("UploaderRole", Principal="*"),
    "another account's function": trusted("SubmitFunctionRole", Principal={"AWS": "arn:aws:iam::1:root"}),
    "a function is an administrator": in_properties(
        "LabelFunctionRole", ManagedPolicyArns=["arn:aws:iam::aws:policy/AdministratorAccess"]
    ),
    "a function takes from queues": in_properties(
        "UploaderRole", ManagedPolicyArns=["arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole"]
    ),
    "a policy for anybody": resource("AWS::IAM::ManagedPolicy", PolicyDocument={"Statement": [SEND]}),
    "a policy beside the first": resource(
        "AWS::SQS::QueuePolicy", Queues=[], PolicyDocument={"Statement": [{**SEND, "Principal": "*"}]}
    ),
    "a function is anybody's": resource("AWS::Lambda::Permission", Action="lambda:InvokeFunction", Principal="*"),
    "any rule calls a function": resource(
        "AWS::Lambda::Permission", Action="lambda:InvokeFunction", Principal="events.amazonaws.com"
    ),
    "a function has an address": resource("AWS::Lambda::Url", AuthType="NONE"),
    "a function writes all of a bucket": more(
        "LabelFunctionRole", Action="s3:PutObject", Resource={"Fn::Sub": "${LabelBucket.Arn}/*"}
    ),
}


@pytest.mark.parametrize("loosen", LOOSENINGS.values(), ids=LOOSENINGS)
def test_a_loosened_policy_is_noticed(stack: dict[str, Any], loosen: Callable[[dict[str, Any]], None]) -> None:
    loosen(stack)
    assert problems(stack)


def unconditionally(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda tree: tree["Resources"][name].pop("Condition")


OTHER = {"Ref": "VerifyFunction"}
OPENINGS = {
    "another function has an address": in_properties("WebhookFunctionUrl", TargetFunctionArn=OTHER),
    "an address without Label Studio": unconditionally("WebhookFunctionUrl"),
    "an address that browsers use": in_properties("WebhookFunctionUrl", Cors={"AllowOrigins": ["*"]}),
    "an address of one version": in_properties("WebhookFunctionUrl", Qualifier="live"),
    "it takes the account's concurrency": in_properties("WebhookFunction", ReservedConcurrentExecutions=1000),
    "it takes what there is": lambda tree: tree["Resources"]["WebhookFunction"]["Properties"].pop(
        "ReservedConcurrentExecutions"
    ),
    "anybody calls another function": in_properties("WebhookFunctionUrlPublicPermissions", FunctionName=OTHER),
    "anybody calls it in any way": lambda tree: tree["Resources"]["WebhookFunctionURLInvokeAllowPublicAccess"][
        "Properties"
    ].pop("InvokedViaFunctionUrl"),
    "anybody changes it": in_properties("WebhookFunctionUrlPublicPermissions", Action="lambda:*"),
    "anybody calls it without Label Studio": unconditionally("WebhookFunctionUrlPublicPermissions"),
    "it reads any secret": more("WebhookFunctionRole", Action="secretsmanager:GetSecretValue", Resource="*"),
    "it ends any execution": more(
        "WebhookFunctionRole", Action="states:SendTaskSuccess", Resource="arn:aws:states:eu-central-1:123456789012:*"
    ),
    "it asks for frames": more("WebhookFunctionRole", Action="sqs:SendMessage", Resource=arn("SubmitQueue")),
    "verify tells operators": more("VerifyFunctionRole", Action="sns:Publish", Resource={"Ref": "OpsTopic"}),
}


@pytest.mark.parametrize("loosen", OPENINGS.values(), ids=OPENINGS)
def test_an_opened_address_is_noticed(addressed: dict[str, Any], loosen: Callable[[dict[str, Any]], None]) -> None:
    loosen(addressed)
    assert problems(addressed)
