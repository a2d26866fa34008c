"""Deploying the stack with sam, with the answers that it cannot do without."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from autolabel.aws import error_code
from autolabel.models import CATALOGUE_KEY
from autolabel_cli.errors import CommandError
from autolabel_cli.installation import checkout
from autolabel_cli.stack import Stack

_TEMPLATE = Path("build") / "sam" / "template.yaml"
_STANDARD_ERROR = 2
_SAM = Path(".venv-sam") / "bin" / "sam"


# `Any`: boto3's client.
def deployed_parameters(formation: Any, name: str) -> dict[str, str] | None:
    """Return the parameters that a stack was deployed with; None if there is no stack of this name."""
    try:
        found = formation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as e:
        # CloudFormation has no other code for a stack that does not exist.
        if error_code(e) == "ValidationError":
            return None
        raise
    return {one["ParameterKey"]: one["ParameterValue"] for one in found.get("Parameters", [])}


def deploy_stack(name: str, parameters: Mapping[str, str], *, confirm: bool) -> None:
    """Deploy what `make build` has built. Parameters that are not given keep their values.

    `confirm`: sam shows the changes and asks. sam writes to standard error, so that standard output stays this
    command's. CommandError without a checkout that is set up and built, and if sam fails.
    """
    for needed, how in ((_SAM, "make setup"), (_TEMPLATE, "make build")):
        if not (checkout() / needed).exists():
            raise CommandError(f"{checkout() / needed} does not exist: give this command in a checkout, after {how}")
    # sam reads an empty value, and one with blanks or commas, in quotes only.
    quoted = {key: value.replace("\\", "\\\\").replace('"', '\\"') for key, value in parameters.items()}
    given = [f'{key}="{value}"' for key, value in quoted.items()]
    command = [str(checkout() / _SAM), "deploy", "--stack-name", name]
    command += ["--confirm-changeset" if confirm else "--no-confirm-changeset"]
    command += ["--parameter-overrides", *given] if given else []
    ended = subprocess.run(command, cwd=checkout(), stdout=_STANDARD_ERROR)
    if ended.returncode:
        raise CommandError(f"sam deploy ended with {ended.returncode}: its last lines say why; fix that and try again")


def next_commands(stack: Stack) -> tuple[str, ...]:
    """Return what to do after a deployment."""
    no_model = stack.labels.read(CATALOGUE_KEY) is None
    add = ("autolabel models add NAME, because no model is active (docs/ml-engineers/models.md)",) if no_model else ()
    return (*add, "autolabel doctor --fire")
