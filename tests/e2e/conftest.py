"""One embedded cloud with the whole stack, a choosy model and a patient annotator, for all end-to-end tests."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

import msgspec
import pytest

from autolabel_cli.evaluation.servers import known_servers
from autolabel_cli.models.catalogue import add_model, read_document
from autolabel_cli.stack import Stack
from local import CloudSettings, EmbeddedCloud
from tests.e2e.pipeline import Pipeline
from tools.demo.deployment import PROJECT, STACK, deploy_endpoint, deploy_stack
from tools.permission_use import keep_permission_use

IMAGE = "choosy"
# A second model; tests deploy it when they need it. It finds one car in every frame and never fails.
STEADY_IMAGE = "steady"
STEADY = (
    *("env", 'STUB_BOXES=[["car", 0.8, 0.1, 0.2, 0.5, 0.6]]'),
    *(sys.executable, "-m", "models.servers.stub", "--port", "{port}"),
)
# A real detector, which the notebook deploys.
DETECTOR_IMAGE = "yolox-nano"
DETECTOR = (sys.executable, "-m", known_servers(PROJECT / "models")[DETECTOR_IMAGE], "--port", "{port}")
# A model with masks.
SEGMENTING_IMAGE = "segmenting"
SEGMENTING = (sys.executable, "-m", "tests.e2e.segmenting_model", "--port", "{port}")
MODEL = (sys.executable, "-m", "tests.e2e.choosy_model", "--port", "{port}")


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    folder = tmp_path_factory.mktemp("cloud")
    settings = CloudSettings(
        images={IMAGE: MODEL, STEADY_IMAGE: STEADY, DETECTOR_IMAGE: DETECTOR, SEGMENTING_IMAGE: SEGMENTING},
        annotator="tests.e2e.annotators:annotate",
        annotator_is_person=True,
        wait_scale=0.1,
        alarm_scale=0.01,
        enforce_iam=True,
        faults=True,
    )
    with EmbeddedCloud(folder, settings=settings) as cloud:
        parameters = {
            "AwaitTimeoutSeconds": "5",
            "UnsubmittedAfterSeconds": "4",
            "FramesPatienceSeconds": "4",
            "FramesPollSeconds": "1",
            "AbandonedAfterSeconds": "4",
            "BuryAfterReceives": "2",
            "ShardFrames": "4",
            "PartFrames": "8",
            "MaxJobObjects": "8",
            "StripFrames": "6",
            # One frame with reviewers costs 8 cents.
            "MaxRunDollars": "0.05",
            # Tests upload the canaries.
            "CanarySchedule": "rate(365 days)",
            "KmsKeyArn": make_key(cloud),
        }
        deploy_stack(cloud, folder, parameters)
        stack = Stack.find(STACK, cloud.client)
        model = read_document(PROJECT / "models" / "yolox-nano.json", endpoint="choosy")
        model = msgspec.structs.replace(model, name="choosy", classes={**model.classes, "train": "train"})
        # Keeps one instance awake, except where a test is about its sleep.
        awake = {"MinInstances": "1"}
        deploy_endpoint(cloud, stack.outputs, endpoint=model.endpoint, image=IMAGE, parameters=awake)
        add_model(stack, model)
        pipeline = Pipeline(cloud, stack, listen(cloud, stack.outputs["OpsTopicArn"]))
        yield pipeline
        keep_permission_use(cloud, f"e2e-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}")
        # A function may go on after a refusal by IAM, which no other check would notice.
        assert pipeline.refusals() == []


def make_key(cloud: EmbeddedCloud) -> str:
    """Deploy security/key.yaml; returns the ARN of its key."""
    formation, template = cloud.client("cloudformation"), PROJECT / "security" / "key.yaml"
    formation.create_stack(StackName="autolabel-key", TemplateBody=template.read_text())
    formation.get_waiter("stack_create_complete").wait(StackName="autolabel-key", WaiterConfig={"Delay": 1})
    (output,) = formation.describe_stacks(StackName="autolabel-key")["Stacks"][0]["Outputs"]
    return str(output["OutputValue"])


def listen(cloud: EmbeddedCloud, topic: str) -> str:
    """Subscribe a queue to the ops topic; returns its URL."""
    sqs = cloud.client("sqs")
    arn = "arn:aws:sqs:us-east-1:000000000000:ops"
    allow = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{**allow, "Resource": arn}]})
    url: str = sqs.create_queue(QueueName="ops", Attributes={"Policy": policy})["QueueUrl"]
    cloud.client("sns").subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"}
    )
    return url
