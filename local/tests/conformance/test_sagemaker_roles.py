"""Permissions to call SageMaker, and SageMaker's use of the roles that it is given."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from local.tests.conformance.workbench import Workbench, eventually, policy, unique

TEMPLATE = """<crowd-form><crowd-bounding-box src="{{ task.input.taskObject | grant_read_access }}"
  initial-value="{{ task.input.manifestLine.pre.annotations }}"></crowd-bounding-box></crowd-form>"""
BUILT_IN = "arn:aws:lambda:us-east-1:432418664414:function:"
INVOKES = """
    import boto3

    def handler(event, context):
        boto3.client("sagemaker-runtime").invoke_endpoint_async(
            EndpointName=event["endpoint"], InputLocation=event["input"])
"""
LABELS = """
    import boto3

    def handler(event, context):
        boto3.client("sagemaker").create_labeling_job(**event)
"""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint, and the topic of its answers and failures."""

    name: str
    status: str
    reason: str
    topic: str


def topic_for(bench: Workbench, publisher: str) -> str:
    """Create a topic to which only one role may publish, even if other policies allow more."""
    topic: str = bench.sns.create_topic(Name=unique("t"))["TopicArn"]
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sns:Publish",
        "Resource": topic,
        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": publisher}},
    }
    bench.sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy([deny]))
    return topic


def endpoint(bench: Workbench, role: str, bucket: str, topic: str = "") -> Endpoint:
    """Create an endpoint whose model has the role; return it once it is in service or has failed."""
    name, sagemaker = unique("ep"), bench.sagemaker
    topics = {"NotificationConfig": {"SuccessTopic": topic, "ErrorTopic": topic}} if topic else {}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer={"Image": "stub:1"})
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        ],
        AsyncInferenceConfig={
            "OutputConfig": {"S3OutputPath": f"s3://{bucket}/out", "S3FailurePath": f"s3://{bucket}/failed", **topics}
        },
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def settled() -> dict[str, Any] | None:
        described: dict[str, Any] = sagemaker.describe_endpoint(EndpointName=name)
        return described if described["EndpointStatus"] != "Creating" else None

    described = eventually(settled, 20)
    return Endpoint(name, described["EndpointStatus"], described.get("FailureReason", ""), topic)


