"""What `doctor` finds: AWS answers as a test says; each test breaks one thing of a healthy stack."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from autolabel.models.catalogue import CATALOGUE_KEY, CatalogueIndex, model_key
from autolabel_cli.__main__ import main
from autolabel_cli.operations.checks import NEEDED, Finding, diagnose, fire_alarm
from autolabel_cli.stack import Stack
from tests.contract.template import ROOT
from tests.fakes.answers import DETECTOR

TOPIC = "arn:aws:sns:eu-central-1:123456789012:ops"
OUTPUTS = {
    "IngestBucketName": "ingest",
    "LabelBucketName": "labels",
    "LedgerName": "ledger",
    "StateMachineArn": "arn:aws:states:eu-central-1:123456789012:stateMachine:m",
    "SubmitQueueUrl": "https://sqs/123456789012/submit",
    "OpsTopicArn": TOPIC,
}
PARAMETERS = {"WorkteamName": "street", "QueueConcurrency": "20", "ShardConcurrency": "40", "WebhookConcurrency": "5"}
CORS = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}
ALARM = {"AlarmName": "sweep", "ActionsEnabled": True, "AlarmActions": [TOPIC], "StateValue": "OK"}
ALLOW = [{"Effect": "Allow", "Principal": {"Service": f"{name}.amazonaws.com"}} for name in ("cloudwatch", "events")]
HEALTHY: dict[str, Any] = {
    "describe_stacks": {"Stacks": [{"StackStatus": "UPDATE_COMPLETE"}]},
    "list_stack_resources": {
        "StackResourceSummaries": [
            {"LogicalResourceId": name, "PhysicalResourceId": name.lower(), "ResourceType": f"AWS::{kind}"}
            for name, kind in (
                ("SubmitFunction", "Lambda::Function"),
                ("CollectFunction", "Lambda::Function"),
                ("Sweep", "CloudWatch::Alarm"),
            )
        ]
    },
    "get_caller_identity": {"Arn": "arn:aws:sts::123456789012:assumed-role/operator/anna"},
    "simulate_principal_policy": {"EvaluationResults": [{"EvalActionName": "a", "EvalDecision": "allowed"}]},
    "describe_workteam": {"Workteam": {"MemberDefinitions": [{}], "SubDomain": "street.example"}},
    "get_bucket_cors": CORS,
    "get_bucket_notification_configuration": {"QueueConfigurations": [{"QueueArn": "arn:aws:sqs:r:1:submit"}]},
    "list_event_source_mappings": {"EventSourceMappings": [{"State": "Enabled", "UUID": "u"}]},
    "describe_endpoint": {"EndpointStatus": "InService", "EndpointConfigName": "c", "CreationTime": datetime.now(UTC)},
    "describe_endpoint_config": {"ProductionVariants": [{"VariantName": "all", "InstanceType": "ml.g4dn.xlarge"}]},
    "describe_scalable_targets": {"ScalableTargets": [{"MaxCapacity": 4}]},
    "list_service_quotas": {"Quotas": [{"QuotaName": "ml.g4dn.xlarge for endpoint usage", "Value": 4.0}]},
    "get_account_settings": {"AccountLimit": {"ConcurrentExecutions": 1_000}},
    "list_subscriptions_by_topic": {"Subscriptions": [{"Endpoint": "ops@example.com", "SubscriptionArn": "arn:x"}]},
    "get_topic_attributes": {
        "Attributes": {"Policy": json.dumps({"Statement": [{**one, "Action": "sns:Publish"} for one in ALLOW]})}
    },
    "describe_alarms": {"MetricAlarms": [ALARM]},
}


class Body:
    def __init__(self, body: bytes) -> None:
        self.read = lambda: body


class Aws:
    """Answers calls of any service by their names; `answers` may be errors. `calls`: what was called, with what."""

    def __init__(self) -> None:
        self.answers = copy.deepcopy(HEALTHY)
        self.calls = list[tuple[str, dict[str, Any]]]()
        index = CatalogueIndex({DETECTOR.name: DETECTOR.revision}, (DETECTOR.name,))
        self.objects = {
            CATALOGUE_KEY: msgspec.json.encode(index),
            model_key(DETECTOR.id): msgspec.json.encode(DETECTOR),
        }

    def __getattr__(self, operation: str) -> Any:
        def call(**given: Any) -> Any:
            self.calls.append((operation, given))
            answer = self.answers[operation]
            if isinstance(answer, str):
                raise ClientError({"Error": {"Code": answer, "Message": answer}}, operation)
            return answer

        return call

    def get_object(self, Bucket: str, Key: str) -> Any:  # noqa: N803
        return {"Body": Body(self.objects[Key])}

    def get_paginator(self, operation: str) -> Any:
        return Pages(lambda **given: iter([getattr(self, operation)(**given)]))

    def diagnose(self, **parameters: str) -> list[Finding]:
        """The findings that are not ok."""
        stack = Stack("autolabel", OUTPUTS, {**PARAMETERS, **parameters}, lambda service: self)
        return [one for one in diagnose(stack, 0.0).findings if one.verdict != "ok"]


class Pages:
    def __init__(self, paginate: Any) -> None:
        self.paginate = paginate


@pytest.fixture
def aws() -> Aws:
    return Aws()


def test_a_healthy_stack_has_no_finding(aws: Aws) -> None:
    assert aws.diagnose() == []
    (asked, *_) = (given["PolicySourceArn"] for call, given in aws.calls if call == "simulate_principal_policy")
    assert asked == "arn:aws:iam::123456789012:role/operator"


def test_the_root_user_is_not_simulated_because_iam_refuses_that(aws: Aws) -> None:
    aws.answers |= {"get_caller_identity": {"Arn": "arn:aws:iam::1:root"}, "simulate_principal_policy": "InvalidInput"}
    assert aws.diagnose() == []


BROKEN: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "a failed deployment": (
        {"describe_stacks": {"Stacks": [{"StackStatus": "UPDATE_ROLLBACK_FAILED"}]}},
        {},
        "fault stack: it is UPDATE_ROLLBACK_FAILED → aws cloudformation describe-stack-events",
    ),
    "no work team": ({}, {"WorkteamName": ""}, "fault reviewers: there is no work team → deploy with WorkteamName"),
    "an unknown work team": (
        {"describe_workteam": "ValidationException"},
        {},
        "fault reviewers: the work team street does not exist in eu-central-1 → create it",
    ),
    "a work team of another Region": (
        {},
        {"WorkteamArn": "arn:aws:sagemaker:us-east-1:123456789012:workteam/private-crowd/t"},
        "fault reviewers: the work team arn:aws:sagemaker:us-east-1:123456789012:workteam/private-crowd/t is not in "
        "eu-central-1, where the stack is → deploy with a work team of this Region",
    ),
    "an empty work team": (
        {"describe_workteam": {"Workteam": {"MemberDefinitions": []}}},
        {},
        "fault reviewers: the work team street has no members → invite reviewers",
    ),
    "no CORS": (
        {"get_bucket_cors": "NoSuchCORSConfiguration"},
        {},
        "fault buckets: ingest has no CORS rule for GET: reviewers see no pictures → deploy the stack again",
    ),
    "no notification of uploads": (
        {"get_bucket_notification_configuration": {}},
        {},
        "fault buckets: ingest does not notify the submit queue: uploads are not labelled → deploy the stack again",
    ),
    "a switched-off queue": (
        {"list_event_source_mappings": {"EventSourceMappings": [{"State": "Disabled", "UUID": "u"}]}},
        {},
        "fault queues: the event source of SubmitFunction is Disabled → aws lambda update-event-source-mapping "
        "--enabled --uuid u",
    ),
    "a missing permission": (
        {
            "simulate_principal_policy": {
                "EvaluationResults": [{"EvalActionName": "dynamodb:Query", "EvalDecision": "implicitDeny"}]
            }
        },
        {},
        "warning permissions: arn:aws:sts::123456789012:assumed-role/operator/anna lacks dynamodb:Query → docs/",
    ),
    "a new account": (
        {"get_account_settings": {"AccountLimit": {"ConcurrentExecutions": 10}}},
        {},
        "warning quotas: the account may run 10 functions at once, and the stack uses up to 91 → ask for 91 (Service",
    ),
    "no instances": (
        {"list_service_quotas": {"Quotas": []}},
        {},
        "warning quotas: the models may grow to 4 instances of ml.g4dn.xlarge, the account may have 0 → ask for 4",
    ),
    "no subscriber": (
        {"list_subscriptions_by_topic": {"Subscriptions": []}},
        {},
        "fault ops topic: nobody is subscribed: failures and alarms reach nobody → deploy with OpsEmail",
    ),
    "an unconfirmed subscriber": (
        {
            "list_subscriptions_by_topic": {
                "Subscriptions": [{"Endpoint": "a@b", "SubscriptionArn": "PendingConfirmation"}]
            }
        },
        {},
        "fault ops topic: nobody has confirmed: a@b → open AWS's mail",
    ),
    "a topic that alarms may not use": (
        {"get_topic_attributes": {"Attributes": {"Policy": json.dumps({"Statement": ALLOW[1:]})}}},
        {},
        "fault alarms: cloudwatch.amazonaws.com may not publish on the ops topic → deploy the stack again",
    ),
    "AWS's own key": (
        {
            "get_topic_attributes": {
                "Attributes": {**HEALTHY["get_topic_attributes"]["Attributes"], "KmsMasterKeyId": "alias/aws/sns"}
            }
        },
        {},
        "fault alarms: the ops topic is encrypted with AWS's own key, which CloudWatch may not use: no alarm arrives → "
        "encrypt",
    ),
    "an alarm that is switched off": (
        {"describe_alarms": {"MetricAlarms": [{**ALARM, "ActionsEnabled": False}]}},
        {},
        "fault alarms: sweep does not publish: its actions are switched off → aws cloudwatch enable-alarm-actions",
    ),
    "an alarm of nobody": (
        {"describe_alarms": {"MetricAlarms": [{**ALARM, "AlarmActions": []}]}},
        {},
        "fault alarms: sweep does not publish on the ops topic → deploy the stack again",
    ),
    "an alarm that rings": (
        {"describe_alarms": {"MetricAlarms": [{**ALARM, "StateValue": "ALARM", "StateReason": "3 errors"}]}},
        {},
        "warning alarms: sweep is in ALARM: 3 errors",
    ),
}


@pytest.mark.parametrize(("answers", "parameters", "expected"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_found_with_its_fix(
    aws: Aws, answers: dict[str, Any], parameters: dict[str, str], expected: str
) -> None:
    aws.answers |= answers
    said = [f"{one.verdict} {one.check}: {one.detail} → {one.fix}" for one in aws.diagnose(**parameters)]
    assert any(line.startswith(expected) for line in said), said


def test_a_missing_endpoint_is_found_with_the_command_that_restores_it(aws: Aws) -> None:
    aws.answers["describe_endpoint"] = "ValidationException"
    fixes = [one.fix for one in aws.diagnose() if one.check == "endpoints"]
    assert fixes == [f"autolabel models restore {DETECTOR.name}@{DETECTOR.revision}"]


# Without the name of the caller, the command tells that of the machine's user.
@pytest.mark.parametrize("operation", sorted(HEALTHY.keys() - {"get_caller_identity"}))
def test_a_refused_call_is_a_finding_and_no_other_check_is_lost(aws: Aws, operation: str) -> None:
    aws.answers[operation] = "AccessDenied"
    found = aws.diagnose()
    assert found
    assert {one.verdict for one in found} <= {"unknown"}
    assert all("permission denied: your identity lacks" in one.detail for one in found)


def history(*summaries: str) -> Iterator[dict[str, Any]]:
    yield {"AlarmHistoryItems": []}
    yield {"AlarmHistoryItems": [{"HistorySummary": summary} for summary in summaries]}


@pytest.mark.parametrize(
    ("summary", "verdict"),
    [("Successfully executed action x", "ok"), ("Failed to execute action x. Access denied", "fault"), ("", "fault")],
)
def test_an_alarm_is_fired_and_set_back(aws: Aws, summary: str, verdict: str) -> None:
    waits, answers = list[float](), history(*([summary] if summary else []))
    aws.answers |= {"set_alarm_state": {}, "describe_alarm_history": {"AlarmHistoryItems": []}}

    def pause(seconds: float) -> None:
        waits.append(seconds)
        aws.answers["describe_alarm_history"] = next(answers, {"AlarmHistoryItems": []})

    (finding,) = fire_alarm(Stack("autolabel", OUTPUTS, PARAMETERS, lambda service: aws), pause)
    assert (finding.verdict, summary in finding.detail or verdict == "ok") == (verdict, True)
    states = [given["StateValue"] for call, given in aws.calls if call == "set_alarm_state"]
    assert states == ["ALARM", "OK"]
    assert len(waits) < 50


def test_a_fault_is_shown_with_its_fix_and_ends_with_1(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack("autolabel", OUTPUTS, PARAMETERS, lambda service: aws)
    monkeypatch.setattr(Stack, "find", lambda name: stack)
    assert CliRunner().invoke(main, ["doctor"]).exit_code == 0
    aws.answers["list_subscriptions_by_topic"] = {"Subscriptions": []}
    said = CliRunner().invoke(main, ["doctor"])
    assert said.exit_code == 1
    assert "→ deploy with OpsEmail, or aws sns subscribe" in said.output
    assert json.loads(CliRunner().invoke(main, ["doctor", "--json"]).output)["healthy"] is False


def test_the_permissions_that_are_checked_are_those_of_the_manual() -> None:
    manual = (ROOT / "docs" / "operators" / "permissions.md").read_text()
    section = manual.split("## For operators")[1].split("\n## ")[0]
    assert [one for actions in NEEDED.values() for one in actions if f"`{one}`" not in section] == []
