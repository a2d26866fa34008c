"""The stand-in inside the embedded cloud, used through boto3 alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from local.cloud.launcher import EmbeddedCloud
from local.settings import CloudSettings
from local.tests.sagemaker.stand_in import STUB, eventually

pytestmark = pytest.mark.cloud

YOLOX = [sys.executable, "-m", "models.servers.yolox", "--port", "{port}"]
TEMPLATE = """<crowd-form><crowd-bounding-box src="{{ task.input.taskObject | grant_read_access }}"
  initial-value="{{ task.input.manifestLine.pre.annotations }}"></crowd-bounding-box></crowd-form>"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCloud]:
    settings = CloudSettings(images={"stub": STUB, "yolox": YOLOX}, annotator_is_person=True)
    with EmbeddedCloud(tmp_path_factory.mktemp("cloud"), settings=settings) as cloud:
        s3 = cloud.client("s3")
        s3.create_bucket(Bucket="drives")
        s3.create_bucket(Bucket="labels")
        yield cloud


@pytest.fixture(scope="module")
def role(cloud: EmbeddedCloud) -> str:
    arn: str = cloud.client("iam").create_role(RoleName="endpoints", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    return arn


def _queue_fed_by(cloud: EmbeddedCloud, name: str, service: str) -> tuple[str, str]:
    """Create a queue to which an AWS service may send; return its URL and ARN."""
    sqs = cloud.client("sqs")
    arn = f"arn:aws:sqs:us-east-1:000000000000:{name}"
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return sqs.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"], arn


def _queue_behind(cloud: EmbeddedCloud, topic: str) -> str:
    url, arn = _queue_fed_by(cloud, topic.rsplit(":", 1)[-1], "sns.amazonaws.com")
    cloud.client("sns").subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"}
    )
    return url


def _next_message(cloud: EmbeddedCloud, queue: str) -> dict[str, Any]:
    sqs = cloud.client("sqs")
    (message,) = eventually(
        lambda: sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=1, WaitTimeSeconds=1).get("Messages")
    )
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    parsed: dict[str, Any] = json.loads(message["Body"])
    return parsed