def keys(bench: Workbench, bucket: str, prefix: str) -> list[str]:
    return [found["Key"] for found in bench.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


def invoke(bench: Workbench, name: str, bucket: str) -> None:
    bench.s3.put_object(Bucket=bucket, Key="in/1.png", Body=b"pixels")
    bench.sagemaker_runtime.invoke_endpoint_async(EndpointName=name, InputLocation=f"s3://{bucket}/in/1.png")


def test_an_endpoint_with_a_powerless_role_writes_nothing(strict: Workbench) -> None:
    bucket = strict.bucket()
    made = endpoint(strict, strict.role("sagemaker"), bucket)
    assert made.status == "InService"
    invoke(strict, made.name, bucket)
    eventually(lambda: "denied: s3:PutObject" in strict.cloud.log.read_text())
    assert keys(strict, bucket, "") == ["in/1.png"]


def test_an_endpoint_without_read_permission_fails_the_invocation(strict: Workbench) -> None:
    bucket = strict.bucket()
    made = endpoint(strict, strict.role("sagemaker", ("s3:PutObject", f"arn:aws:s3:::{bucket}/failed/*")), bucket)
    invoke(strict, made.name, bucket)
    (failure,) = eventually(lambda: keys(strict, bucket, "failed/"))
    assert b"s3:GetObject" in strict.s3.get_object(Bucket=bucket, Key=failure)["Body"].read()


def test_an_endpoint_publishes_as_its_models_role(strict: Workbench) -> None:
    bucket = strict.bucket()
    needs = [
        ("s3:GetObject", f"arn:aws:s3:::{bucket}/in/*"),
        ("s3:PutObject", f"arn:aws:s3:::{bucket}/out/*"),
        ("sns:Publish", "*"),
    ]
    listed, other = (strict.role("sagemaker", *needs) for _ in range(2))
    topic = topic_for(strict, listed)
    url, queue = strict.open_queue("sns.amazonaws.com")
    strict.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    refused = endpoint(strict, other, bucket, topic)
    assert refused.status == "Failed"
    assert "explicit deny in a resource-based policy" in refused.reason
    made = endpoint(strict, listed, bucket, topic)
    assert made.status == "InService"
    invoke(strict, made.name, bucket)
    messages: list[dict[str, Any]] = []

    def answered() -> bool:
        messages.extend(json.loads(message["Body"]) for message in strict.receive(url))
        return any(message["eventName"] == "InferenceResult" for message in messages)

    eventually(answered)
    assert messages[-1]["invocationStatus"] == "Completed"
    assert len(keys(strict, bucket, "out/")) == 1


def test_only_callers_with_permission_can_invoke_an_endpoint(strict: Workbench) -> None:
    bucket = strict.bucket()
    name = endpoint(strict, strict.role("sagemaker"), bucket).name
    event = {"endpoint": name, "input": f"s3://{bucket}/in/1.png"}
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:endpoint/{name}"
    allowed = strict.role("lambda", ("sagemaker:InvokeEndpointAsync", arn))
    other = strict.role("lambda", ("sagemaker:InvokeEndpointAsync", arn + "-other"))
    assert strict.invoke(strict.function(INVOKES, Role=allowed), event) == (None, None)
    answer, error = strict.invoke(strict.function(INVOKES, Role=other), event)
    assert error == "Unhandled"
    assert "sagemaker:InvokeEndpointAsync" in answer["errorMessage"]


def labelling(bench: Workbench, role: str, bucket: str, **more: Any) -> dict[str, Any]:
    """Make the request for a job of one frame, with its files in the bucket."""
    line = {
        "source-ref": f"s3://{bucket}/1.png",
        "pre": {"image_size": [{"width": 640, "height": 272, "depth": 3}], "annotations": []},
        "pre-metadata": {"class-map": {}},
    }
    categories = {"document-version": "2018-11-28", "labels": [{"label": "car"}]}
    for key, body in {
        "1.png": "png",
        "in.manifest": json.dumps(line),
        "template.liquid": TEMPLATE,
        "categories.json": json.dumps(categories),
    }.items():
        bench.s3.put_object(Bucket=bucket, Key=key, Body=body.encode())
    cors = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "AllowedHeaders": []}]}
    bench.s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=cors)
    return {
        "LabelingJobName": unique("job"),
        "LabelAttributeName": "verified",
        "InputConfig": {"DataSource": {"S3DataSource": {"ManifestS3Uri": f"s3://{bucket}/in.manifest"}}},
        "OutputConfig": {"S3OutputPath": f"s3://{bucket}/labelled"},
        "RoleArn": role,
        "LabelCategoryConfigS3Uri": f"s3://{bucket}/categories.json",
        "HumanTaskConfig": {
            "WorkteamArn": "arn:aws:sagemaker:us-east-1:000000000000:workteam/private-crowd/autolabel",
            "UiConfig": {"UiTemplateS3Uri": f"s3://{bucket}/template.liquid"},
            "PreHumanTaskLambdaArn": BUILT_IN + "PRE-AdjustmentBoundingBox",
            "AnnotationConsolidationConfig": {
                "AnnotationConsolidationLambdaArn": BUILT_IN + "ACS-AdjustmentBoundingBox"
            },
            "TaskTitle": "Verify",
            "TaskDescription": "Verify",
            "NumberOfHumanWorkersPerDataObject": 1,
            "TaskTimeLimitInSeconds": 600,
        },
        **more,
    }


@pytest.mark.parametrize(
    ("actions", "status", "reason"),
    [
        ((), "Failed", "s3:GetObject"),
        (("s3:GetObject",), "Failed", "s3:PutObject"),
        (("s3:GetObject", "s3:PutObject"), "Completed", ""),
    ],
)
def test_a_labelling_job_reads_and_writes_with_its_role(
    strict: Workbench, actions: tuple[str, ...], status: str, reason: str
) -> None:
    bucket = strict.bucket()
    role = strict.role("sagemaker", *((action, f"arn:aws:s3:::{bucket}/*") for action in actions))
    request = labelling(strict, role, bucket)
    strict.sagemaker.create_labeling_job(**request)

    def ended() -> dict[str, Any] | None:
        job: dict[str, Any] = strict.sagemaker.describe_labeling_job(LabelingJobName=request["LabelingJobName"])
        return job if job["LabelingJobStatus"] in ("Failed", "Completed") else None

    job = eventually(ended)
    assert job["LabelingJobStatus"] == status
    assert reason in job.get("FailureReason", "")
    assert job["LabelCounters"]["HumanLabeled"] == (1 if "s3:PutObject" in actions else 0)


def test_creating_a_job_needs_permission_to_pass_its_role_and_to_tag(strict: Workbench) -> None:
    bucket = strict.bucket()
    passed = strict.role("sagemaker")
    request = labelling(strict, passed, bucket, Tags=[{"Key": "drive", "Value": "d"}])
    job = f"arn:aws:sagemaker:us-east-1:000000000000:labeling-job/{request['LabelingJobName']}"
    needs = [("sagemaker:CreateLabelingJob", job), ("sagemaker:AddTags", job), ("iam:PassRole", passed)]
    for missing, _ in needs:
        role = strict.role("lambda", *(need for need in needs if need[0] != missing))
        answer, error = strict.invoke(strict.function(LABELS, Role=role), request)
        assert error == "Unhandled"
        assert missing in answer["errorMessage"]
    assert strict.invoke(strict.function(LABELS, Role=strict.role("lambda", *needs)), request) == (None, None)
