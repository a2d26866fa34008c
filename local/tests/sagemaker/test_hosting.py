"""The control plane of hosting, used through boto3."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.sagemaker.containers import image_name
from local.tests.sagemaker.stand_in import ERROR, ROLE, SUCCESS, StandIn, eventually


def _error(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        call(**request)
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_new_account_has_no_hosting_resources(stand_in: StandIn) -> None:
    assert stand_in.sagemaker.list_models()["Models"] == []
    assert stand_in.sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
    assert stand_in.sagemaker.list_endpoints()["Endpoints"] == []


@pytest.mark.parametrize("operation", ["describe_endpoint", "delete_endpoint"])
def test_an_endpoint_that_does_not_exist_is_not_found(stand_in: StandIn, operation: str) -> None:
    code, message = _error(getattr(stand_in.sagemaker, operation), EndpointName="nobody")
    assert code == "ValidationException"
    assert "Could not find endpoint" in message


def test_names_in_use_are_refused_in_any_case(stand_in: StandIn) -> None:
    stand_in.create_model("Model")
    with pytest.raises(ClientError, match="already existing model"):
        stand_in.create_model("model")


def test_a_model_is_described_as_created_until_it_is_deleted(stand_in: StandIn) -> None:
    stand_in.create_model(environment={"A": "b"})
    described = stand_in.sagemaker.describe_model(ModelName="model")
    assert described["PrimaryContainer"]["Environment"] == {"A": "b"}
    assert described["ModelArn"] == "arn:aws:sagemaker:us-east-1:000000000000:model/model"
    stand_in.sagemaker.delete_model(ModelName="model")
    assert _error(stand_in.sagemaker.delete_model, ModelName="model")[0] == "ValidationException"


def test_a_configuration_needs_its_model(stand_in: StandIn) -> None:
    with pytest.raises(ClientError, match="Could not find model"):
        stand_in.create_config()


@pytest.mark.parametrize(
    ("container", "named"),
    [
        ({"Image": "stub", "ModelPackageName": "m"}, "PrimaryContainer.ModelPackageName"),
        ({"Image": "stub", "Mode": "MultiModel"}, "PrimaryContainer.Mode"),
        ({}, "PrimaryContainer"),
    ],
)
def test_an_unsupported_member_is_refused_by_name(stand_in: StandIn, container: dict[str, str], named: str) -> None:
    code, message = _error(
        stand_in.sagemaker.create_model, ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container
    )
    assert code == "ValidationException"
    assert "Not supported by the embedded cloud" in message
    assert named in message


def test_an_operation_that_is_not_implemented_is_refused(stand_in: StandIn) -> None:
    code, message = _error(stand_in.sagemaker.list_transform_jobs)
    assert (code, message) == (
        "ValidationException",
        "Not supported by the embedded cloud: the operation ListTransformJobs",
    )


def test_a_new_endpoint_tests_both_topics(stand_in: StandIn) -> None:
    stand_in.create_model()
    stand_in.create_config()
    stand_in.sagemaker.create_endpoint(EndpointName="ep", EndpointConfigName="config")
    assert stand_in.sagemaker.describe_endpoint(EndpointName="ep")["EndpointStatus"] == "Creating"
    described = stand_in.settled("ep")
    assert described["EndpointStatus"] == "InService"
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    assert stand_in.message(SUCCESS) == {
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "TestNotification",
    }
    assert stand_in.message(ERROR)["eventName"] == "TestNotification"


def test_an_unknown_image_fails_the_endpoint_and_is_named(stand_in: StandIn) -> None:
    stand_in.create_model(image="mask-rcnn")
    stand_in.create_config()
    stand_in.sagemaker.create_endpoint(EndpointName="ep", EndpointConfigName="config")
    described = stand_in.settled("ep")
    assert described["EndpointStatus"] == "Failed"
    assert "mask-rcnn" in described["FailureReason"]


def test_a_missing_artefact_fails_the_endpoint_and_is_named(stand_in: StandIn) -> None:
    container = {"Image": "stub", "ModelDataUrl": "s3://models/street.tar.gz"}
    stand_in.sagemaker.create_model(ModelName="model", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    stand_in.create_config()
    stand_in.sagemaker.create_endpoint(EndpointName="ep", EndpointConfigName="config")
    assert "s3://models/street.tar.gz" in stand_in.settled("ep")["FailureReason"]


def test_an_artefact_is_unpacked_for_its_server_or_fails_the_endpoint(stand_in: StandIn) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(__file__, "deep/weights")
    broken = gzip.compress(gzip.decompress(packed.getvalue())[:2_000]) + b"no archive"
    for name, body, status in (
        ("good", packed.getvalue(), "InService"),
        ("bad", b"no archive", "Failed"),
        ("broken", broken, "Failed"),
    ):
        stand_in.objects.put(f"s3://models/{name}.tar.gz", body)
        container = {"Image": "stub", "ModelDataUrl": f"s3://models/{name}.tar.gz"}
        stand_in.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
        stand_in.create_config(name, model=name)
        stand_in.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        assert stand_in.settled(name)["EndpointStatus"] == status
    assert (stand_in.folder / "models" / "good-1" / "model" / "deep" / "weights").is_file()
    for name in ("bad", "broken"):
        assert f"s3://models/{name}.tar.gz is not a .tar.gz file" in stand_in.settled(name)["FailureReason"]


def test_a_missing_topic_fails_the_endpoint_and_is_named(stand_in: StandIn) -> None:
    stand_in.topics.missing.add(ERROR)
    stand_in.create_model()
    stand_in.create_config()
    stand_in.sagemaker.create_endpoint(EndpointName="ep", EndpointConfigName="config")
    assert ERROR in stand_in.settled("ep")["FailureReason"]


def test_a_container_that_ends_at_once_fails_the_endpoint(stand_in: StandIn) -> None:
    stand_in.create_model(environment={"STUB_STARTUP": "fail"})
    stand_in.create_config()
    stand_in.sagemaker.create_endpoint(EndpointName="ep", EndpointConfigName="config")
    reason = stand_in.settled("ep")["FailureReason"]
    log = stand_in.folder / "models" / "ep-1.log"
    assert str(log) in reason
    assert "STUB_STARTUP is fail" in log.read_text()


def test_a_failed_endpoint_can_be_deleted_and_its_name_used_again(stand_in: StandIn) -> None:
    stand_in.create_model(image="unknown")
    stand_in.create_config()
    stand_in.sagemaker.create_endpoint(EndpointName="ep", EndpointConfigName="config")
    stand_in.settled("ep")
    stand_in.sagemaker.delete_endpoint(EndpointName="ep")
    eventually(lambda: not stand_in.sagemaker.list_endpoints()["Endpoints"])
    stand_in.sagemaker.create_endpoint(EndpointName="ep", EndpointConfigName="config")


def test_an_endpoint_in_creation_cannot_be_deleted(stand_in: StandIn) -> None:
    stand_in.create_model(environment={"STUB_STARTUP": "never"})
    stand_in.create_config()
    stand_in.sagemaker.create_endpoint(EndpointName="ep", EndpointConfigName="config")
    code, message = _error(stand_in.sagemaker.delete_endpoint, EndpointName="ep")
    assert (code, "in-progress" in message) == ("ValidationException", True)


def test_an_update_replaces_the_model_and_keeps_serving(stand_in: StandIn) -> None:
    stand_in.create_endpoint()
    stand_in.create_model("second", environment={"STUB_BOXES": "[]"})
    stand_in.create_config("second", model="second")
    stand_in.sagemaker.update_endpoint(EndpointName="ep", EndpointConfigName="second")
    stand_in.invoke()
    assert stand_in.settled("ep")["EndpointConfigName"] == "second"
    assert stand_in.message(SUCCESS, count=2)
    answer = stand_in.invoke(b"after the update")
    eventually(lambda: answer["OutputLocation"] in stand_in.objects.contents)
    assert b'"scores": []' in stand_in.objects.contents[answer["OutputLocation"]][0]


def test_a_failed_update_leaves_the_endpoint_unchanged(stand_in: StandIn) -> None:
    stand_in.create_endpoint()
    stand_in.create_model("second", environment={"STUB_STARTUP": "fail"})
    stand_in.create_config("second", model="second")
    stand_in.sagemaker.update_endpoint(EndpointName="ep", EndpointConfigName="second")
    described = stand_in.settled("ep")
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] == "config"
    assert "ended with status" in described["FailureReason"]


def test_an_endpoint_keeps_its_queue_while_scaled_to_zero(stand_in: StandIn) -> None:
    stand_in.create_endpoint()

    def scale(count: int) -> None:
        desired = [{"VariantName": "main", "DesiredInstanceCount": count}]
        stand_in.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName="ep", DesiredWeightsAndCapacities=desired
        )
        assert stand_in.settled("ep")["ProductionVariants"][0]["CurrentInstanceCount"] == count

    scale(0)
    stand_in.topics.messages.clear()
    stand_in.invoke()
    metrics = stand_in.service.endpoints.metrics()["ep"]
    assert (metrics["ApproximateBacklogSize"], metrics["HasBacklogWithoutCapacity"]) == (1, 1)
    assert stand_in.topics.messages == []
    scale(2)
    eventually(lambda: stand_in.service.endpoints.metrics()["ep"]["InvocationsProcesssed"] == 1)


def test_lists_are_paged_sorted_and_filtered(stand_in: StandIn) -> None:
    for name in ("a1", "b2", "a3"):
        stand_in.create_model(name)
    pages = stand_in.sagemaker.get_paginator("list_models").paginate(
        SortBy="Name", SortOrder="Ascending", NameContains="a", PaginationConfig={"PageSize": 1}
    )
    assert [[m["ModelName"] for m in page["Models"]] for page in pages] == [["a1"], ["a3"]]


def test_tags_are_kept_added_and_removed(stand_in: StandIn) -> None:
    arn = stand_in.sagemaker.create_model(
        ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "stub"}, Tags=[{"Key": "a", "Value": "1"}]
    )["ModelArn"]
    stand_in.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    stand_in.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a"])
    assert stand_in.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]
    assert _error(stand_in.sagemaker.list_tags, ResourceArn=arn + "x")[0] == "ValidationException"


def test_the_default_workteam_exists(stand_in: StandIn) -> None:
    team = stand_in.sagemaker.describe_workteam(WorkteamName="autolabel")["Workteam"]
    assert team["WorkteamArn"] == "arn:aws:sagemaker:us-east-1:000000000000:workteam/private-crowd/autolabel"
    assert [t["WorkteamName"] for t in stand_in.sagemaker.list_workteams()["Workteams"]] == ["autolabel"]


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("stub", "stub"),
        ("stub:latest", "stub"),
        ("autolabel/stub:1", "autolabel/stub"),
        ("localhost:5000/stub", "stub"),
        ("1.dkr.ecr.us-east-1.amazonaws.com/team/stub@sha256:abc", "team/stub"),
    ],
)
def test_an_image_is_known_by_its_name_without_registry_and_tag(image: str, name: str) -> None:
    assert image_name(image) == name


def test_no_model_server_outlives_the_service(stand_in: StandIn) -> None:
    import psutil

    stand_in.create_endpoint()
    # Direct children only: an embedded cloud of other tests has processes of its own.
    servers = [p for p in psutil.Process().children() if "models.servers.stub" in p.cmdline()]
    assert servers
    stand_in.service.stop()
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in servers)
