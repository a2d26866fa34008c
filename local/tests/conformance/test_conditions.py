"""Conditions in templates."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.tests.conformance.workbench import Workbench, eventually, unique


def stack(bench: Workbench, condition: dict[str, Any], **parameters: str) -> dict[str, Any]:
    """A stack whose output shows the result of its condition; `Names` is its list parameter, empty by default."""
    template = {
        "Parameters": {"Names": {"Type": "CommaDelimitedList", "Default": ""}},
        "Mappings": {"Map": {"a": {"b": "c"}}},
        "Conditions": {"Chosen": condition},
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {"Branch": {"Value": {"Fn::If": ["Chosen", "yes", "no"]}}},
    }
    name = unique("conditions")
    bench.cloudformation.create_stack(
        StackName=name,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )

    def settled() -> dict[str, Any] | None:
        [described] = bench.cloudformation.describe_stacks(StackName=name)["Stacks"]
        return described if not described["StackStatus"].endswith("_IN_PROGRESS") else None

    return dict(eventually(settled))


def branch(bench: Workbench, condition: dict[str, Any], **parameters: str) -> str:
    made = stack(bench, condition, **parameters)
    assert made["StackStatus"] == "CREATE_COMPLETE", made
    return str(made["Outputs"][0]["OutputValue"])


def test_a_list_parameter_is_joined_before_it_is_compared(bench: Workbench) -> None:
    given = {"Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": "Names"}]}, ""]}]}
    assert branch(bench, given) == "no"
    assert branch(bench, given, Names="a") == "yes"
    both = {"Fn::Equals": [{"Fn::Join": ["-", [{"Fn::Join": ["+", {"Ref": "Names"}]}, "c"]]}, "a+b-c"]}
    assert branch(bench, both, Names="a,b") == "yes"
    assert branch(bench, both, Names="a") == "no"


def test_an_unsupported_function_in_a_condition_is_refused(bench: Workbench) -> None:
    found = {"Fn::Equals": [{"Fn::FindInMap": ["Map", "a", "b"]}, "c"]}
    with pytest.raises(ClientError, match="FindInMap in a condition is not supported by the embedded cloud"):
        stack(bench, found)
