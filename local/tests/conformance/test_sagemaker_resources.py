"""SageMaker from templates and state machines; tests/sagemaker covers the rest of its behaviour."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from local.cloud.launcher import EmbeddedCloud
from local.settings import CloudSettings
from local.tests.conformance.workbench import Workbench, eventually, unique

ROLE = "arn:aws:iam::000000000000:role/endpoints"
PASS: dict[str, Any] = {"Type": "Pass", "End": True}


@pytest.fixture(scope="module")
def hosting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    stub = [sys.executable, "-m", "models.servers.stub", "--port", "{port}"]
    settings = CloudSettings(images={"stub": stub}, wait_scale=0.05)
    with EmbeddedCloud(tmp_path_factory.mktemp("hosting"), settings=settings) as cloud:
        yield Workbench(cloud)


def template(bucket: str, image: str) -> str:
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
        "InitialInstanceCount": {"Ref": "Count"},
        "InstanceType": "ml.g4dn.xlarge",
    }
    resources = {
        "Model": {
            "Type": "AWS::SageMaker::Model",
            "Properties": {"ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": image}},
        },
        "Config": {
            "Type": "AWS::SageMaker::EndpointConfig",
            "Properties": {
                "ProductionVariants": [variant],
                "AsyncInferenceConfig": {
                    "OutputConfig": {"S3OutputPath": f"s3://{bucket}/out", "S3FailurePath": f"s3://{bucket}/fail"},
                    "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 2},
                },
            },
        },
        "Endpoint": {
            "Type": "AWS::SageMaker::Endpoint",
            "Properties": {"EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]}},
        },
    }
    outputs = {
        "Ref": {"Value": {"Ref": "Endpoint"}},
        "Name": {"Value": {"Fn::GetAtt": ["Endpoint", "EndpointName"]}},
    }
    parameters = {"Count": {"Type": "Number", "Default": 1}}
    return json.dumps({"Parameters": parameters, "Resources": resources, "Outputs": outputs})


def settled(bench: Workbench, name: str) -> dict[str, Any]:
    def described() -> dict[str, Any] | None:
        [stack] = bench.cloudformation.describe_stacks(StackName=name)["Stacks"]
        return stack if not stack["StackStatus"].endswith("_IN_PROGRESS") else None

    return dict(eventually(described, 60))


def test_a_stack_creates_and_deletes_an_endpoint(hosting: Workbench) -> None:
    name, bucket = unique("endpoint"), hosting.bucket()
    hosting.cloudformation.create_stack(
        StackName=name, TemplateBody=template(bucket, "000000000000.dkr.ecr.us-east-1.amazonaws.com/stub:1")
    )
    stack = settled(hosting, name)
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert outputs["Ref"].startswith("arn:aws:sagemaker:us-east-1:000000000000:endpoint/")
    endpoint = hosting.sagemaker.describe_endpoint(EndpointName=outputs["Name"])
    assert endpoint["EndpointStatus"] == "InService"
    hosting.s3.put_object(Bucket=bucket, Key="in", Body=b"x")
    answer = hosting.sagemaker_runtime.invoke_endpoint_async(
        EndpointName=outputs["Name"], InputLocation=f"s3://{bucket}/in", ContentType="application/x-image"
    )
    assert answer["OutputLocation"].startswith(f"s3://{bucket}/out/")
    eventually(
        lambda: (
            hosting.s3.list_objects_v2(Bucket=bucket, Prefix="out/").get("Contents")
            or hosting.s3.list_objects_v2(Bucket=bucket, Prefix="fail/").get("Contents")
        )
    )
    hosting.cloudformation.delete_stack(StackName=name)
    eventually(lambda: not hosting.sagemaker.list_endpoints()["Endpoints"])
    eventually(lambda: not hosting.sagemaker.list_models()["Models"])


def test_a_failed_endpoint_fails_the_stack_with_its_reason(hosting: Workbench) -> None:
    name = unique("broken")
    hosting.cloudformation.create_stack(
        StackName=name, TemplateBody=template(hosting.bucket(), "unknown-image:1"), OnFailure="DO_NOTHING"
    )
    assert settled(hosting, name)["StackStatus"] == "CREATE_FAILED"
    events = hosting.cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    assert any("unknown-image" in event.get("ResourceStatusReason", "") for event in events)


def test_a_failed_endpoint_is_deleted_with_its_stack(hosting: Workbench) -> None:
    name = unique("undone")
    hosting.cloudformation.create_stack(
        StackName=name, TemplateBody=template(hosting.bucket(), "unknown-image:1"), OnFailure="DELETE"
    )
    stacks = hosting.cloudformation.list_stacks

    def status() -> str:
        return next(s["StackStatus"] for s in stacks()["StackSummaries"] if s["StackName"] == name)

    eventually(lambda: status() == "DELETE_COMPLETE", 60)
    endpoints = hosting.sagemaker.list_endpoints(NameContains=name)["Endpoints"]
    assert not endpoints


def test_a_refused_job_is_a_named_error(bench: Workbench) -> None:
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sagemaker:createLabelingJob.sync",
        "Arguments": {"LabelingJobName": "job"},
        "Catch": [{"ErrorEquals": ["States.Runtime", "SageMaker.AmazonSageMakerException"], "Next": "Caught"}],
        "End": True,
    }
    execution = bench.start(bench.machine({"A": state, "Caught": PASS}))
    described = bench.outcome(execution)
    assert "TaskFailed" in bench.kinds(execution), described


def test_describing_an_unknown_job_is_a_named_error(bench: Workbench) -> None:
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sagemaker:describeLabelingJob",
        "Arguments": {"LabelingJobName": "absent"},
        "End": True,
    }
    assert bench.failure({"A": state})[0] in ("SageMaker.ResourceNotFoundException", "SageMaker.ValidationException")


def job_arguments(bucket: str, role: str, name: str) -> dict[str, Any]:
    lambdas = "arn:aws:lambda:us-east-1:432418664414:function:"
    return {
        "LabelingJobName": name,
        "LabelAttributeName": "verified",
        "InputConfig": {"DataSource": {"S3DataSource": {"ManifestS3Uri": f"s3://{bucket}/in.manifest"}}},
        "OutputConfig": {"S3OutputPath": f"s3://{bucket}/gt"},
        "RoleArn": role,
        "LabelCategoryConfigS3Uri": f"s3://{bucket}/categories.json",
        "HumanTaskConfig": {
            "WorkteamArn": "arn:aws:sagemaker:us-east-1:000000000000:workteam/private-crowd/autolabel",
            "UiConfig": {"UiTemplateS3Uri": f"s3://{bucket}/template.liquid"},
            "PreHumanTaskLambdaArn": f"{lambdas}PRE-AdjustmentBoundingBox",
            "AnnotationConsolidationConfig": {
                "AnnotationConsolidationLambdaArn": f"{lambdas}ACS-AdjustmentBoundingBox"
            },
            "TaskTitle": "Verify",
            "TaskDescription": "Verify",
            "NumberOfHumanWorkersPerDataObject": 1,
            "TaskTimeLimitInSeconds": 600,
        },
    }


def test_a_labelling_job_ends_and_keeps_its_name(bench: Workbench) -> None:
    bucket, name = bench.bucket(), unique("job")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    role = bench.iam.create_role(RoleName=unique("role"), AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "AllowedHeaders": []}
    bench.s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    line = {
        "source-ref": f"s3://{bucket}/1.png",
        "pre": {"image_size": [{"width": 9, "height": 9, "depth": 3}], "annotations": []},
        "pre-metadata": {"class-map": {}},
    }
    files = {
        "1.png": "image",
        "in.manifest": json.dumps(line),
        "categories.json": json.dumps({"document-version": "2018-11-28", "labels": [{"label": "car"}]}),
        "template.liquid": (
            '<crowd-form><crowd-bounding-box src="{{ task.input.taskObject }}"></crowd-bounding-box></crowd-form>'
        ),
    }
    for key, body in files.items():
        bench.s3.put_object(Bucket=bucket, Key=key, Body=body.encode())
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sagemaker:createLabelingJob.sync",
        "Arguments": job_arguments(bucket, role, name),
    }
    states = {
        "First": {**task, "Output": "{% $states.result %}", "Next": "Again"},
        "Again": {
            **task,
            "Catch": [
                {
                    "ErrorEquals": ["SageMaker.ResourceInUseException"],
                    "Next": "Done",
                    "Output": "{% $states.input %}",
                }
            ],
            "End": True,
        },
        "Done": PASS,
    }
    job = bench.run(states)
    assert job["LabelingJobStatus"] == "Completed"
    assert job["LabelingJobOutput"]["OutputDatasetS3Uri"] == f"s3://{bucket}/gt/{name}/manifests/output/output.manifest"