def _create_endpoint(cloud: EmbeddedCloud, name: str, image: str, role: str, notifications: dict[str, str]) -> None:
    sagemaker = cloud.client("sagemaker")
    sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": f"{image}:latest"}, ExecutionRoleArn=role)
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        ],
        AsyncInferenceConfig={
            "OutputConfig": {
                "S3OutputPath": "s3://labels/out",
                "S3FailurePath": "s3://labels/failed",
                "NotificationConfig": notifications,
            }
        },
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    eventually(lambda: sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService")


def test_an_invocation_goes_from_s3_through_a_model_to_s3_and_a_queue(cloud: EmbeddedCloud, role: str) -> None:
    sns, s3, runtime = cloud.client("sns"), cloud.client("s3"), cloud.client("sagemaker-runtime")
    success, error = (sns.create_topic(Name=name)["TopicArn"] for name in ("success", "error"))
    succeeded, failed = _queue_behind(cloud, success), _queue_behind(cloud, error)
    _create_endpoint(cloud, "ep", "stub", role, {"SuccessTopic": success, "ErrorTopic": error})
    assert _next_message(cloud, succeeded)["eventName"] == "TestNotification"
    assert _next_message(cloud, failed)["eventName"] == "TestNotification"

    s3.put_object(Bucket="drives", Key="a b+c.png", Body=b"pixels")
    answer = runtime.invoke_endpoint_async(
        EndpointName="ep",
        InputLocation="s3://drives/a b+c.png",
        InferenceId="unit-1",
        ContentType="application/x-image",
        S3OutputPathExtension="d1/front",
        Filename="one.out",
    )
    assert answer["OutputLocation"] == "s3://labels/out/d1/front/one.out"
    message = _next_message(cloud, succeeded)
    assert (message["invocationStatus"], message["inferenceId"]) == ("Completed", "unit-1")
    stored = s3.get_object(Bucket="labels", Key="out/d1/front/one.out")
    assert stored["ContentType"] == "application/json"
    assert "normalized_boxes" in json.loads(stored["Body"].read())

    lost = runtime.invoke_endpoint_async(EndpointName="ep", InputLocation="s3://drives/none.png")
    message = _next_message(cloud, failed)
    assert (message["invocationStatus"], message["inferenceId"]) == ("Failed", lost["InferenceId"])
    key = lost["FailureLocation"].removeprefix("s3://labels/")
    assert b"none.png" in s3.get_object(Bucket="labels", Key=key)["Body"].read()


def test_an_unknown_endpoint_is_a_validation_error(cloud: EmbeddedCloud) -> None:
    runtime = cloud.client("sagemaker-runtime")
    with pytest.raises(runtime.exceptions.ClientError, match="nobody of account 000000000000 not found") as refused:
        runtime.invoke_endpoint_async(EndpointName="nobody", InputLocation="s3://drives/x.png")
    assert refused.value.response["Error"]["Code"] == "ValidationError"


def test_the_real_detector_serves_behind_an_endpoint(cloud: EmbeddedCloud, role: str) -> None:
    _create_endpoint(cloud, "yolox", "yolox", role, {})
    cloud.client("s3").put_object(Bucket="drives", Key="no-image.png", Body=b"text")
    answer = cloud.client("sagemaker-runtime").invoke_endpoint_async(
        EndpointName="yolox", InputLocation="s3://drives/no-image.png", ContentType="application/x-image"
    )
    key = answer["FailureLocation"].removeprefix("s3://labels/")
    listed = eventually(lambda: cloud.client("s3").list_objects_v2(Bucket="labels", Prefix=key).get("Contents"))
    assert listed[0]["Key"] == key
    body = cloud.client("s3").get_object(Bucket="labels", Key=key)["Body"].read()
    assert json.loads(body)["code"] == 400


def test_a_labelling_job_checks_cors_and_sends_an_event(cloud: EmbeddedCloud, role: str) -> None:
    s3, sagemaker, events = cloud.client("s3"), cloud.client("sagemaker"), cloud.client("events")
    queue, queue_arn = _queue_fed_by(cloud, "jobs", "events.amazonaws.com")
    events.put_rule(Name="jobs", EventPattern='{"source": ["aws.sagemaker"]}')
    events.put_targets(Rule="jobs", Targets=[{"Id": "q", "Arn": queue_arn}])
    line = {
        "source-ref": "s3://drives/1.png",
        "pre": {
            "image_size": [{"width": 640, "height": 272, "depth": 3}],
            "annotations": [{"class_id": 0, "left": 1, "top": 2, "width": 3, "height": 4}],
        },
        "pre-metadata": {"class-map": {"0": "car"}},
    }
    categories = {"document-version": "2018-11-28", "labels": [{"label": "car"}]}
    for key, body in {
        "in.manifest": json.dumps(line),
        "template.liquid": TEMPLATE,
        "categories.json": json.dumps(categories),
    }.items():
        s3.put_object(Bucket="labels", Key=key, Body=body.encode())
    s3.put_object(Bucket="drives", Key="1.png", Body=b"png")

    def label(name: str) -> dict[str, Any]:
        sagemaker.create_labeling_job(
            LabelingJobName=name,
            LabelAttributeName="verified",
            InputConfig={"DataSource": {"S3DataSource": {"ManifestS3Uri": "s3://labels/in.manifest"}}},
            OutputConfig={"S3OutputPath": "s3://labels/gt"},
            RoleArn=role,
            LabelCategoryConfigS3Uri="s3://labels/categories.json",
            HumanTaskConfig={
                "WorkteamArn": "arn:aws:sagemaker:us-east-1:000000000000:workteam/private-crowd/autolabel",
                "UiConfig": {"UiTemplateS3Uri": "s3://labels/template.liquid"},
                "PreHumanTaskLambdaArn": "arn:aws:lambda:us-east-1:432418664414:function:PRE-AdjustmentBoundingBox",
                "AnnotationConsolidationConfig": {
                    "AnnotationConsolidationLambdaArn": (
                        "arn:aws:lambda:us-east-1:432418664414:function:ACS-AdjustmentBoundingBox"
                    )
                },
                "TaskTitle": "Verify",
                "TaskDescription": "Verify",
                "NumberOfHumanWorkersPerDataObject": 1,
                "TaskTimeLimitInSeconds": 600,
            },
        )
        event = _next_message(cloud, queue)
        assert event["detail-type"] == "SageMaker Ground Truth Labeling Job State Change"
        assert event["detail"] == {"LabelingJobStatus": "Completed"}
        assert event["resources"] == [f"arn:aws:sagemaker:us-east-1:000000000000:labeling-job/{name}"]
        described: dict[str, Any] = sagemaker.describe_labeling_job(LabelingJobName=name)
        return described

    assert label("without-cors")["LabelCounters"]["FailedNonRetryableError"] == 1
    s3.put_bucket_cors(
        Bucket="drives",
        CORSConfiguration={"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "AllowedHeaders": []}]},
    )
    job = label("with-cors")
    assert job["LabelCounters"]["HumanLabeled"] == 1
    assert job["LabelingJobOutput"]["OutputDatasetS3Uri"] == "s3://labels/gt/with-cors/manifests/output/output.manifest"
    output = s3.get_object(Bucket="labels", Key="gt/with-cors/manifests/output/output.manifest")["Body"].read()
    assert json.loads(output)["verified"]["annotations"] == line["pre"]["annotations"]  # type: ignore[index]
