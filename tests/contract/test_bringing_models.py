"""What `autolabel models add` deploys, keeps and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from autolabel.models.calibration import Calibration
from autolabel.models.catalogue import CatalogueIndex
from autolabel_cli.__main__ import main
from autolabel_cli.errors import CommandError
from autolabel_cli.models.bringing import bring_endpoint
from autolabel_cli.models.catalogue import add_model, read_index
from autolabel_cli.models.sources import Source
from autolabel_cli.models.stacks import check_parameters, endpoint_name
from tests.contract.model_account import (
    IMAGE,
    ROLE,
    Account,
    SageMaker,
    bring,
    draft,
    remove_from_catalogue,
)


def artefact_of(created: dict[str, Any], account: Account) -> bytes | None:
    (uri,) = (p["ParameterValue"] for p in created["Parameters"] if p["ParameterKey"] == "ModelData")
    return account.stack.labels.read(uri.removeprefix("s3://labels/"))


def test_a_model_is_deployed_with_the_stacks_outputs_and_its_environment(account: Account) -> None:
    brought = bring(account, Source(IMAGE, environment={"HALF": "1"}, instance_type="ml.g5.xlarge"))
    (created,) = account.formation.created
    parameters = {p["ParameterKey"]: p["ParameterValue"] for p in created["Parameters"]}
    assert (
        parameters.items()
        >= {
            "EndpointName": "autolabel-street-0001",
            "Image": IMAGE,
            "InstanceType": "ml.g5.xlarge",
            "LabelBucket": "labels",
            "ExecutionRoleArn": ROLE,
        }.items()
    )
    template = json.loads(created["TemplateBody"])
    assert template["Resources"]["Model"]["Properties"]["PrimaryContainer"]["Environment"] == {"HALF": "1"}
    assert parameters.keys() <= template["Parameters"].keys()
    assert brought.model.endpoint == created["StackName"] == "autolabel-street-0001"


def test_adding_again_changes_nothing(account: Account) -> None:
    bring(account, active=False)
    assert bring(account).outcome == "already"
    assert len(account.formation.created) == 1
    assert read_index(account.stack) == CatalogueIndex({"street": "0001"}, ())
    bring(account, active=True)
    assert read_index(account.stack).active == ("street",)


def test_another_threshold_reads_the_answers_that_are_there(account: Account) -> None:
    bring(account)
    second, third = bring(account, threshold=0.5).model, bring(account, threshold=0.6).model
    assert (second.id, second.answers_of, third.id, third.answers_of) == ("street.0002", "0001", "street.0003", "0001")
    assert len(account.formation.created) == 1


def test_a_calibration_outlives_another_threshold_but_not_another_image_or_class_map(account: Account) -> None:
    fitted = {"car": Calibration(slope=2.0)}
    first = bring(account).model
    second = msgspec.structs.replace(first, revision="0002", answers_of="0001", calibration=fitted)
    add_model(account.stack, second)
    assert bring(account).outcome == "already"
    assert bring(account, threshold=0.5).model.calibration == fitted
    assert bring(account, classes={"auto": "car"}).model.calibration == {}
    add_model(account.stack, msgspec.structs.replace(second, revision="0005"))
    assert bring(account, Source(IMAGE + "1")).model.calibration == {}


def test_a_calibration_outlives_another_threshold_of_an_endpoint_that_was_there(account: Account) -> None:
    fitted = {"car": Calibration(slope=2.0)}
    first = bring_endpoint(account.stack, draft(), "theirs", active=None).model
    add_model(account.stack, msgspec.structs.replace(first, revision="0002", answers_of="0001", calibration=fitted))
    assert bring_endpoint(account.stack, draft(), "theirs", active=None).outcome == "already"


def test_requests_that_expire_before_an_endpoint_is_awake_are_refused(account: Account) -> None:
    with pytest.raises(CommandError, match=r"expire after 600 s, .* queue_ttl .* to 900 or more, .* MinInstances=1"):
        bring(account, queue_ttl=600, parameters={"MinInstances": "0"})
    assert account.formation.created == []
    assert bring(account, queue_ttl=600, parameters={"MinInstances": "1"}).outcome == "added"


def test_another_accept_header_asks_anew_on_the_same_endpoint(account: Account) -> None:
    first = bring(account).model
    second = bring(account, accept="application/json").model
    assert (second.endpoint, second.answers_of) == (first.endpoint, "")


def test_another_image_is_a_revision_with_an_endpoint_of_its_own(account: Account) -> None:
    bring(account)
    second = bring(account, Source(IMAGE + "1")).model
    assert (second.id, second.endpoint, second.answers_of) == ("street.0002", "autolabel-street-0002", "")


def test_an_addition_that_was_interrupted_goes_on_with_its_stack(account: Account) -> None:
    bring(account)
    remove_from_catalogue(account)
    assert bring(account).model.id == "street.0001"
    assert len(account.formation.created) == 1


def test_two_who_bring_the_same_model_at_once_share_its_stack(account: Account) -> None:
    account.s3.put_object(Bucket="weights", Key="w.tar.gz", Body=b"weights")
    source = Source(IMAGE, "s3://weights/w.tar.gz")
    account.formation.meanwhile = [lambda: bring(account, source)]
    assert bring(account, source).model.id == "street.0001"
    (created,) = account.formation.created
    assert artefact_of(created, account) == b"weights"


def test_of_two_who_bring_other_images_at_once_the_slower_is_refused(account: Account) -> None:
    account.s3.put_object(Bucket="weights", Key="1.tar.gz", Body=b"one")
    account.s3.put_object(Bucket="weights", Key="2.tar.gz", Body=b"two")
    account.formation.meanwhile = [lambda: bring(account, Source(IMAGE, "s3://weights/1.tar.gz"))]
    with pytest.raises(CommandError, match=r"another command added street\.0001 meanwhile: give the command again"):
        bring(account, Source(IMAGE, "s3://weights/2.tar.gz"))
    (created,) = account.formation.created
    assert created["StackName"] in account.formation.stacks
    assert artefact_of(created, account) == b"one"
    assert bring(account, Source(IMAGE, "s3://weights/2.tar.gz")).model.id == "street.0002"


def test_a_stack_that_is_no_model_of_this_pipeline_is_left_alone(account: Account) -> None:
    theirs = {"StackId": "id", "StackStatus": "CREATE_COMPLETE", "Tags": []}
    account.formation.stacks["autolabel-street-0001"] = theirs
    with pytest.raises(CommandError, match="stack autolabel-street-0001 exists but is not of this model"):
        bring(account)
    assert account.formation.stacks == {"autolabel-street-0001": theirs}


def test_a_failed_deployment_names_its_first_failure_and_leaves_nothing(account: Account) -> None:
    account.s3.put_object(Bucket="weights", Key="w.tar.gz", Body=b"weights")
    account.formation.fails = "the image has no /ping"
    with pytest.raises(CommandError, match="nothing of it is left: Endpoint failed: the image has no /ping"):
        bring(account, Source(IMAGE, "s3://weights/w.tar.gz"))
    assert list(account.stack.labels.list("")) == []


def test_a_parameter_that_the_template_does_not_have_is_refused() -> None:
    with pytest.raises(CommandError, match="did you mean MaxConcurrentInvocations"):
        check_parameters({"MaxConcurentInvocations": "2"})
    with pytest.raises(CommandError, match="no parameter 'LabelBucket' that can be given"):
        check_parameters({"LabelBucket": "mine"})


def test_names_of_endpoints_are_short_and_tell_stacks_apart() -> None:
    one, two = (endpoint_name(f"autolabel-{'x' * 60}-{n}", "street.0001") for n in "ab")
    assert len(one) == len(two) == 63
    assert one != two
    assert endpoint_name("autolabel", "street.0001") == "autolabel-street-0001"


def test_an_endpoint_as_the_pipeline_wants_it_is_taken(account: Account) -> None:
    brought = bring_endpoint(account.stack, draft(), "theirs", active=None)
    assert (brought.model.endpoint, brought.model.revision) == ("theirs", "0001")
    assert bring_endpoint(account.stack, draft(), "theirs", active=None).outcome == "already"
    assert bring_endpoint(account.stack, draft(threshold=0.5), "theirs", active=None).model.revision == "0002"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: setattr(s, "status", "Creating"), "is Creating; add it when it is InService"),
        (lambda s: s.config.pop("AsyncInferenceConfig"), "is synchronous: give its configuration"),
        (lambda s: s.output.update(S3OutputPath="s3://mine/out"), "S3OutputPath must be s3://labels/inference"),
        (lambda s: s.output.pop("NotificationConfig"), "notifies no topic: SuccessTopic .* must be arn:.*:success"),
        (
            lambda s: s.output["NotificationConfig"].update(ErrorTopic="arn:other"),
            "ErrorTopic .* must be arn:.*:error",
        ),
        (lambda s: setattr(s, "role", "arn:mine"), "ExtraPublisherRoles=arn:mine"),
    ],
)
def test_an_endpoint_that_does_not_fit_is_refused_with_what_to_change(
    account: Account, change: Callable[[SageMaker], Any], said: str
) -> None:
    change(account.sagemaker)
    with pytest.raises(CommandError, match=said) as refusal:
        bring_endpoint(account.stack, draft(), "theirs", active=None)
    assert "\n" not in refusal.value.message
    assert read_index(account.stack).models == {}


def test_an_endpoint_that_does_not_exist_is_refused_with_the_nearest(account: Account) -> None:
    with pytest.raises(CommandError, match="endpoint 'thiers' does not exist; did you mean theirs"):
        bring_endpoint(account.stack, draft(), "thiers", active=None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give a source"),
        (("--image", IMAGE, "--endpoint", "e"), "give one source, not --image and --endpoint"),
        (("--hub", "h"), "give --hub and --content together"),
        (("--endpoint", "e", "--model-data", "s3://b/w.tar.gz"), "--model-data cannot be used with --endpoint"),
        (("--image", IMAGE, "--version", "1"), "--version cannot be used with --image"),
        (("--image", IMAGE, "--tolerate-deprecated"), "--tolerate-deprecated cannot be used with --image"),
        (("--image", IMAGE, "--decoder", "none"), "the decoder 'none' is unknown"),
    ],
)
def test_a_wrong_command_is_refused_before_anything_is_asked(words: tuple[str, ...], said: str) -> None:
    ended = CliRunner().invoke(main, ["models", "add", "street", *words])
    assert ended.exit_code in (1, 2)
    assert said in ended.output
