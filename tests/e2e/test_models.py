"""Adding and removing models by the command, by a user with only the permissions that the manual lists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.contract.test_model_sources import SDK, specification
from tests.e2e.pipeline import Pipeline, image
from tests.e2e.terminal import Terminal, documented_permissions, terminal_of_user
from tests.fakes.archives import archive

pytestmark = pytest.mark.cloud
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/choosy:1"
AWAKE = ("--parameter", "MinInstances=1", "--parameter", "MaxInstances=1")


@pytest.fixture(scope="module")
def engineer(pipeline: Pipeline) -> Terminal:
    return terminal_of_user(pipeline, "engineer", documented_permissions("For bringing models"))


def stacks(pipeline: Pipeline) -> list[str]:
    found = pipeline.cloud.client("cloudformation").list_stacks(
        StackStatusFilter=["CREATE_COMPLETE", "CREATE_IN_PROGRESS", "ROLLBACK_COMPLETE", "CREATE_FAILED"]
    )
    return [stack["StackName"] for stack in found["StackSummaries"]]


def test_a_model_can_be_added_tested_changed_and_removed(
    pipeline: Pipeline, engineer: Terminal, tmp_path: Path
) -> None:
    brought = ("models", "add", "second", "--image", IMAGE, "--decoder", "jumpstart-detection", "--inactive", *AWAKE)
    added = engineer.ask(*brought, "--env", "SHADE=dark")
    assert (added["id"], added["outcome"], added["active"]) == ("second.0001", "added", False)
    described = pipeline.cloud.client("sagemaker").describe_endpoint(EndpointName=added["endpoint"])
    assert described["EndpointStatus"] == "InService"

    assert engineer.ask(*brought, "--env", "SHADE=dark")["outcome"] == "already"

    stricter = engineer.ask(*brought, "--env", "SHADE=dark", "--threshold", "0.5")
    assert (stricter["id"], stricter["endpoint"]) == ("second.0002", added["endpoint"])
    assert engineer.ask("models", "show", "second")["document"]["answers_of"] == "0001"
    assert [model["id"] for model in engineer.ask("models", "list")["models"]] == ["choosy.0001", "second.0002"]

    frame = tmp_path / "street.png"
    frame.write_bytes(image())
    answers = len(list(pipeline.stack.labels.list("inference/")))
    trial = engineer.ask("models", "test", "second", str(frame), "--to", str(tmp_path / "boxes.png"))
    assert {d["name"] for d in trial["detections"]} <= {"car", "train", "person", "bicycle", "truck", "bus"}
    assert trial["detections"]
    assert Path(trial["picture"]).read_bytes()[:4] == b"\x89PNG"
    assert len(list(pipeline.stack.labels.list("inference/"))) == answers
    assert not list(pipeline.stack.labels.list("models/_trials/"))

    sagemaker = pipeline.cloud.client("sagemaker")
    assert "exists and is InService" in engineer.refused("models", "restore", "second@0001", "--json")
    sagemaker.delete_endpoint(EndpointName=added["endpoint"])
    assert engineer.ask("models", "restore", "second@0002") == {"id": "second.0002", "endpoint": added["endpoint"]}
    assert sagemaker.describe_endpoint(EndpointName=added["endpoint"])["EndpointStatus"] == "InService"

    engineer.ask("models", "remove", "second")
    # From its deleted stack, for a run that waits for it.
    assert engineer.ask("models", "restore", "second@0001")["endpoint"] == added["endpoint"]
    assert sagemaker.describe_endpoint(EndpointName=added["endpoint"])["EndpointStatus"] == "InService"

    removed = engineer.ask("models", "remove", "second")
    assert removed["deleted"] == [added["endpoint"]]
    assert added["endpoint"] not in stacks(pipeline)
    assert "no model 'second'" in engineer.refused("models", "show", "second")
    assert "no model 'second'" in engineer.refused("models", "remove", "second")


def test_a_jumpstart_model_is_resolved_by_the_sdk_and_deployed(
    pipeline: Pipeline, engineer: Terminal, tmp_path: Path
) -> None:
    if not SDK.exists():
        pytest.skip("the SageMaker SDK is not installed: `make setup-sagemaker`")
    model, bucket = "pytorch-od-street", "jumpstart-cache-prod-us-east-1"
    images = {
        "regional_aliases": {"us-east-1": {"uri": IMAGE}},
        "variants": {"g4dn": {"regional_properties": {"image_uri": "$uri"}}},
    }
    spec = specification(model, "1.0.0", hosting_instance_type_variants=images)
    header = {"model_id": model, "version": "1.0.0", "min_version": "2.0.0", "spec_key": "spec.json"}
    (tmp_path / "models_manifest.json").write_text(json.dumps([header]))
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    overrides = {f"AWS_JUMPSTART_{name}_LOCAL_ROOT_DIR_OVERRIDE": str(tmp_path) for name in ("MANIFEST", "SPECS")}
    terminal = Terminal({**engineer.environment, **overrides, "AUTOLABEL_SAGEMAKER": str(SDK)})
    brought = ("models", "add", "street", "--jumpstart", model, "--inactive")

    missing = terminal.refused(*brought, "--json")
    assert f"s3://{bucket}/{spec['hosting_prepacked_artifact_key']}" in missing

    s3, weights = pipeline.cloud.client("s3"), archive({"model.onnx": b"weights"}, "tar.gz")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key=spec["hosting_prepacked_artifact_key"], Body=weights)
    added = terminal.ask(*brought)
    assert added["outcome"] == "added"
    document = terminal.ask("models", "show", "street")["document"]
    assert document["decoder"] == "jumpstart-detection"
    (artefact,) = pipeline.stack.labels.list("models/street/0001/")
    assert pipeline.stack.labels.read(artefact.key) == weights

    terminal.ask("models", "remove", "street")
    assert not list(pipeline.stack.labels.list("models/street/"))


def test_a_failed_deployment_says_why_and_is_removed(pipeline: Pipeline, engineer: Terminal) -> None:
    unknown = IMAGE.replace("choosy", "nobody")
    said = engineer.refused("models", "add", "third", "--image", unknown, "--decoder", "jumpstart-detection", "--json")
    assert "third.0001 was not deployed, and nothing of it is left: Endpoint failed" in said
    assert "nobody" in said
    assert not [name for name in stacks(pipeline) if "third" in name]
    assert not list(pipeline.stack.labels.list("catalogue/models/third/"))
