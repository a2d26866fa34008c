"""The layer contains the domain's packages, and the template gives each function the settings that it reads."""

from __future__ import annotations

import ast
import re
from importlib.metadata import version

import botocore.loaders
import botocore.model
import pytest

from tests.contract.template import ROOT, functions, template, variables

LAYER = ROOT / "layers" / "autolabel"
NUMBERS = ("int", "float")


def pins(name: str) -> dict[str, str]:
    """Read the exact versions that a requirements file pins."""
    found = re.findall(r"^([a-z0-9_.-]+)(?:\[[a-z,]+\])?==([0-9][^\s\\;]*)", (LAYER / name).read_text(), re.MULTILINE)
    return dict(found)


def test_the_layer_pins_its_boto3() -> None:
    asked = pins("requirements.in")
    assert {"boto3", "botocore", "aws-lambda-powertools"} <= asked.keys()
    locked = pins("requirements.txt")
    assert {name: locked.get(name) for name in asked} == asked


@pytest.mark.parametrize("package", ["boto3", "botocore"])
def test_tests_run_with_the_boto3_of_the_layer(package: str) -> None:
    assert version(package) == pins("requirements.txt")[package]


@pytest.mark.parametrize(
    "member",
    [
        "Filename",
        "S3OutputPathExtension",
        "InferenceId",
        "InputLocation",
        "RequestTTLSeconds",
        "InvocationTimeoutSeconds",
    ],
)
def test_the_pinned_boto3_knows_the_parameters_of_submit(member: str) -> None:
    loaded = botocore.loaders.Loader().load_service_model("sagemaker-runtime", "service-2")
    operation = botocore.model.ServiceModel(loaded).operation_model("InvokeEndpointAsync")
    assert member in operation.input_shape.members


def test_what_reads_logs_is_not_in_the_layer_of_functions_that_label() -> None:
    assert not {"av", "mcap", "lz4", "zstandard", "rosbags", "protobuf"} & pins("requirements.txt").keys()


def test_the_layer_has_no_heavy_packages() -> None:
    assert not {"pandas", "sagemaker", "scipy", "opencv-python-headless"} & pins("requirements.txt").keys()


def settings(function: str) -> dict[str, str]:
    """Read the fields of a function's Settings, in capitals, with their types, without importing the function."""
    tree = ast.parse((ROOT / "functions" / function / "app.py").read_text())
    (struct,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    fields = [node for node in struct.body if isinstance(node, ast.AnnAssign)]
    return {ast.unparse(field.target).upper(): ast.unparse(field.annotation) for field in fields}


def named(function: str) -> dict[str, object]:
    """Find the variables that the template gives a function, without those of Powertools."""
    return {name: value for name, value in variables(function).items() if not name.startswith("POWERTOOLS_")}


SHARED = {
    name for name in template()["Globals"]["Function"]["Environment"]["Variables"] if not name.startswith("POWERTOOLS_")
}


@pytest.mark.parametrize("function", functions())
def test_the_template_gives_a_function_every_setting_that_it_reads(function: str) -> None:
    assert settings(function).keys() - named(function).keys() == set()


@pytest.mark.parametrize("function", functions())
def test_the_template_gives_a_function_no_unused_setting(function: str) -> None:
    assert named(function).keys() - SHARED - settings(function).keys() == set()


@pytest.mark.parametrize("name", sorted(SHARED))
def test_a_shared_setting_is_read_by_most_functions(name: str) -> None:
    readers = [function for function in functions() if name in settings(function)]
    assert len(readers) > len(functions()) / 2


@pytest.mark.parametrize("function", functions())
def test_a_numeric_setting_has_a_numeric_parameter(function: str) -> None:
    parameters = template()["Parameters"]
    for name, kind in settings(function).items():
        value = named(function)[name]
        parameter = value.get("Ref") if isinstance(value, dict) else None
        assert (kind in NUMBERS) == (parameters.get(parameter, {}).get("Type") == "Number"), name
