"""What `autolabel models restore` deploys again, and what it refuses."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from autolabel_cli.errors import CommandError
from autolabel_cli.models.bringing import bring_endpoint
from autolabel_cli.models.restoring import restore_model
from autolabel_cli.models.sources import Source
from autolabel_cli.models.stacks import ModelStack
from tests.contract.model_account import IMAGE, Account, bring, draft, remove


def restore(account: Account, name: str) -> Any:
    return restore_model(account.stack, name, tell=lambda text: None)


def weighty(account: Account) -> Source:
    account.s3.put_object(Bucket="weights", Key="w.tar.gz", Body=b"weights")
    return Source(IMAGE, "s3://weights/w.tar.gz", environment={"HALF": "1"}, instance_type="ml.g5.xlarge")


@pytest.mark.parametrize("name", ["street@0001", "street.0001", "street"])
def test_an_endpoint_that_went_alone_is_deployed_as_it_was(account: Account, name: str) -> None:
    bring(account, weighty(account), parameters={"MaxInstances": "7"})
    restored = restore(account, name)
    first, again = account.formation.created
    assert (restored.model.id, restored.endpoint) == ("street.0001", "autolabel-street-0001")
    assert msgspec.json.decode(again["TemplateBody"]) == msgspec.json.decode(first["TemplateBody"])
    assert {**again, "TemplateBody": ""} == {**first, "TemplateBody": ""}


def test_an_endpoint_is_deployed_from_its_deleted_stack(account: Account) -> None:
    bring(account, Source(IMAGE + "1", environment={"HALF": "1"}))
    bring(account, Source(IMAGE))
    remove(account)
    restore(account, "street@0001")
    assert account.formation.created[-1]["Parameters"] == account.formation.created[0]["Parameters"]
    assert ModelStack(account.stack, "autolabel-street-0001").belongs_to("street")
    assert not ModelStack(account.stack, "autolabel-street-0002").exists()


def test_the_topics_are_those_of_the_pipeline_now(account: Account) -> None:
    bring(account)
    outputs = {**account.stack.outputs, "SuccessTopicArn": "arn:new"}
    account.stack = dataclasses.replace(account.stack, outputs=outputs)
    restore(account, "street@0001")
    parameters = account.formation.created[-1]["Parameters"]
    assert {"ParameterKey": "SuccessTopicArn", "ParameterValue": "arn:new"} in parameters


def test_a_revision_that_reads_earlier_answers_gets_the_same_endpoint(account: Account) -> None:
    bring(account)
    bring(account, threshold=0.5)
    assert restore(account, "street@0002").endpoint == "autolabel-street-0001"


def test_an_endpoint_whose_artefact_is_gone_is_not_restored(account: Account) -> None:
    bring(account, weighty(account))
    remove(account)
    with pytest.raises(CommandError, match=r"artefact s3://labels/models/street/0001/.* is gone: .* models add street"):
        restore(account, "street@0001")
    assert len(account.formation.created) == 1


def test_an_endpoint_that_exists_is_left_alone(account: Account) -> None:
    bring_endpoint(account.stack, draft(), "theirs", active=None)
    with pytest.raises(CommandError, match=r"endpoint theirs of street\.0001 exists and is InService$"):
        restore(account, "street@0001")
    account.sagemaker.status = "Failed"
    with pytest.raises(CommandError, match=r"exists and is Failed; .*delete it"):
        restore(account, "street@0001")


def test_an_endpoint_that_this_command_did_not_deploy_is_not_restored(account: Account) -> None:
    model = bring_endpoint(account.stack, draft(), "theirs", active=None).model
    body = msgspec.json.encode(msgspec.structs.replace(model, endpoint="gone"))
    account.s3.put_object(Bucket="labels", Key="catalogue/models/street/0001.json", Body=body)
    with pytest.raises(CommandError, match=r"no stack of this name and model.*make it again under its name"):
        restore(account, "street@0001")


def test_a_stack_that_another_command_works_on_is_left_alone(account: Account) -> None:
    bring(account)
    account.formation.stacks["autolabel-street-0001"]["StackStatus"] = "CREATE_IN_PROGRESS"
    with pytest.raises(CommandError, match="is CREATE_IN_PROGRESS: another command works on it"):
        restore(account, "street@0001")


def test_an_unknown_revision_is_refused(account: Account) -> None:
    bring(account)
    with pytest.raises(CommandError, match="model street has no revision 0007"):
        restore(account, "street@0007")
