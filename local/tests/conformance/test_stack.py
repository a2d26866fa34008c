"""A stack with one of each resource type that the project uses: it deploys, and each part has its properties."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.cloud.lambda_runtime import HOST_ARCHITECTURE
from local.tests.conformance.workbench import RUNTIME, Workbench, eventually, unique, zipped

FOLDER = Path(__file__).parent / "stack"
CODE = """
    import json
    import os
    import shared
    import boto3

    def submit(event, context):
        failures = []
        for record in event["Records"]:
            body = json.loads(record["body"])
            if body.get("Event") == "s3:TestEvent":
                continue
            for change in body["Records"]:
                key = change["s3"]["object"]["key"]
                if "poison" in key:
                    failures.append({"itemIdentifier": record["messageId"]})
                    continue
                boto3.client("dynamodb").put_item(
                    TableName=os.environ["TABLE"], Item={"pk": {"S": "key"}, "sk": {"S": key}}
                )
                boto3.client("sns").publish(TopicArn=os.environ["TOPIC"], Message=json.dumps({"key": key}))
        print("saw", len(event["Records"]))
        return {"batchItemFailures": failures}

    def work(event, context):
        if event["key"] == "bad":
            raise ValueError("bad key")
        return {"key": event["key"], "from": shared.NAME, "own": os.environ["OWN"], "level": os.environ["LEVEL"]}
