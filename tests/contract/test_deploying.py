"""What `deploy` gives to sam: a script stands in for it, and stacks are as a test says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from autolabel_cli.__main__ import main
from autolabel_cli.operations import commands, deployment
from autolabel_cli.stack import Stack
from tests.contract.model_account import Account, bring
from tests.contract.template import ROOT

Deploy = Callable[..., Result]
ARN = "arn:aws:sagemaker:eu-central-1:123456789012:workteam/private-crowd/street"
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:studio"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that is set up and built; its sam writes its arguments into a file, and fails if `fails` is there."""
    for path in (tmp_path / ".venv-sam" / "bin" / "sam", tmp_path / "build" / "sam" / "template.yaml"):
        path.parent.mkdir(parents=True)
        path.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > arguments\ntest ! -e fails\n')
        path.chmod(0o755)
    monkeypatch.setattr(deployment, "checkout", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def deploy(account: Account, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Deploy:
    def give(*words: str, before: dict[str, str] | None = None, typed: str = "") -> Result:
        stacks = account.formation.stacks
        if before is not None:
            parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in before.items()]
            stacks["autolabel"] = {"StackStatus": "CREATE_COMPLETE", "Parameters": parameters}
        return CliRunner().invoke(main, ["deploy", *words], input=typed)

    monkeypatch.setattr(commands.boto3, "client", lambda service: account.formation)
    monkeypatch.setattr(Stack, "find", lambda name: account.stack)
    return give


def overrides(checkout: Path) -> list[str]:
    words = (checkout / "arguments").read_text().splitlines()
    return words[words.index("--parameter-overrides") + 1 :] if "--parameter-overrides" in words else []


def test_a_first_deployment_asks_for_reviewers_and_an_address(deploy: Deploy, checkout: Path) -> None:
    said = deploy(typed="street\nops@example.com\n")
    assert said.exit_code == 0, said.output
    assert overrides(checkout) == ['WorkteamArn=""', 'WorkteamName="street"', 'OpsEmail="ops@example.com"']
    assert "--confirm-changeset" in (checkout / "arguments").read_text()
    assert "next: autolabel models add NAME" in said.output
    assert deploy(typed=f"\n{SECRET}\n\n").exit_code == 0
    given = [f'LabelStudioConnectionArn="{SECRET}"', 'VerificationBackEnd="label-studio"']
    assert overrides(checkout) == given


def test_a_first_deployment_without_reviewers_is_refused(deploy: Deploy, checkout: Path) -> None:
    said = deploy("--yes")
    assert (said.exit_code, "needs --workteam or --label-studio" in said.output) == (2, True)
    assert not (checkout / "arguments").exists()


def test_a_later_deployment_keeps_what_is_not_given(deploy: Deploy, checkout: Path) -> None:
    assert deploy("--yes", before={"WorkteamName": "street"}).exit_code == 0
    assert overrides(checkout) == []
    assert deploy("--yes", "--workteam", ARN, "--parameter", "JobLabels=car,traffic light").exit_code == 0
    assert overrides(checkout) == [f'WorkteamArn="{ARN}"', 'WorkteamName=""', 'JobLabels="car,traffic light"']


def test_the_answer_for_programs_says_what_to_do_next(deploy: Deploy, account: Account) -> None:
    bring(account)
    said = deploy("--workteam", "street", "--json")
    assert json.loads(said.stdout) == {
        "stack": "autolabel",
        "parameters": {"WorkteamArn": "", "WorkteamName": "street"},
        "next": ["autolabel doctor --fire"],
    }


def test_what_is_missing_or_fails_is_named(deploy: Deploy, checkout: Path) -> None:
    (checkout / "fails").touch()
    assert "sam deploy ended with 1" in deploy("--yes", "--workteam", "street").output
    (checkout / "build" / "sam" / "template.yaml").unlink()
    assert "after make build" in deploy("--yes", "--workteam", "street").output
    assert deploy("--yes", "--workteam", "street", "--parameter", "JobLabels").exit_code == 2


def test_the_parameters_are_those_of_the_template() -> None:
    text = "\n".join(line for line in (ROOT / "template.yaml").read_text().splitlines() if "!" not in line)
    parameters: dict[str, Any] = yaml.safe_load(text.split("\nRules:")[0])["Parameters"]
    answered = commands._deployment("street", SECRET, "a@b") | commands._deployment(None, SECRET, None)
    assert answered.keys() <= parameters.keys()
