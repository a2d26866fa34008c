"""What `destroy` deletes: stacks and executions as a test says, buckets and ledger by moto."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from autolabel_cli.__main__ import main
from autolabel_cli.models.bringing import bring_endpoint
from autolabel_cli.models.catalogue import read_index
from autolabel_cli.stack import Stack
from tests.contract.model_account import Account, bring, draft


@pytest.fixture
def deployed(account: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account with the pipeline's stack, a model that the command deployed, and one of others."""
    stack = {"StackName": "autolabel", "StackId": "id-autolabel", "StackStatus": "CREATE_COMPLETE"}
    account.formation.stacks |= {"autolabel": stack, "id-autolabel": stack, "another": stack}
    bring(account)
    bring_endpoint(account.stack, draft("theirs"), "theirs", active=None)
    account.stack.ingest.write("drives/d1/front/1.png", b"x")
    monkeypatch.setattr(Stack, "find", lambda name: account.stack)
    return account


def test_models_go_before_the_stack_and_data_stay(deployed: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    deleted, delete = list[str](), deployed.formation.delete_stack

    def note(StackName: str) -> None:  # noqa: N803
        deleted.append(StackName)
        delete(StackName=StackName)

    monkeypatch.setattr(deployed.formation, "delete_stack", note)
    monkeypatch.setitem(deployed.stack.outputs, "AccessLogBucketName", "logs")
    said = CliRunner().invoke(main, ["destroy", "--yes", "--json"])
    assert said.exit_code == 0, said.output
    assert deleted == ["autolabel-street-0001", "autolabel"]
    told = json.loads(said.output)
    assert (told["models"], told["endpoints"], told["kept"]) == (
        ["street", "theirs"],
        ["autolabel-street-0001"],
        ["theirs"],
    )
    assert [stays.split()[1] for stays in told["stays"]] == ["ingest", "labels", "ledger,", "logs"]
    assert deployed.stack.ingest.exists("drives/d1/front/1.png")
    assert "another" in deployed.formation.stacks
    # Broken off after the models, or repeated: nothing is left to do, and nothing is refused.
    assert CliRunner().invoke(main, ["destroy", "--yes"]).exit_code == 0


def test_a_stack_at_work_stays(deployed: Account) -> None:
    deployed.states.running += ["d1-0001", "d2-0001"]
    said = CliRunner().invoke(main, ["destroy", "--yes"])
    assert (said.exit_code, "stack autolabel is at work (d1-0001, d2-0001): wait for it" in said.output) == (1, True)
    assert read_index(deployed.stack).models.keys() == {"street", "theirs"}


def test_it_asks_for_the_name_of_the_stack(deployed: Account) -> None:
    said = CliRunner().invoke(main, ["destroy"])
    assert (said.exit_code, "without a terminal, give --yes" in said.output) == (2, True)
    assert "autolabel" in deployed.formation.stacks