"""


@pytest.fixture(scope="module")
def stack(bench: Workbench) -> Iterator[dict[str, str]]:
    code = bench.bucket()
    bench.s3.put_object(Bucket=code, Key="code.zip", Body=zipped({"app.py": CODE}))
    bench.s3.put_object(Bucket=code, Key="layer.zip", Body=zipped({"python/shared.py": "NAME = 'layer'\n"}))
    bench.s3.put_object(Bucket=code, Key="machine.asl.yaml", Body=(FOLDER / "machine.asl.yaml").read_bytes())
    name = unique("everything")
    template = (FOLDER / "template.yaml").read_text()
    bench.cloudformation.create_stack(
        StackName=name,
        TemplateBody=template.replace("RUNTIME", RUNTIME).replace("ARCHITECTURE", HOST_ARCHITECTURE),
        Parameters=[{"ParameterKey": "CodeBucket", "ParameterValue": code}],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    described = await_stack(bench, name)
    assert described["StackStatus"] == "CREATE_COMPLETE", reasons(bench, name)
    yield {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]} | {"StackName": name}
    bench.cloudformation.delete_stack(StackName=name)


def await_stack(bench: Workbench, name: str) -> dict[str, Any]:
    def settled() -> dict[str, Any] | None:
        [described] = bench.cloudformation.describe_stacks(StackName=name)["Stacks"]
        return described if not described["StackStatus"].endswith("_IN_PROGRESS") else None

    return dict(eventually(settled, 40))


def reasons(bench: Workbench, name: str) -> list[str]:
    events = bench.cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    return [
        f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason')}" for e in events if "FAILED" in e["ResourceStatus"]
    ]


def test_an_upload_runs_through_queue_function_table_and_topic(bench: Workbench, stack: dict[str, str]) -> None:
    key = "drives/red flower+é.jpg"
    bench.s3.put_object(Bucket=stack["Bucket"], Key=key, Body=b"1234")
    bench.s3.put_object(Bucket=stack["Bucket"], Key="elsewhere/x.jpg", Body=b"1234")
    item = eventually(lambda: bench.dynamodb.scan(TableName=stack["Table"])["Items"])[0]
    assert item["sk"]["S"] == "drives/red+flower%2B%C3%A9.jpg"
    raw = json.loads(bench.receive(stack["Answers"])[0]["Body"])
    wrapped = json.loads(bench.receive(stack["Plain"])[0]["Body"])
    assert raw == json.loads(wrapped["Message"])
    assert (wrapped["Type"], wrapped["TopicArn"]) == ("Notification", stack["Done"])


def test_a_failing_message_is_dead_lettered_and_raises_the_alarm(bench: Workbench, stack: dict[str, str]) -> None:
    bench.sqs.set_queue_attributes(QueueUrl=stack["Uploads"], Attributes={"VisibilityTimeout": "1"})
    bench.s3.put_object(Bucket=stack["Bucket"], Key="drives/poison.jpg", Body=b"1")
    [message] = bench.receive(stack["DeadUploads"], within=15)
    record = json.loads(message["Body"])["Records"][0]
    assert record["s3"]["object"]["key"] == "drives/poison.jpg"
    assert record["s3"]["object"]["size"] == 1
    assert {"eTag", "versionId", "sequencer"} <= record["s3"]["object"].keys()
    bench.sqs.change_message_visibility(
        QueueUrl=stack["DeadUploads"], ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
    )

    def alarmed() -> bool:
        [alarm] = bench.cloudwatch.describe_alarms(AlarmNames=[stack["DeadLettersAlarm"]])["MetricAlarms"]
        return bool(alarm["StateValue"] == "ALARM")

    eventually(alarmed)


def test_the_machine_is_read_from_yaml_with_its_substitutions(bench: Workbench, stack: dict[str, str]) -> None:
    described = bench.stepfunctions.describe_state_machine(stateMachineArn=stack["Machine"])
    definition = json.loads(described["definition"])
    assert definition["States"]["Work"]["TimeoutSeconds"] == 20
    assert definition["TimeoutSeconds"] == 600
    assert described["loggingConfiguration"]["level"] == "ERROR"
    done = bench.outcome(bench.start(stack["Machine"], {"key": "good"}))
    assert json.loads(done["output"]) == {"key": "good", "from": "layer", "own": "1", "level": "INFO"}


def test_a_failed_run_reaches_operators_through_rule_and_alarm(bench: Workbench, stack: dict[str, str]) -> None:
    name = unique("run")
    assert bench.outcome(bench.start(stack["Machine"], {"key": "bad"}, name=name))["error"] == "ValueError"
    bodies: list[str] = []

    def both() -> bool:
        for message in bench.sqs.receive_message(QueueUrl=stack["Answers"], MaxNumberOfMessages=10).get("Messages", []):
            bodies.append(message["Body"])
        said = any(f"The run {name} ended as FAILED" in body for body in bodies)
        return said and any(stack["FailedRunsAlarm"] in body for body in bodies)

    eventually(both)


def test_the_bucket_matches_the_template(bench: Workbench, stack: dict[str, str]) -> None:
    bucket = {"Bucket": stack["Bucket"]}
    assert bench.s3.get_bucket_versioning(**bucket)["Status"] == "Enabled"
    [rule] = bench.s3.get_bucket_cors(**bucket)["CORSRules"]
    assert rule["ExposeHeaders"] == ["Access-Control-Allow-Origin"]
    rules = bench.s3.get_bucket_lifecycle_configuration(**bucket)["Rules"]
    assert {rule["ID"] for rule in rules} == {"parts", "old"}
    block = bench.s3.get_public_access_block(**bucket)["PublicAccessBlockConfiguration"]
    assert all(block.values())
    [sse] = bench.s3.get_bucket_encryption(**bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert sse["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert "SecureTransport" in bench.s3.get_bucket_policy(**bucket)["Policy"]
    [note] = bench.s3.get_bucket_notification_configuration(**bucket)["QueueConfigurations"]
    assert note["Filter"]["Key"]["FilterRules"] == [{"Name": "prefix", "Value": "drives/"}]
    ownership = bench.s3.get_bucket_ownership_controls(**bucket)["OwnershipControls"]["Rules"]
    assert ownership == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert bench.s3.get_bucket_logging(**bucket)["LoggingEnabled"]["TargetPrefix"] == "data/"


def test_queues_table_and_logs_match_the_template(bench: Workbench, stack: dict[str, str]) -> None:
    attributes = bench.sqs.get_queue_attributes(QueueUrl=stack["Uploads"], AttributeNames=["All"])["Attributes"]
    assert attributes["MessageRetentionPeriod"] == "1209600"
    assert json.loads(attributes["RedrivePolicy"])["maxReceiveCount"] in (3, "3")
    table = bench.dynamodb.describe_table(TableName=stack["Table"])["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table["SSEDescription"]["Status"] == "ENABLED"
    backups = bench.dynamodb.describe_continuous_backups(TableName=stack["Table"])["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    ttl = bench.dynamodb.describe_time_to_live(TableName=stack["Table"])["TimeToLiveDescription"]
    assert (ttl["TimeToLiveStatus"], ttl["AttributeName"]) == ("ENABLED", "expires")
    [group] = bench.logs.describe_log_groups(logGroupNamePrefix=stack["FunctionsLog"])["logGroups"]
    assert group["retentionInDays"] == 7


def test_functions_mappings_and_roles_match_the_template(bench: Workbench, stack: dict[str, str]) -> None:
    config = bench.functions.get_function_configuration(FunctionName=stack["Submit"])
    assert (config["Timeout"], config["MemorySize"], config["TracingConfig"]["Mode"]) == (10, 256, "Active")
    assert config["LoggingConfig"]["LogGroup"] == stack["FunctionsLog"]
    [mapping] = bench.functions.list_event_source_mappings(FunctionName=stack["Submit"])["EventSourceMappings"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert bench.functions.get_function_concurrency(FunctionName=stack["Work"])["ReservedConcurrentExecutions"] == 5
    policies = bench.iam.list_role_policies(RoleName=stack["Role"])["PolicyNames"]
    assert policies == ["objects"]
    events = bench.logs.filter_log_events(logGroupName=stack["FunctionsLog"])["events"]
    assert any("saw" in event["message"] for event in events)


@pytest.mark.parametrize("kind", ["AWS::SQS::Queue", "AWS::Lambda::EventSourceMapping"])
def test_an_ignored_property_fails_the_stack(bench: Workbench, kind: str) -> None:
    name = unique("dropped")
    template = {"Resources": {"Q": {"Type": kind, "Properties": {"NoSuchThing": 1}}}}
    bench.cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template), OnFailure="DO_NOTHING")
    assert await_stack(bench, name)["StackStatus"] == "CREATE_FAILED"
    assert "NoSuchThing" in "".join(reasons(bench, name))


def test_a_notification_to_a_queue_closed_to_s3_fails_the_stack(bench: Workbench) -> None:
    name = unique("refused")
    note = {"QueueConfigurations": [{"Event": "s3:ObjectCreated:*", "Queue": {"Fn::GetAtt": ["Q", "Arn"]}}]}
    template = {
        "Resources": {
            "Q": {"Type": "AWS::SQS::Queue"},
            "B": {"Type": "AWS::S3::Bucket", "Properties": {"NotificationConfiguration": note}},
        }
    }
    bench.cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template), OnFailure="DO_NOTHING")
    assert await_stack(bench, name)["StackStatus"] == "CREATE_FAILED"
    assert "Unable to validate" in "".join(reasons(bench, name))


def test_an_invalid_state_machine_fails_the_stack(bench: Workbench) -> None:
    name = unique("invalid")
    definition = {"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": {"Type": "Pass", "Goto": "B"}}}
    machine = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {"RoleArn": "arn:aws:iam::000000000000:role/r", "DefinitionString": json.dumps(definition)},
    }
    bench.cloudformation.create_stack(
        StackName=name, TemplateBody=json.dumps({"Resources": {"M": machine}}), OnFailure="DO_NOTHING"
    )
    assert await_stack(bench, name)["StackStatus"] == "CREATE_FAILED"
    assert "Goto" in "".join(reasons(bench, name))


def test_scaling_is_recorded_and_described(bench: Workbench) -> None:
    name = unique("scaling")
    target = {
        "MinCapacity": 0,
        "MaxCapacity": 2,
        "ResourceId": "endpoint/e/variant/AllTraffic",
        "RoleARN": "arn:aws:iam::000000000000:role/r",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        "ServiceNamespace": "sagemaker",
    }
    policy = {
        "PolicyName": "backlog",
        "PolicyType": "TargetTrackingScaling",
        "ScalingTargetId": {"Ref": "T"},
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": 5,
            "CustomizedMetricSpecification": {
                "MetricName": "ApproximateBacklogSizePerInstance",
                "Namespace": "AWS/SageMaker",
                "Statistic": "Average",
            },
        },
    }
    template = {
        "Resources": {
            "T": {"Type": "AWS::ApplicationAutoScaling::ScalableTarget", "Properties": target},
            "P": {"Type": "AWS::ApplicationAutoScaling::ScalingPolicy", "Properties": policy},
        }
    }
    bench.cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template))
    assert await_stack(bench, name)["StackStatus"] == "CREATE_COMPLETE", reasons(bench, name)
    scaling = bench.cloud.client("application-autoscaling")
    [found] = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (0, 2)
    [backlog] = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert backlog["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 5.0
    bench.cloudformation.delete_stack(StackName=name)
    eventually(lambda: not scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"])
