"""A stack in which people see views of the frames, with its policies enforced."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from botocore.exceptions import ClientError
from PIL import Image

from autolabel_cli.models.catalogue import add_model, read_document
from autolabel_cli.stack import Stack
from local import CloudSettings, EmbeddedCloud
from tests.e2e.conftest import STEADY, listen
from tests.e2e.pipeline import WANTED_REFUSALS, Pipeline, timestamps
from tools.demo.deployment import PROJECT, STACK, deploy_endpoint, deploy_stack
from tools.permission_use import keep_permission_use

pytestmark = [pytest.mark.cloud, pytest.mark.slow]
# What the model of views finds in every frame, as shares of it.
PLATE = ["plate", 0.9, 0.25, 0.5, 0.5, 0.75]
BLUR = ("env", f"STUB_BOXES={json.dumps([PLATE])}", sys.executable, "-m", "models.servers.stub", "--port", "{port}")
WIDTH, HEIGHT = 320, 200


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    folder = tmp_path_factory.mktemp("cloud")
    settings = CloudSettings(
        images={"steady": STEADY, "blur": BLUR}, annotator_is_person=True, wait_scale=0.1, enforce_iam=True
    )
    with EmbeddedCloud(folder, settings=settings) as cloud:
        deploy_stack(cloud, folder, {"Privacy": "blur", "AwaitTimeoutSeconds": "5", "StripFrames": "4"})
        stack = Stack.find(STACK, cloud.client)
        for name, document in (("steady", "yolox-nano"), ("blur", "blur")):
            model = read_document(PROJECT / "models" / f"{document}.json", endpoint=name)
            awake = {"MinInstances": "1"}
            deploy_endpoint(cloud, stack.outputs, endpoint=name, image=name, parameters=awake)
            add_model(stack, msgspec.structs.replace(model, name=name))
        pipeline = Pipeline(cloud, stack, listen(cloud, stack.outputs["OpsTopicArn"]))
        yield pipeline
        keep_permission_use(cloud, "e2e-views")
        # All of it went well, although those who show frames may read none.
        assert pipeline.refusals() == []


def frame(index: int) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def shown(pipeline: Pipeline, uri: str) -> Any:
    body = pipeline.stack.labels.read(uri.removeprefix(pipeline.stack.labels.uri("")))
    assert body is not None, f"{uri} is missing"
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))


@pytest.mark.parametrize("task", ["boxes", "tracks"])
def test_reviewers_see_views_and_the_dataset_has_the_frames(pipeline: Pipeline, task: str) -> None:
    names = [f"front/{time}.png" for time in timestamps(6)]
    frames = {name: frame(index) for index, name in enumerate(names)}
    pipeline.upload(task, frames, verification={"policy": "all", "task": task})
    summary = pipeline.succeed(task)
    assert summary["frames"] == {"uploaded": 6, "labelled": 6, "failed": 0, "rejected": 0}
    assert sum(job["verified"] for job in summary["verification"]) == 6
    dataset = pipeline.lines(task, "dataset.manifest")
    assert [line["source-ref"] for line in dataset] == [
        pipeline.stack.ingest.uri(f"drives/{task}/{name}") for name in names
    ]
    # What Ground Truth was given leads to views only, in which the plate is one colour.
    if task == "boxes":
        uris = [line["source-ref"] for line in pipeline.lines(task, "manifests/verify-000.shown.manifest")]
    else:
        files = [line["source-ref"] for line in pipeline.lines(task, "manifests/verify-000.sequences.manifest")]
        bodies = [pipeline.stack.labels.read(file.split("/", 3)[3]) for file in files]
        uris = [one["prefix"] + f["frame"] for one in map(json.loads, filter(None, bodies)) for f in one["frames"]]
    assert len(uris) == 6
    for uri in uris:
        plate = shown(pipeline, uri)[100:150, 80:160].mean(axis=-1)
        assert np.ptp(plate) <= 10
    # The report has pictures, which it can have from views only.
    assert pipeline.read(task, "report.html").count(b"data:image/jpeg") >= 6


def test_who_shows_frames_is_denied_them(pipeline: Pipeline) -> None:
    # tests/contract/test_senders.py has the policies of all roles that show frames.
    role = "LabelingRole"
    key = pipeline.put("denied", f"front/{timestamps(1)[0]}.png", frame(0))
    view = "views/denied/blur.0001/front/1.png"
    pipeline.stack.labels.write(view, b"a view", "image/png")
    cloudformation = pipeline.cloud.client("cloudformation")
    found = cloudformation.describe_stack_resource(StackName=STACK, LogicalResourceId=role)["StackResourceDetail"]
    name = found["PhysicalResourceId"].rpartition("/")[2]
    arn = f"arn:aws:iam::000000000000:role/{name}"
    # Only AWS services may assume these roles; here the test may too.
    trusted = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
    pipeline.cloud.client("iam").update_assume_role_policy(RoleName=name, PolicyDocument=policy)
    keys = pipeline.cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName=WANTED_REFUSALS)["Credentials"]
    s3 = pipeline.client_with("s3", keys)
    assert s3.get_object(Bucket=pipeline.stack.labels.name, Key=view)["Body"].read() == b"a view"
    with pytest.raises(ClientError, match=r"AccessDenied|403"):
        s3.get_object(Bucket=pipeline.stack.ingest.name, Key=key)
