"""Who may do what in a stack: every statement of every policy of an expanded template, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from tests.contract.template import INGEST, LABELS, listed, resolve

Tree = dict[str, Any]

_RESOURCE_POLICIES = ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy", "AWS::S3::BucketPolicy")
_IDENTITIES = ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::User", "AWS::IAM::Group")
# What SAM gives the role of a function: its log and its traces; to those behind a queue, taking messages from queues.
_LOGS = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
_TRACES = "arn:aws:iam::aws:policy/AWSXrayWriteOnlyAccess"
_TAKES = "arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole"

THIS_ACCOUNT = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
FROM_INGEST = {"ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{INGEST}"}, **THIS_ACCOUNT}
FROM_TOPICS = {"ArnEquals": {"aws:SourceArn": [{"Ref": "SuccessTopic"}, {"Ref": "ErrorTopic"}]}}

# Who may send to what, and under which condition: this and nothing else.
SENDERS: dict[str, list[tuple[str, Tree]]] = {
    "SubmitQueue": [
        ("s3.amazonaws.com", FROM_INGEST),
        # What failed or expired is asked for again, what nobody knows of, and drives whose document's event was lost.
        ("CollectFunctionRole", {}),
        ("ReconcileFunctionRole", {}),
        ("SweepFunctionRole", {}),
    ],
    # A function puts aside what fails again and again.
    "SubmitDeadLetters": [("SubmitFunctionRole", {})],
    "CollectQueue": [("sns.amazonaws.com", FROM_TOPICS)],
    # Of the subscriptions as well: what a topic could not deliver.
    "CollectDeadLetters": [("sns.amazonaws.com", FROM_TOPICS), ("CollectFunctionRole", {})],
    "SuccessTopic": [("EndpointRole", {}), ("EndpointRole", {})],
    "ErrorTopic": [("EndpointRole", {}), ("EndpointRole", {})],
    "OpsTopic": [
        # EventBridge passes none of its context to a topic's policy.
        ("events.amazonaws.com", {}),
        ("cloudwatch.amazonaws.com", THIS_ACCOUNT),
        # By the topic's policy, and by their own.
        *[("SubmitFunctionRole", {}), ("SweepFunctionRole", {}), ("PublishFunctionRole", {})] * 2,
    ],
}
# Who may take on a role.
TRUSTED: dict[str, list[tuple[str, Tree]]] = {
    "UploaderRole": [("arn:aws:iam::123456789012:root", {})],
    "EndpointRole": [("sagemaker.amazonaws.com", THIS_ACCOUNT)],
    "LabelingRole": [("sagemaker.amazonaws.com", THIS_ACCOUNT)],
    "LabelDriveRole": [("states.amazonaws.com", THIS_ACCOUNT)],
}
# Functions that anybody may call at an address, with the condition under which they exist: this one and no other, since
# Label Studio knows no IAM. What it is sent is believed when it is signed, and a hint at most.
ADDRESSES = {"WebhookFunction": "HasLabelStudio"}
_OF_A_FUNCTION: list[tuple[str, Tree]] = [("lambda.amazonaws.com", {})]

# Statements on more than what they name: action and resource, each with its reason.
WIDE = {
    "ecr:GetAuthorizationToken [*]": "knows no resource",
    "cloudwatch:PutMetricData [*]": "knows no resource; a condition names the namespace",
    "xray:* [*]": "knows no resource",
    "logs:*LogDelivery [*]": "knows no resource",
    "logs:ListLogDeliveries [*]": "knows no resource",
    "logs:PutResourcePolicy [*]": "knows no resource",
    "logs:Describe* [*]": "knows no resource",
    f"s3:* arn:aws:s3:::{INGEST}/drives/*": "frames and the documents of drives",
    f"s3:* arn:aws:s3:::{LABELS}/labels/*": "what belongs to runs",
    f"s3:* arn:aws:s3:::{LABELS}/audits/[*]": "what audits proved, by recipe",
    f"s3:* arn:aws:s3:::{LABELS}/inference/[*]": "answers",
    f"s3:* arn:aws:s3:::{LABELS}/inference-failures/[*]": "what SageMaker says of failures",
    f"s3:GetObject arn:aws:s3:::{LABELS}/catalogue/[*]": "the models' documents",
    f"s3:GetObject arn:aws:s3:::{LABELS}/models/[*]": "the models' artefacts",
    f"s3:GetObject arn:aws:s3:::{LABELS}/[*]": "an answer lies where its endpoint put it",
    "states:* arn:aws:states:*:123456789012:execution:autolabel-label-drive[:/][*]": "the machine's own executions",
    "sagemaker:InvokeEndpointAsync arn:aws:sagemaker:*:endpoint/[*]": "models come and go without a deployment",
    "sagemaker:DescribeEndpoint arn:aws:sagemaker:*:endpoint/[*]": "models come and go without a deployment",
    "sagemaker:* arn:aws:sagemaker:*:123456789012:labeling-job/[*]": "jobs are named after drives",
    "ecr:* arn:aws:ecr:*:repository/[*]": "images of models lie in accounts of AWS and of their owners",
    "logs:* arn:aws:logs:*:123456789012:log-group:/aws/sagemaker/*": "logs of endpoints and labelling jobs",
    "events:* arn:aws:events:*:rule/StepFunctionsGetEventsForSageMaker[*]": "a rule that Step Functions names",
}


class Statement(NamedTuple):
    """A statement with where it stands: `of` is the role or the resource policy; `who` the principals that it names."""

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
    """What is looser, or other, than written here; nothing for a stack whose policies are as they should be."""
    return [
        *(f"{name}: may be sent to by {found}, not {wanted}" for name, found, wanted in _senders(tree)),
        *(f"{name}: may be taken on by {found}, not {wanted}" for name, found, wanted in _trust(tree)),
        *_shapes(tree),
        *_wildcards(tree),
        *_topics_for_others(tree),
        *_buckets(tree),
        *_managed_policies(tree),
        *_other_doors(tree),
    ]


def statements(tree: Tree) -> Iterator[Statement]:
    """Every statement but those of trust."""
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
    """Names of roles, services and accounts; `*` for everybody."""
    named = body.get("Principal", {})
    if isinstance(named, str):
        return (named,)
    roles = "arn:aws:iam::123456789012:role/"
    return tuple(text.removeprefix(roles) for values in named.values() for text in _texts(values))


def _texts(value: Any) -> list[str]:
    """ARNs and names of a value that may be one or a list."""
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
            yield f"{of}: a statement says what is not meant: {body}"
        if body.get("Effect") not in ("Allow", "Deny") or "Action" not in body or "Resource" not in body:
            yield f"{of}: a statement without effect, action or resource: {body}"
        if body.get("Effect") == "Allow" and any("*" in one or one.endswith(":root") for one in who):
            yield f"{of}: everybody is allowed something: {body}"


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
                    yield f"{of}: allows {action} on {resource} for no reason that is written down"


def _topics_for_others(tree: Tree) -> Iterator[str]:
    """An identity's own policy, of this account, could let it publish: the inference topics forbid that."""
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
            yield f"{name}: others than the endpoints' role are not denied"
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
            yield f"{name}: may be made public"
        if properties.get("OwnershipControls") != {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}:
            yield f"{name}: objects may have access lists of their own"
        if {"AccessControl", "WebsiteConfiguration"} & properties.keys():
            yield f"{name}: is opened by its properties"
        arn = resolve({"Fn::GetAtt": f"{name}.Arn"})
        tls = {"Bool": {"aws:SecureTransport": "false"}}
        policies = {n for n, p in tree["Resources"].items() if p.get("Properties", {}).get("Bucket") == {"Ref": name}}
        refusals = [
            s
            for s in statements(tree)
            if s.of in policies and not s.allows and s.who == ("*",) and s.body.get("Condition") == tls
        ]
        for resource in (arn, f"{arn}/key"):
            if not any(s.covers("s3:GetObject", resource) and s.covers("s3:PutObject", resource) for s in refusals):
                yield f"{name}: {resource} may be reached without TLS"


