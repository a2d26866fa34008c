"""models/endpoint.yaml in an embedded cloud whose minutes last 0.6 seconds: endpoints scale and raise alarms."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from local.cloud.launcher import EmbeddedCloud
from local.settings import CloudSettings
from local.tests.conformance.workbench import Workbench, eventually, unique
from tests.contract.template import ROOT, read_template

STUB = [sys.executable, "-m", "models.servers.stub", "--port", "{port}"]


@pytest.fixture(scope="module")
def hosting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    settings = CloudSettings(images={"stub": STUB}, alarm_scale=0.01)
    with EmbeddedCloud(tmp_path_factory.mktemp("scaling"), settings=settings) as cloud:
        yield Workbench(cloud)


@dataclass
class Hosted:
    """An endpoint of the template in its own stack, with a queue for its topics and one for the operators' topic."""

    bench: Workbench
    name: str
    bucket: str
    answers: str
    ops: str

    def instances(self) -> int | None:
        endpoint = self.bench.sagemaker.describe_endpoint(EndpointName=self.name)
        if endpoint["EndpointStatus"] != "InService":
            return None
        return int(endpoint["ProductionVariants"][0]["CurrentInstanceCount"])

    def sleeps(self) -> bool:
        return self.instances() == 0

    def put_to_sleep(self) -> None:
        self.bench.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=self.name, DesiredWeightsAndCapacities=[{"VariantName": "all", "DesiredInstanceCount": 0}]
        )
        eventually(self.sleeps)

    def invoke(self, count: int) -> None:
        self.bench.s3.put_object(Bucket=self.bucket, Key="in.png", Body=b"image")
        for _ in range(count):
            self.bench.sagemaker_runtime.invoke_endpoint_async(
                EndpointName=self.name, InputLocation=f"s3://{self.bucket}/in.png"
            )

    def outputs(self) -> int:
        return int(self.bench.s3.list_objects_v2(Bucket=self.bucket, Prefix="inference/")["KeyCount"])

    def heard(self, queue: str) -> list[str]:
        """Return the messages of a queue since the last call."""
        bodies = []
        while messages := self.bench.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                bodies.append(message["Body"])
                self.bench.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def state(self, alarm: str) -> str:
        resource = self.bench.cloudformation.describe_stack_resource(StackName=self.name, LogicalResourceId=alarm)
        physical = resource["StackResourceDetail"]["PhysicalResourceId"]
        return str(self.bench.cloudwatch.describe_alarms(AlarmNames=[physical])["MetricAlarms"][0]["StateValue"])

    def policies(self) -> set[str]:
        """Return the names of the policies that have scaled the endpoint so far."""
        activities = self.bench.application_autoscaling.describe_scaling_activities(
            ServiceNamespace="sagemaker", ResourceId=f"endpoint/{self.name}/variant/all"
        )["ScalingActivities"]
        return {activity["Cause"].rpartition(" ")[2] for activity in activities}

    def delete(self) -> None:
        self.bench.cloudformation.delete_stack(StackName=self.name)
        self.bench.cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )


def host(bench: Workbench, template: dict[str, Any], **parameters: str) -> Hosted:
    """Deploy an endpoint and wait until it is in service."""
    topics = {kind: bench.sns.create_topic(Name=unique(kind))["TopicArn"] for kind in ("success", "error", "ops")}
    queues = {kind: bench.open_queue("sns.amazonaws.com") for kind in ("answers", "ops")}
    for topic, queue in (("success", "answers"), ("error", "answers"), ("ops", "ops")):
        bench.sns.subscribe(
            TopicArn=topics[topic], Protocol="sqs", Endpoint=queues[queue][1], Attributes={"RawMessageDelivery": "true"}
        )
    name, bucket = unique("model"), bench.bucket()
    values = {
        "EndpointName": name,
        "Image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/stub:1",
        "LabelBucket": bucket,
        "ExecutionRoleArn": "arn:aws:iam::000000000000:role/endpoints",
        "SuccessTopicArn": topics["success"],
        "ErrorTopicArn": topics["error"],
        "OpsTopicArn": topics["ops"],
        **parameters,
    }
    bench.cloudformation.create_stack(
        StackName=name,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
    )
    bench.cloudformation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    return Hosted(bench, name, bucket, queues["answers"][0], queues["ops"][0])


def endpoint_template() -> dict[str, Any]:
    return read_template(ROOT / "models" / "endpoint.yaml")


def model_servers() -> int:
    """Count the model servers that run below this process's embedded clouds."""
    found = 0
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            found += "models.servers.stub" in child.cmdline()
    return found


