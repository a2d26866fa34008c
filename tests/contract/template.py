"""Read template.yaml as a tree, and resolve its intrinsic functions for one account."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ACCOUNT = "123456789012"
REGION = "eu-central-1"
STACK = "autolabel"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": "aws",
    "AWS::StackName": STACK,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": None,
}
INGEST = f"{STACK}-ingest-{ACCOUNT}-{REGION}"
LABELS = f"{STACK}-labels-{ACCOUNT}-{REGION}"
LEDGER = f"{STACK}-ledger"
STATE_MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{STACK}-label-drive"
CONNECTION = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:label-studio-a1b2c3"
# Values of parameters whose defaults cannot serve a deployed stack.
GIVEN = {"LabelStudioConnectionArn": CONNECTION}
# Conditions that are true in a stack with Label Studio, and in one without.
WITH_LABEL_STUDIO: frozenset[str] = frozenset({"HasLabelStudio", "ReservesConcurrency"})
WITHOUT_LABEL_STUDIO: frozenset[str] = frozenset()
WITH_KEY = WITH_LABEL_STUDIO | {"HasKmsKey"}


_NO_VALUE = {"Ref": "AWS::NoValue"}


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms: `!Ref x` is {"Ref": x}, `!GetAtt a.b` is {"Fn::GetAtt": "a.b"}."""


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _intrinsic)


def read_template(path: Path) -> dict[str, Any]:
    """Read a CloudFormation template as a tree, which as JSON is the same template."""
    tree: dict[str, Any] = yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 - a SafeLoader with tags
    return tree


@cache
def template() -> dict[str, Any]:
    return read_template(ROOT / "template.yaml")


@cache
def state_machine_text() -> str:
    return (ROOT / "statemachine" / "label_drive.asl.yaml").read_text()


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """Find the template's resources of a type, by logical id."""
    return {name: thing for name, thing in template()["Resources"].items() if thing["Type"] == kind}


def functions() -> dict[str, dict[str, Any]]:
    """Find the properties of the functions, by the name of their folder."""
    found = {}
    for thing in resources("AWS::Serverless::Function").values():
        found[Path(thing["Properties"]["CodeUri"]).name] = thing["Properties"]
    return found


def variables(function: str) -> dict[str, Any]:
    """Find the environment variables that the template gives a function, Globals included."""
    shared = template()["Globals"]["Function"]["Environment"]["Variables"]
    own = functions()[function].get("Environment", {}).get("Variables", {})
    return {**shared, **own}


def statements(function: str, holding: AbstractSet[str] = WITH_LABEL_STUDIO) -> list[dict[str, Any]]:
    """Find the statements of the policies of a function's role in a stack where these conditions are true."""
    role = functions()[function]["Role"]["Fn::GetAtt"].removesuffix(".Arn")
    policies = decided(template()["Resources"][role]["Properties"]["Policies"], holding)
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


def in_stack(tree: dict[str, Any], holding: AbstractSet[str]) -> dict[str, Any]:
    """Reduce a template to the stack in which these conditions are true, and no others."""
    there = {name: thing for name, thing in tree["Resources"].items() if thing.get("Condition") in {None, *holding}}
    stack: dict[str, Any] = decided({**tree, "Resources": there}, holding)
    return stack


def decided(value: Any, holding: AbstractSet[str]) -> Any:
    """Decide the conditions in a part of a template."""
    if isinstance(value, list):
        return [item for item in (decided(item, holding) for item in value) if item != _NO_VALUE]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"Fn::If"}:
        condition, then, otherwise = value["Fn::If"]
        return decided(then if condition in holding else otherwise, holding)
    found = {key: decided(item, holding) for key, item in value.items()}
    return {key: item for key, item in found.items() if item != _NO_VALUE}


def allows(function: str, action: str, resource: str, holding: AbstractSet[str] = WITH_LABEL_STUDIO) -> bool:
    """Check whether a function's policies allow an action on a resource, given by its ARN."""
    return any(
        statement["Effect"] == "Allow"
        and fnmatchcase(action, statement["Action"])
        and any(fnmatchcase(resource, str(pattern)) for pattern in listed(resolve(statement["Resource"])))
        for statement in statements(function, holding)
    )


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def resolve(value: Any) -> Any:
    """Resolve the intrinsic functions of a value to ARNs and names of this account."""
    if isinstance(value, list):
        return [resolve(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"Ref"}:
        return reference(value["Ref"])
    if value.keys() == {"Fn::GetAtt"}:
        return attribute(value["Fn::GetAtt"])
    if value.keys() == {"Fn::Sub"}:
        text, given = value["Fn::Sub"] if isinstance(value["Fn::Sub"], list) else (value["Fn::Sub"], {})
        known = {name: resolve(item) for name, item in given.items()}

        def substitute(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in known:
                return str(known[name])
            return str(attribute(name) if "." in name else reference(name))

        return re.sub(r"\$\{([^}]+)\}", substitute, text)
    if value.keys() == {"Fn::FindInMap"}:
        name, *path = (resolve(item) for item in value["Fn::FindInMap"])
        found = template()["Mappings"][name]
        for step in path:
            found = found[step]
        return found
    return {key: resolve(item) for key, item in value.items()}


def reference(name: str) -> Any:
    """Resolve `!Ref`."""
    if name in PSEUDO:
        return PSEUDO[name]
    if name in template()["Parameters"]:
        return GIVEN.get(name) or template()["Parameters"][name].get("Default", f"<{name}>")
    thing = template()["Resources"][name]
    kind = thing["Type"]
    if kind == "AWS::S3::Bucket":
        return resolve(thing["Properties"].get("BucketName", name))
    if kind == "AWS::SNS::Topic":
        return f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}"
    if kind == "AWS::SQS::Queue":
        return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"
    if kind == "AWS::Serverless::StateMachine":
        return STATE_MACHINE
    return name


def attribute(path: str) -> str:
    """Resolve `!GetAtt`."""
    name, _, attribute_name = path.partition(".")
    if attribute_name != "Arn":
        return path
    thing = template()["Resources"][name]
    kind, properties = thing["Type"], thing["Properties"]
    if kind == "AWS::S3::Bucket":
        return f"arn:aws:s3:::{reference(name)}"
    if kind == "AWS::DynamoDB::Table":
        return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{resolve(properties['TableName'])}"
    if kind == "AWS::SQS::Queue":
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
    if kind == "AWS::IAM::Role":
        return f"arn:aws:iam::{ACCOUNT}:role/{name}"
    return f"arn:aws:{kind.split('::')[1].lower()}:{REGION}:{ACCOUNT}:{name}"
