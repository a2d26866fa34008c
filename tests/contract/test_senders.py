"""Queues, topics and buckets of the expanded template accept only known senders, and every loosening is reported."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from autolabel.contracts.run_folder import RunFolder
from tests.contract.permissions import SENDERS, problems, statements
from tests.contract.template import (
    INGEST,
    LABELS,
    ROOT,
    WITH_KEY,
    WITH_LABEL_STUDIO,
    WITHOUT_LABEL_STUDIO,
    in_stack,
    template,
)

TRANSFORM = """
import json, sys
from samtranslator.translator.transform import transform
json.dump(transform(json.load(sys.stdin), {}, None), sys.stdout)
"""


@pytest.fixture(scope="module")
def expanded() -> dict[str, Any]:
    """Give the template as CloudFormation receives it, with the roles and mappings that SAM creates."""
    tree = copy.deepcopy(template())
    for thing in tree["Resources"].values():
        for code in {"CodeUri", "ContentUri", "DefinitionUri"} & thing.get("Properties", {}).keys():
            # `sam package` replaces local paths by such a URI.
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
    """Give the stack with Label Studio, and the one without."""
    return in_stack(copy.deepcopy(expanded), request.param)


@pytest.fixture
def addressed(expanded: dict[str, Any]) -> dict[str, Any]:
    """Give the stack in which one function has a URL."""
    return in_stack(copy.deepcopy(expanded), WITH_LABEL_STUDIO)


def test_only_known_senders_reach_queues_topics_and_buckets(stack: dict[str, Any]) -> None:
    assert problems(stack) == []


def test_the_labelling_role_cannot_read_what_tells_seeds(stack: dict[str, Any]) -> None:
    role = [one for one in statements(stack) if one.of == "LabelingRole"]
    folder = RunFolder("d", "0001")

    def may_read(key: str) -> bool:
        found = [one.allows for one in role if one.covers("s3:GetObject", f"arn:aws:s3:::{LABELS}/{key}")]
        return bool(found) and all(found)

    assert may_read(folder.job_manifest(0))
    assert may_read(folder.label_categories)
    assert may_read(folder.worker_page)
    assert may_read(folder.segmentation("front/1"))
    assert not may_read(folder.seeds("0123456789ab"))
    assert not may_read(folder.shard(0, "linked.manifest.jsonl"))
    assert not may_read(folder.masks("front/1"))
    assert not may_read(f"{folder.manifests}verify-000.results.jsonl")
    assert not may_read(f"{folder.manifests}verify-000.attempt-1.results.jsonl")


@pytest.mark.parametrize("role", ["LabelingRole", "VerifyFunctionRole", "AssembleFunctionRole", "PublishFunctionRole"])
def test_with_views_who_shows_frames_can_read_none(expanded: dict[str, Any], role: str) -> None:
    frame, view = f"arn:aws:s3:::{INGEST}/drives/d/front/1.png", f"arn:aws:s3:::{LABELS}/views/d/blur.0001/front/1.png"
    for holding, of_frames in ((WITH_LABEL_STUDIO, True), (WITH_LABEL_STUDIO | {"ShowsViews"}, False)):
        allowed = [one for one in statements(in_stack(expanded, holding)) if one.of == role and one.allows]
        assert any(one.covers("s3:GetObject", frame) for one in allowed) is of_frames
        assert any(one.covers("s3:GetObject", view) for one in allowed)


def test_every_queue_and_topic_has_a_list_of_senders(stack: dict[str, Any]) -> None:
    kinds = ("AWS::SQS::Queue", "AWS::SNS::Topic")
    assert sorted(SENDERS) == sorted(n for n, thing in stack["Resources"].items() if thing["Type"] in kinds)
    assert len(list(statements(stack))) > 80


def test_only_a_stack_with_label_studio_has_a_function_url(expanded: dict[str, Any]) -> None:
    def doors(holding: frozenset[str]) -> list[str]:
        kinds = ("AWS::Lambda::Url", "AWS::Lambda::Permission")
        there = in_stack(expanded, holding)["Resources"]
        return sorted(name for name, thing in there.items() if thing["Type"] in kinds and "Webhook" in name)

    assert doors(WITHOUT_LABEL_STUDIO) == []
    assert len(doors(WITH_LABEL_STUDIO)) == 3
    for name in ("WebhookFunction", "WebhookFunctionRole", "WebhookLogs"):
        assert expanded["Resources"][name]["Condition"] == "HasLabelStudio"


@pytest.mark.parametrize(
    "changes", [{}, {"Action": "kms:CreateGrant"}, {"Resource": "*"}, {"Condition": {}}], ids=lambda one: str([*one])
)
def test_roles_use_a_key_by_way_of_services_only(expanded: dict[str, Any], changes: dict[str, Any]) -> None:
    keyed = in_stack(copy.deepcopy(expanded), WITH_KEY)
    document(keyed, "UseKmsKey")[1].update(changes)
    assert bool(problems(keyed)) is bool(changes)


# Loosenings


def document(tree: dict[str, Any], name: str) -> Any:
    """Find the statements of a resource's policy, or of a role's first own policy."""
    properties = tree["Resources"][name]["Properties"]
    return properties.get("PolicyDocument", (properties.get("Policies") or [{}])[0].get("PolicyDocument"))["Statement"]


def in_statement(name: str, index: int, **changes: Any) -> Callable[[dict[str, Any]], None]:
    """Change fields of a statement; None removes a field."""

    def loosen(tree: dict[str, Any]) -> None:
        body = document(tree, name)[index]
        body.update(changes)
        for field in [field for field, value in body.items() if value is None]:
            del body[field]

    return loosen


def without(name: str, index: int) -> Callable[[dict[str, Any]], None]:
    return lambda tree: document(tree, name).pop(index)


def more(name: str, **body: Any) -> Callable[[dict[str, Any]], None]:
    """Add a statement that allows something."""
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
    "everyone sends to submit": in_statement("SubmitQueuePolicy", 0, Principal="*"),
    "any account sends to submit": in_statement("SubmitQueuePolicy", 0, Principal={"AWS": "*"}),
    "this account sends to submit": in_statement("SubmitQueuePolicy", 0, Principal=ALL_IN_ACCOUNT),
    "another service sends to submit": in_statement("SubmitQueuePolicy", 0, Principal={"Service": "sns.amazonaws.com"}),
    "any bucket sends to submit": in_statement("SubmitQueuePolicy", 0, Condition=None),
    "a bucket of this name in any account": in_statement(
        "SubmitQueuePolicy", 0, Condition={"ArnEquals": {"aws:SourceArn": arn("IngestBucket")}}
    ),
    "a bucket with a similar name": in_statement(
        "SubmitQueuePolicy", 0, Condition={"ArnLike": {"aws:SourceArn": "arn:aws:s3:::autolabel-*"}}
    ),
    "S3 may do everything to submit": in_statement("SubmitQueuePolicy", 0, Action="sqs:*"),
    "S3 sends to every queue": in_statement("SubmitQueuePolicy", 0, Resource="*"),
    "S3 sends to the dead letters": in_statement("SubmitQueuePolicy", 0, Resource=arn("SubmitDeadLetters")),
    "everyone except S3": in_statement(
        "SubmitQueuePolicy", 0, Principal=None, NotPrincipal={"Service": "s3.amazonaws.com"}
    ),
    "everything except deleting": in_statement("SubmitQueuePolicy", 0, Action=None, NotAction="sqs:DeleteMessage"),
    "an additional statement for submit": more("SubmitQueuePolicy", **SEND, Principal={"AWS": "arn:aws:iam::1:role/x"}),
    "any topic sends to collect": in_statement("CollectQueuePolicy", 0, Condition=None),
    "the ops topic sends to collect": in_statement(
        "CollectQueuePolicy",
        0,
        Condition={"ArnEquals": {"aws:SourceArn": [{"Ref": "SuccessTopic"}, {"Ref": "OpsTopic"}]}},
    ),
    "a topic with a similar name": in_statement(
        "CollectQueuePolicy", 0, Condition={"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:123456789012:*"}}
    ),
    "everyone sends to collect": in_statement("CollectQueuePolicy", 0, Principal="*"),
    "label sends to submit": more("LabelFunctionRole", Action="sqs:SendMessage", Resource=arn("SubmitQueue")),
    "label sends to collect": more("LabelFunctionRole", Action=["sqs:SendMessage"], Resource=[arn("CollectQueue")]),
    "label may do everything to a queue": more("LabelFunctionRole", Action="sqs:*", Resource=arn("SubmitQueue")),
    "label sends to every queue": more("LabelFunctionRole", Action="sqs:SendMessage", Resource="*"),
    "label sends to queues with a prefix": more(
        "LabelFunctionRole", Action="sqs:Send*", Resource="arn:aws:sqs:eu-central-1:123456789012:Sub*"
    ),
    "the uploader sends": more("UploaderRole", Action="sqs:SendMessage", Resource=arn("SubmitQueue")),
    "the denial to publish is missing": without("InferenceTopicsPolicy", 1),
    "the denial covers one topic only": in_statement("InferenceTopicsPolicy", 1, Resource={"Ref": "SuccessTopic"}),
    "the denial excepts the account": in_statement(
        "InferenceTopicsPolicy", 1, Condition={"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::123456789012:*"}}
    ),
    "the denial excepts another role": in_statement(
        "InferenceTopicsPolicy",
        1,
        Condition={"ArnNotEquals": {"aws:PrincipalArn": [arn("EndpointRole"), arn("UploaderRole")]}},
    ),
    "the denial covers one account only": in_statement(
        "InferenceTopicsPolicy", 1, Principal={"AWS": "arn:aws:iam::1:root"}
    ),
    "the denial is a permission": in_statement("InferenceTopicsPolicy", 1, Effect="Allow"),
    "everyone publishes answers": in_statement("InferenceTopicsPolicy", 0, Principal="*"),
    "the account publishes answers": in_statement("InferenceTopicsPolicy", 0, Principal=ALL_IN_ACCOUNT),
    "a topic without its policy": in_properties("InferenceTopicsPolicy", Topics=[{"Ref": "SuccessTopic"}]),
    "label publishes answers": more("LabelFunctionRole", Action="sns:Publish", Resource={"Ref": "SuccessTopic"}),
    "alarms of any account": in_statement("OpsTopicPolicy", 1, Condition=None),
    "another service tells operators": in_statement("OpsTopicPolicy", 0, Principal={"Service": "s3.amazonaws.com"}),
    "EventBridge may do everything to ops": in_statement("OpsTopicPolicy", 0, Action="sns:*"),
    "label tells operators": more("LabelFunctionRole", Action="sns:Publish", Resource={"Ref": "OpsTopic"}),
    "the ingest bucket without TLS": without("IngestBucketPolicy", 0),
    "objects without TLS": in_statement("IngestBucketPolicy", 0, Resource=arn("IngestBucket")),
    "reading without TLS": in_statement("LabelBucketPolicy", 0, Action="s3:PutObject"),
    "a queue without TLS": without("CollectQueuePolicy", 1),
    "sending without TLS": in_statement("SubmitQueuePolicy", 1, Action="sqs:ReceiveMessage"),
    "dead letters without TLS": in_properties("SubmitQueuePolicy", Queues=[{"Ref": "SubmitQueue"}]),
    "a topic without TLS": without("OpsTopicPolicy", 3),
    "answers without TLS": in_statement("InferenceTopicsPolicy", 2, Resource={"Ref": "SuccessTopic"}),
    "any service writes access logs": in_statement("AccessLogBucketPolicy", 1, Principal={"Service": "*"}),
    "TLS for one account only": in_statement("LabelBucketPolicy", 0, Principal=ALL_IN_ACCOUNT),
    "everyone reads frames": more(
        "IngestBucketPolicy", Principal="*", Action="s3:GetObject", Resource={"Fn::Sub": "${IngestBucket.Arn}/*"}
    ),
    "a bucket may be public": in_properties("IngestBucket", PublicAccessBlockConfiguration={"BlockPublicAcls": True}),
    "a bucket is public": in_properties("LabelBucket", AccessControl="PublicRead"),
    "objects belong to their uploaders": in_properties("LabelBucket", OwnershipControls=None),
    "the uploader may do everything": in_statement("UploaderRole", 0, Action="s3:*"),
    "the uploader puts anywhere": in_statement("UploaderRole", 0, Resource={"Fn::Sub": "${IngestBucket.Arn}/*"}),
    "any role may be passed": more("LabelDriveRole", Action="iam:PassRole", Resource="*"),
    "every resource except one": more("PlanFunctionRole", Action="s3:GetObject", NotResource=arn("IngestBucket")),
    "everyone may be an endpoint": trusted("EndpointRole", Principal={"AWS": "*"}),
    "SageMaker of any account": trusted("LabelingRole", Condition={}),
    "an uploader is every vehicle": trusted("UploaderRole", Condition={}),
    "everyone uploads": trusted("UploaderRole", Principal="*"),
    "another account's function": trusted("SubmitFunctionRole", Principal={"AWS": "arn:aws:iam::1:root"}),
    "a function is an administrator": in_properties(
        "LabelFunctionRole", ManagedPolicyArns=["arn:aws:iam::aws:policy/AdministratorAccess"]
    ),
    "a role receives from queues": in_properties(
        "UploaderRole", ManagedPolicyArns=["arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole"]
    ),
    "another managed policy": resource("AWS::IAM::ManagedPolicy", PolicyDocument={"Statement": [SEND]}),
    "another queue policy": resource(
        "AWS::SQS::QueuePolicy", Queues=[], PolicyDocument={"Statement": [{**SEND, "Principal": "*"}]}
    ),
    "everyone may invoke a function": resource(
        "AWS::Lambda::Permission", Action="lambda:InvokeFunction", Principal="*"
    ),
    "any rule may invoke a function": resource(
        "AWS::Lambda::Permission", Action="lambda:InvokeFunction", Principal="events.amazonaws.com"
    ),
    "a function has a URL": resource("AWS::Lambda::Url", AuthType="NONE"),
    "a function writes to a whole bucket": more(
        "LabelFunctionRole", Action="s3:PutObject", Resource={"Fn::Sub": "${LabelBucket.Arn}/*"}
    ),
}


@pytest.mark.parametrize("loosen", LOOSENINGS.values(), ids=LOOSENINGS)
def test_a_loosened_policy_is_reported(stack: dict[str, Any], loosen: Callable[[dict[str, Any]], None]) -> None:
    loosen(stack)
    assert problems(stack)


def unconditionally(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda tree: tree["Resources"][name].pop("Condition")


OTHER = {"Ref": "VerifyFunction"}
OPENINGS = {
    "another function has the URL": in_properties("WebhookFunctionUrl", TargetFunctionArn=OTHER),
    "a URL without Label Studio": unconditionally("WebhookFunctionUrl"),
    "a URL for browsers": in_properties("WebhookFunctionUrl", Cors={"AllowOrigins": ["*"]}),
    "a URL of one version": in_properties("WebhookFunctionUrl", Qualifier="live"),
    "a reservation of the account's concurrency": in_properties("WebhookFunction", ReservedConcurrentExecutions=1000),
    "no reserved concurrency": lambda tree: tree["Resources"]["WebhookFunction"]["Properties"].pop(
        "ReservedConcurrentExecutions"
    ),
    "everyone invokes another function": in_properties("WebhookFunctionUrlPublicPermissions", FunctionName=OTHER),
    "everyone invokes it without the URL": lambda tree: tree["Resources"]["WebhookFunctionURLInvokeAllowPublicAccess"][
        "Properties"
    ].pop("InvokedViaFunctionUrl"),
    "everyone changes it": in_properties("WebhookFunctionUrlPublicPermissions", Action="lambda:*"),
    "everyone invokes it without Label Studio": unconditionally("WebhookFunctionUrlPublicPermissions"),
    "it reads any secret": more("WebhookFunctionRole", Action="secretsmanager:GetSecretValue", Resource="*"),
    "it ends any execution": more(
        "WebhookFunctionRole", Action="states:SendTaskSuccess", Resource="arn:aws:states:eu-central-1:123456789012:*"
    ),
    "it sends to submit": more("WebhookFunctionRole", Action="sqs:SendMessage", Resource=arn("SubmitQueue")),
    "verify tells operators": more("VerifyFunctionRole", Action="sns:Publish", Resource={"Ref": "OpsTopic"}),
}


@pytest.mark.parametrize("loosen", OPENINGS.values(), ids=OPENINGS)
def test_a_loosened_function_url_is_reported(
    addressed: dict[str, Any], loosen: Callable[[dict[str, Any]], None]
) -> None:
    loosen(addressed)
    assert problems(addressed)