def absent_target() -> dict[str, str]:
    """Make a scalable target for an endpoint that does not exist."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{unique('none')}/variant/all",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def test_an_idle_endpoint_scales_to_zero_and_one_request_wakes_it(hosting: Workbench) -> None:
    before = model_servers()
    hosted = host(hosting, endpoint_template())
    assert model_servers() == before + 1
    eventually(hosted.sleeps, 30)
    eventually(lambda: model_servers() == before)
    hosted.heard(hosted.answers)
    hosted.invoke(1)
    eventually(lambda: hosted.outputs() == 1, 30)
    eventually(hosted.sleeps, 30)
    assert hosted.policies() == {f"{hosted.name}-backlog", f"{hosted.name}-wake"}
    heard = [json.loads(body) for body in hosted.heard(hosted.answers)]
    assert [message["eventName"] for message in heard if "inferenceId" in message] == ["InferenceResult"]
    # Every change of the number of instances is an update, for which SageMaker tests both topics.
    assert sum(message["eventName"] == "TestNotification" for message in heard) >= 4

    hosted.delete()
    assert model_servers() == before
    assert hosting.sagemaker.list_endpoints(NameContains=hosted.name)["Endpoints"] == []
    scaling = hosting.application_autoscaling
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    assert scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"] == []
    assert [a["AlarmName"] for a in hosting.cloudwatch.describe_alarms()["MetricAlarms"]] == []


def test_without_the_step_policy_a_small_backlog_wakes_no_endpoint(hosting: Workbench) -> None:
    template = endpoint_template()
    del template["Resources"]["WakePolicy"], template["Resources"]["WakeAlarm"]
    # The template's half hour would take long even here.
    template["Resources"]["AsleepAlarm"]["Properties"]["EvaluationPeriods"] = 1
    hosted = host(hosting, template, BacklogPerInstance="5")
    hosted.put_to_sleep()
    hosted.invoke(5)
    eventually(lambda: hosted.state("AsleepAlarm") == "ALARM", 30)
    assert (hosted.instances(), hosted.outputs()) == (0, 0)
    assert any("AsleepAlarm" in body for body in hosted.heard(hosted.ops))
    # The requests are not lost: one more is above the target, and all are answered.
    hosted.invoke(1)
    eventually(lambda: hosted.outputs() == 6, 30)
    hosted.delete()


def test_a_model_that_answers_with_server_errors_raises_its_alarm(hosting: Workbench) -> None:
    template = endpoint_template()
    container = template["Resources"]["Model"]["Properties"]["PrimaryContainer"]
    container["Environment"] = {"STUB_BEHAVIOUR": "error"}
    hosted = host(hosting, template)
    hosted.invoke(1)
    heard: list[str] = []

    def told() -> bool:
        heard.extend(hosted.heard(hosted.ops))
        return any("ModelErrorsAlarm" in body and '"ALARM"' in body for body in heard)

    eventually(told, 30)
    # It tells that it is OK once it has data.
    assert not any("ExpiredRequestsAlarm" in body and '"ALARM"' in body for body in heard)
    hosted.delete()


def test_a_changed_policy_keeps_two_alarms_until_its_target_is_deleted(hosting: Workbench) -> None:
    scaling = hosting.application_autoscaling
    target = absent_target()
    metric = {"Namespace": "AWS/SageMaker", "MetricName": "ApproximateBacklogSizePerInstance", "Statistic": "Average"}
    scaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=1)
    for value in (5.0, 10.0):
        put = scaling.put_scaling_policy(
            **target,
            PolicyName="backlog",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={"TargetValue": value, "CustomizedMetricSpecification": metric},
        )
    [policy] = scaling.describe_scaling_policies(**target)["ScalingPolicies"]
    assert policy["Alarms"] == put["Alarms"]
    alarms = hosting.cloudwatch.describe_alarms(AlarmNamePrefix="TargetTracking-" + target["ResourceId"])[
        "MetricAlarms"
    ]
    assert sorted(alarm["Threshold"] for alarm in alarms) == [9.0, 10.0]
    scaling.deregister_scalable_target(**target)
    assert scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"] == []
    assert hosting.cloudwatch.describe_alarms()["MetricAlarms"] == []


@pytest.mark.parametrize(
    "policy",
    [
        {
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": 5.0,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            },
        },
        {
            "PolicyType": "StepScaling",
            "StepScalingPolicyConfiguration": {
                "AdjustmentType": "PercentChangeInCapacity",
                "StepAdjustments": [{"ScalingAdjustment": 50}],
            },
        },
    ],
)
def test_an_unsupported_policy_is_refused(hosting: Workbench, policy: dict[str, Any]) -> None:
    scaling = hosting.application_autoscaling
    target = absent_target()
    scaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=1)
    with pytest.raises(scaling.exceptions.ValidationException):
        scaling.put_scaling_policy(**target, PolicyName="p", **policy)
    scaling.deregister_scalable_target(**target)


def test_a_target_other_than_an_endpoint_is_refused(hosting: Workbench) -> None:
    scaling = hosting.application_autoscaling
    table = {"ResourceId": "table/t", "ScalableDimension": "dynamodb:table:ReadCapacityUnits"}
    with pytest.raises(scaling.exceptions.ValidationException, match="table/t"):
        scaling.register_scalable_target(ServiceNamespace="dynamodb", **table, MinCapacity=0, MaxCapacity=1)
