"""Check the permissions of a stack: every statement of every policy of an expanded template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from tests.contract.template import INGEST, LABELS, listed, resolve

Tree = dict[str, Any]

_RESOURCE_POLICIES = ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy", "AWS::S3::BucketPolicy")
_IDENTITIES = ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::User", "AWS::IAM::Group")

THIS_ACCOUNT = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
FROM_INGEST = {"ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{INGEST}"}, **THIS_ACCOUNT}
FROM_TOPICS = {"ArnEquals": {"aws:SourceArn": [{"Ref": "SuccessTopic"}, {"Ref": "ErrorTopic"}]}}

# The only senders of each queue and topic, with their conditions.
SENDERS: dict[str, list[tuple[str, Tree]]] = {
    "SubmitQueue": [
        ("s3.amazonaws.com", FROM_INGEST),
        # For failed and expired requests; for units without a record; for drives whose document's event was lost.
        ("CollectFunctionRole", {}),
        ("ReconcileFunctionRole", {}),
        ("SweepFunctionRole", {}),
    ],
    # A function dead-letters messages that fail repeatedly.
    "SubmitDeadLetters": [("SubmitFunctionRole", {})],
    "CollectQueue": [("sns.amazonaws.com", FROM_TOPICS)],
    # Also receives messages that a topic's subscription could not deliver.
    "CollectDeadLetters": [("sns.amazonaws.com", FROM_TOPICS), ("CollectFunctionRole", {})],
    "SuccessTopic": [("EndpointRole", {}), ("EndpointRole", {})],
    "ErrorTopic": [("EndpointRole", {}), ("EndpointRole", {})],
    "OpsTopic": [
        # EventBridge passes no context to a topic's policy.
        ("events.amazonaws.com", {}),
        ("cloudwatch.amazonaws.com", THIS_ACCOUNT),
        # Allowed twice: by the topic's policy and by their own.
        *[(f"{name}FunctionRole", {}) for name in ("Submit", "Extract", "Sweep", "Assemble", "Publish")] * 2,
    ],
}
# The only principals that may assume each role.
TRUSTED: dict[str, list[tuple[str, Tree]]] = {
    "UploaderRole": [
        ("arn:aws:iam::123456789012:root", {"Null": {"aws:PrincipalTag/vehicle": "true"}}),
        ("arn:aws:iam::123456789012:root", {"StringEquals": {"aws:RequestTag/vehicle": "${aws:PrincipalTag/vehicle}"}}),
        # Of tags only.
        ("arn:aws:iam::123456789012:root", {"StringNotLike": {"aws:RequestTag/vehicle": ["", "*_*", "*/*"]}}),
    ],
    "EndpointRole": [("sagemaker.amazonaws.com", THIS_ACCOUNT)],
    "TrainingRole": [("sagemaker.amazonaws.com", THIS_ACCOUNT)],
    # IfExists: Ground Truth is not documented to send the account.
    "LabelingRole": [("sagemaker.amazonaws.com", {"StringEqualsIfExists": THIS_ACCOUNT["StringEquals"]})],
    "LabelDriveRole": [("states.amazonaws.com", THIS_ACCOUNT)],
    "ExtractLogRole": [("states.amazonaws.com", THIS_ACCOUNT)],
}
# Functions with a public URL, with the condition under which they exist. Label Studio cannot sign with IAM, so this
# function is public; it believes only signed requests, and uses them as hints only.
ADDRESSES = {"WebhookFunction": "HasLabelStudio"}
_TLS = {"Bool": {"aws:SecureTransport": "false"}}
_OF_A_FUNCTION: list[tuple[str, Tree]] = [("lambda.amazonaws.com", {})]

# Allowed wildcards: action and resource, each with its reason.
WIDE = {
    "ecr:GetAuthorizationToken [*]": "has no resource to name",
    "cloudwatch:PutMetricData [*]": "has no resource to name; a condition names the namespace",
    "xray:* [*]": "has no resource to name",
    "logs:*LogDelivery [*]": "has no resource to name",
    "logs:ListLogDeliveries [*]": "has no resource to name",
    "logs:PutResourcePolicy [*]": "has no resource to name",
    "logs:Describe* [*]": "has no resource to name",
    f"s3:* arn:aws:s3:::{INGEST}/drives/*": "frames and documents of drives",
    f"s3:* arn:aws:s3:::{LABELS}/labels/*": "documents of runs",
    f"s3:* arn:aws:s3:::{LABELS}/publishing/*": "parts of runs",
    f"s3:* arn:aws:s3:::{LABELS}/linking/*": "paths of runs",
    f"s3:* arn:aws:s3:::{LABELS}/views/*": "views of drives' frames",
    f"s3:* arn:aws:s3:::{LABELS}/scenes/*": "points of drives' frames whose cuboids reviewers get",
    f"s3:* arn:aws:s3:::{LABELS}/extractions/*": "extractions of drive logs",
    f"s3:* arn:aws:s3:::{LABELS}/audits/[*]": "audit results, by recipe",
    f"s3:* arn:aws:s3:::{LABELS}/corrections/[*]": "corrections that reviewers made, by recipe",
    f"s3:GetObject arn:aws:s3:::{LABELS}/exclusions/[*]": "decisions about reviewers and models",
    f"s3:* arn:aws:s3:::{LABELS}/inference/[*]": "answers",
    f"s3:* arn:aws:s3:::{LABELS}/inference-failures/[*]": "SageMaker's reports of failures",
    f"s3:GetObject arn:aws:s3:::{LABELS}/catalogue/uncertainty/[*]": "uncertainty maps, by recipe",
    f"s3:GetObject arn:aws:s3:::{LABELS}/catalogue/[*]": "the models' documents",
    f"s3:GetObject arn:aws:s3:::{LABELS}/models/[*]": "the models' artefacts",
    f"s3:GetObject arn:aws:s3:::{INGEST}/drives/[*].*": "frames of drives",
    f"s3:* arn:aws:s3:::{LABELS}/training/[*]": "training jobs, which are named after their data",
    f"s3:GetObject arn:aws:s3:::{LABELS}/[*]": "an endpoint may write answers at any key",
    "s3:PutObject arn:aws:s3:::AccessLogBucket/[*]": "S3's own access logs",
    "states:* arn:aws:states:*:123456789012:execution:autolabel-label-drive[:/][*]": "the machine's own executions",
    "states:* arn:aws:states:*:123456789012:execution:autolabel-extract-log[:/][*]": "the machine's own executions",
    "sagemaker:InvokeEndpointAsync arn:aws:sagemaker:*:endpoint/[*]": "models are added without a deployment",
    "sagemaker:DescribeEndpoint arn:aws:sagemaker:*:endpoint/[*]": "models are added without a deployment",
    "sagemaker:* arn:aws:sagemaker:*:123456789012:labeling-job/[*]": "jobs are named after drives",
    "ecr:* arn:aws:ecr:*:repository/[*]": "model images are in accounts of AWS and of the models' owners",
    "logs:* arn:aws:logs:*:123456789012:log-group:/aws/sagemaker/*": "logs of endpoints and labelling jobs",
    "events:* arn:aws:events:*:rule/StepFunctionsGetEventsForSageMaker[*]": "a rule that Step Functions names",
}


class Statement(NamedTuple):
    """One statement of a policy. `of`: its role or resource policy; `who`: the principals that it names."""

    of: str
    who: tuple[str, ...]
    body: Tree

    @property
    def allows(self) -> bool:
        return self.body.get("Effect") != "Deny"

    def covers(self, action: str, resource: str) -> bool:
        actions = (str(pattern).lower() for pattern in listed(self.body.get("Action", [])))
        resources = (str(pattern) for pattern in _texts(self.body.get("Resource", [])))
        return any(fnmatchcase(action.lower(), pattern) for pattern in actions) and any(
            fnmatchcase(resource, pattern) for pattern in resources
        )


def problems(tree: Tree) -> list[str]:
    """List every difference from the permissions above; empty for a stack whose policies are correct."""
    return [
        *(f"{name}: its senders are {found}, expected {wanted}" for name, found, wanted in _senders(tree)),
        *(f"{name}: it may be assumed by {found}, expected {wanted}" for name, found, wanted in _trust(tree)),
        *_shapes(tree),
        *_wildcards(tree),
        *_topics_for_others(tree),
        *_buckets(tree),
        *_plain_requests(tree),
        *_managed_policies(tree),
        *_other_doors(tree),
    ]


def statements(tree: Tree) -> Iterator[Statement]:
    """Yield every statement except those of trust policies."""
    for name, thing in tree["Resources"].items():
        properties = thing.get("Properties", {})
        if thing["Type"] in (*_RESOURCE_POLICIES, *_IDENTITIES):
            yield from _of_document(name, properties.get("PolicyDocument", {}))
        for policy in properties.get("Policies", []) if thing["Type"] == "AWS::IAM::Role" else []:
            yield from _of_document(name, policy["PolicyDocument"])


def _of_document(name: str, document: Tree) -> Iterator[Statement]:
    for body in listed(document.get("Statement", [])):
        yield Statement(name, _principals(body) or (name,), body)


def _principals(body: Tree) -> tuple[str, ...]:
    """List the names of roles, services and accounts; `*` stands for everyone."""
    named = body.get("Principal", {})
    if isinstance(named, str):
        return (named,)
    roles = "arn:aws:iam::123456789012:role/"
    return tuple(text.removeprefix(roles) for values in named.values() for text in _texts(values))


def _texts(value: Any) -> list[str]:
    """List the ARNs and names in a value, which may be one item or a list."""
    return [text for one in listed(value) for text in listed(resolve(one))]


def _plain(condition: Any) -> str:
    return json.dumps(resolve(condition), sort_keys=True)


def _senders(tree: Tree) -> Iterator[tuple[str, list[tuple[str, str]], list[tuple[str, str]]]]:
    action = {"AWS::SQS::Queue": "sqs:SendMessage", "AWS::SNS::Topic": "sns:Publish"}
    for name, thing in tree["Resources"].items():
        if thing["Type"] not in action:
            continue
        arn = f"arn:aws:{action[thing['Type']][:3]}:eu-central-1:123456789012:{name}"
        found = [
            (who, _plain(statement.body.get("Condition", {})))
            for statement in statements(tree)
            if statement.allows and statement.covers(action[thing["Type"]], arn)
            for who in statement.who
        ]
        wanted = [(who, _plain(condition)) for who, condition in SENDERS.get(name, [])]
        if sorted(found) != sorted(wanted):
            yield name, found, wanted


def _trust(tree: Tree) -> Iterator[tuple[str, list[tuple[str, str]], list[tuple[str, str]]]]:
    for name, thing in tree["Resources"].items():
        if thing["Type"] != "AWS::IAM::Role":
            continue
        found = [
            (who, _plain(body.get("Condition", {})))
            for body in listed(thing["Properties"]["AssumeRolePolicyDocument"]["Statement"])
            for who in _principals(body)
        ]
        wanted = [(who, _plain(condition)) for who, condition in TRUSTED.get(name, _OF_A_FUNCTION)]
        if found != wanted:
            yield name, found, wanted


def _shapes(tree: Tree) -> Iterator[str]:
    for of, who, body in statements(tree):
        if {"NotAction", "NotResource", "NotPrincipal"} & body.keys():
            yield f"{of}: a statement uses NotAction, NotResource or NotPrincipal: {body}"
        if body.get("Effect") not in ("Allow", "Deny") or "Action" not in body or "Resource" not in body:
            yield f"{of}: a statement without effect, action or resource: {body}"
        if body.get("Effect") == "Allow" and any("*" in one or one.endswith(":root") for one in who):
            yield f"{of}: a statement allows every principal: {body}"


def _wildcards(tree: Tree) -> Iterator[str]:
    for of, _, body in statements(tree):
        if body.get("Effect") != "Allow":
            continue
        for action in listed(body.get("Action", [])):
            if "*" in action or "?" in action:
                yield f"{of}: allows {action}"
            for resource in _texts(body.get("Resource", [])):
                if "*" not in resource and "?" not in resource:
                    continue
                if not any(fnmatchcase(f"{action} {resource}", known) for known in WIDE):
                    yield f"{of}: allows {action} on {resource}, which WIDE does not list"


def _topics_for_others(tree: Tree) -> Iterator[str]:
    """Find inference topics that do not deny other identities, whose own policies could allow them to publish."""
    endpoints = "arn:aws:iam::123456789012:role/EndpointRole"
    for name in ("SuccessTopic", "ErrorTopic"):
        arn = f"arn:aws:sns:eu-central-1:123456789012:{name}"
        denials = [
            s.body for s in statements(tree) if not s.allows and s.who == ("*",) and s.covers("sns:Publish", arn)
        ]
        if not any(
            body["Condition"].keys() == {"ArnNotEquals"}
            and body["Condition"]["ArnNotEquals"].keys() == {"aws:PrincipalArn"}
            and _texts(body["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]) == [endpoints]
            for body in denials
        ):
            yield f"{name}: roles other than the endpoints' role are not denied"
        covered = [p for p in tree["Resources"].values() if p["Type"] == "AWS::SNS::TopicPolicy"]
        if not any({"Ref": name} in policy["Properties"]["Topics"] for policy in covered):
            yield f"{name}: has no policy"


def _buckets(tree: Tree) -> Iterator[str]:
    blocks = {"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"}
    for name, thing in tree["Resources"].items():
        if thing["Type"] != "AWS::S3::Bucket":
            continue
        properties = thing["Properties"]
        access = properties.get("PublicAccessBlockConfiguration", {})
        if not all(access.get(block) is True for block in blocks):
            yield f"{name}: public access is not blocked"
        if properties.get("OwnershipControls") != {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}:
            yield f"{name}: objects may have their own access lists"
        if {"AccessControl", "WebsiteConfiguration"} & properties.keys():
            yield f"{name}: AccessControl or WebsiteConfiguration opens it"


def _plain_requests(tree: Tree) -> Iterator[str]:
    """Find buckets, queues and topics that do not deny requests without TLS."""
    # SNS takes only single actions in a topic's policy.
    actions = {
        "AWS::S3::Bucket": ("Bucket", ["s3:GetObject", "s3:PutObject"]),
        "AWS::SQS::Queue": ("Queues", ["sqs:SendMessage", "sqs:ReceiveMessage"]),
        "AWS::SNS::Topic": ("Topics", ["sns:Publish"]),
    }
    for name, thing in tree["Resources"].items():
        if thing["Type"] not in actions:
            continue
        attached, needed = actions[thing["Type"]]
        policies = {
            of for of, p in tree["Resources"].items() if {"Ref": name} in listed(p.get("Properties", {}).get(attached))
        }
        denials = [
            s
            for s in statements(tree)
            if s.of in policies and not s.allows and s.who == ("*",) and s.body.get("Condition") == _TLS
        ]
        arn = resolve({"Ref": name} if attached == "Topics" else {"Fn::GetAtt": f"{name}.Arn"})
        for resource in (arn, f"{arn}/key") if attached == "Bucket" else (arn,):
            if not any(all(s.covers(action, resource) for action in needed) for s in denials):
                yield f"{name}: {resource} may be reached without TLS"


def _managed_policies(tree: Tree) -> Iterator[str]:
    """Find roles with policies of AWS, which name no resource."""
    for name, thing in tree["Resources"].items():
        if thing["Type"] == "AWS::IAM::Role" and (found := thing["Properties"].get("ManagedPolicyArns")):
            yield f"{name}: has the policies {sorted(map(str, found))}"


def _other_doors(tree: Tree) -> Iterator[str]:
    """Find resources that grant access without any of the policies above."""
    doors = (
        *_IDENTITIES,
        "AWS::SQS::QueueInlinePolicy",
        "AWS::SNS::TopicInlinePolicy",
        "AWS::S3::AccessPoint",
        "AWS::IAM::AccessKey",
    )
    for name, thing in tree["Resources"].items():
        if thing["Type"] in doors and not _only_uses_the_key(thing) and not _only_works_with_the_key(thing):
            yield f"{name}: a {thing['Type']}"
    for name, thing in tree["Resources"].items():
        given = thing.get("Properties", {})
        if thing["Type"] == "AWS::Lambda::Url" and not _is_known_address(tree, thing):
            yield f"{name}: a function has an unexpected URL: {given}"
        if thing["Type"] == "AWS::Lambda::Permission" and not _is_by_known_address(thing):
            rule = given.get("SourceArn", {}).get("Fn::GetAtt", ["none"])[0]
            its_own = tree["Resources"].get(rule, {}).get("Type") == "AWS::Events::Rule"
            if given.get("Principal") != "events.amazonaws.com" or not its_own:
                yield f"{name}: a function has an unexpected permission: {given}"


def _only_uses_the_key(thing: Tree) -> bool:
    """Check for a policy that lets roles use the key by way of services that keep data, and do nothing else."""
    kept = {f"{service}.eu-central-1.amazonaws.com" for service in ("s3", "sqs", "sns", "dynamodb", "secretsmanager")}
    return thing["Type"] == "AWS::IAM::Policy" and all(
        body["Action"] in ("kms:Decrypt", "kms:GenerateDataKey")
        and body["Resource"] == {"Ref": "KmsKeyArn"}
        and body.get("Condition", {}).keys() == {"StringEquals"}
        and set(resolve(body["Condition"]["StringEquals"].get("kms:ViaService", ["any"]))) <= kept
        for body in thing["Properties"]["PolicyDocument"]["Statement"]
    )


def _only_works_with_the_key(thing: Tree) -> bool:
    """Check for a policy that gives the role of SageMaker's jobs what its guide asks for, and nothing else."""
    asked = ("Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "DescribeKey")
    labelling = {f"kms:{name}" for name in (*asked, "GenerateDataKey", "GenerateDataKeyWithoutPlaintext")}
    known = {"LabelingRole": labelling, "TrainingRole": {"kms:Encrypt"}}
    roles = [role.get("Ref") for role in thing["Properties"].get("Roles", [])]
    return thing["Type"] == "AWS::IAM::Policy" and all(
        all(body["Action"] in known.get(role, ()) for role in roles)
        and roles
        and body["Resource"] == {"Ref": "KmsKeyArn"}
        for body in thing["Properties"]["PolicyDocument"]["Statement"]
    )


def _is_known_address(tree: Tree, thing: Tree) -> bool:
    """Check for a public URL of a listed function whose reserved concurrency is small."""
    target = thing["Properties"].get("TargetFunctionArn", {}).get("Ref", "")
    function = tree["Resources"].get(target, {}).get("Properties", {})
    return (
        _is_of_addressed(thing, target)
        and thing["Properties"] == {"TargetFunctionArn": {"Ref": target}, "AuthType": "NONE"}
        and 1 <= resolve(function.get("ReservedConcurrentExecutions", 0)) <= 10
    )


def _is_by_known_address(thing: Tree) -> bool:
    """Check for the two permissions that Lambda needs for a public URL, and that allow no other way to invoke it."""
    target = thing["Properties"].get("FunctionName", {}).get("Ref", "")
    public = {"FunctionName": {"Ref": target}, "Principal": "*"}
    return _is_of_addressed(thing, target) and thing["Properties"] in (
        {**public, "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
        {**public, "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
    )


def _is_of_addressed(thing: Tree, target: str) -> bool:
    return target in ADDRESSES and thing.get("Condition") == ADDRESSES[target]