def _managed_policies(tree: Tree) -> Iterator[str]:
    behind_queues = {
        thing["Properties"]["FunctionName"]["Ref"]
        for thing in tree["Resources"].values()
        if thing["Type"] == "AWS::Lambda::EventSourceMapping"
    }
    for name, thing in tree["Resources"].items():
        if thing["Type"] != "AWS::IAM::Role":
            continue
        wanted = set()
        if name.endswith("FunctionRole"):
            wanted = {_LOGS, _TRACES} | ({_TAKES} if name.removesuffix("Role") in behind_queues else set())
        if (found := set(thing["Properties"].get("ManagedPolicyArns", []))) != wanted:
            yield f"{name}: has the policies {sorted(map(str, found))}"


def _other_doors(tree: Tree) -> Iterator[str]:
    """Resources that let somebody in without any of the policies above."""
    doors = (
        *_IDENTITIES,
        "AWS::SQS::QueueInlinePolicy",
        "AWS::SNS::TopicInlinePolicy",
        "AWS::S3::AccessPoint",
        "AWS::IAM::AccessKey",
    )
    yield from (f"{name}: a {thing['Type']}" for name, thing in tree["Resources"].items() if thing["Type"] in doors)
    for name, thing in tree["Resources"].items():
        given = thing.get("Properties", {})
        if thing["Type"] == "AWS::Lambda::Url" and not _is_known_address(tree, thing):
            yield f"{name}: a function has an address by {given}"
        if thing["Type"] == "AWS::Lambda::Permission" and not _is_by_known_address(thing):
            rule = given.get("SourceArn", {}).get("Fn::GetAtt", ["none"])[0]
            its_own = tree["Resources"].get(rule, {}).get("Type") == "AWS::Events::Rule"
            if given.get("Principal") != "events.amazonaws.com" or not its_own:
                yield f"{name}: a function may be called by {given}"


def _is_known_address(tree: Tree, thing: Tree) -> bool:
    """An address for anybody, of a function that cannot take the account's concurrency from the others."""
    target = thing["Properties"].get("TargetFunctionArn", {}).get("Ref", "")
    function = tree["Resources"].get(target, {}).get("Properties", {})
    return (
        _is_of_addressed(thing, target)
        and thing["Properties"] == {"TargetFunctionArn": {"Ref": target}, "AuthType": "NONE"}
        and 1 <= function.get("ReservedConcurrentExecutions", 0) <= 10
    )


def _is_by_known_address(thing: Tree) -> bool:
    """What Lambda asks for of everybody who comes by the address, and lets nobody call in another way."""
    target = thing["Properties"].get("FunctionName", {}).get("Ref", "")
    anybody = {"FunctionName": {"Ref": target}, "Principal": "*"}
    return _is_of_addressed(thing, target) and thing["Properties"] in (
        {**anybody, "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
        {**anybody, "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
    )


def _is_of_addressed(thing: Tree, target: str) -> bool:
    return target in ADDRESSES and thing.get("Condition") == ADDRESSES[target]
