"""template.yaml: who may do what, and that nothing is forgotten."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.contract.template import (
    ACCOUNT,
    INGEST,
    LABELS,
    WITH_LABEL_STUDIO,
    WITHOUT_LABEL_STUDIO,
    functions,
    in_stack,
    listed,
    resolve,
    resources,
    statements,
    template,
)

# Actions that know no resource, or whose resource is not ours to name (Service Authorization Reference).
WITHOUT_RESOURCE = {
    "ecr:GetAuthorizationToken",
    "cloudwatch:PutMetricData",
    "xray:PutTraceSegments",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
}


def documents() -> list[tuple[str, dict[str, Any]]]:
    """Every statement of every policy, with the name of the resource that it stands in."""
    found = []

    def search(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for statement in listed(value.get("Statement", [])):
                found.append((name, statement))
            for item in value.values():
                search(name, item)
        elif isinstance(value, list):
            for item in value:
                search(name, item)

    for name, thing in template()["Resources"].items():
        search(name, thing)
    return found


def policy(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = template()["Resources"][name]["Properties"]["PolicyDocument"]["Statement"]
    return found


STATEMENTS = documents()


def test_policies_are_found() -> None:
    assert len(STATEMENTS) > 80
    assert {"SubmitFunction", "EndpointRole", "LabelDriveRole", "IngestBucketPolicy"} <= {
        name for name, _ in STATEMENTS
    }


# Who may do what


def test_no_statement_has_more_than_one_action() -> None:
    assert [(name, s["Action"]) for name, s in STATEMENTS if not isinstance(s["Action"], str)] == []
    assert not any("NotAction" in s or "NotResource" in s or "NotPrincipal" in s for _, s in STATEMENTS)


def test_only_a_denial_names_all_actions() -> None:
    assert {(s["Effect"], s["Action"]) for _, s in STATEMENTS if "*" in s["Action"]} == {("Deny", "s3:*")}


def test_only_actions_without_a_resource_are_allowed_on_all() -> None:
    allowed = {s["Action"] for _, s in STATEMENTS if s["Effect"] == "Allow" and "*" in listed(s.get("Resource", []))}
    assert allowed <= WITHOUT_RESOURCE


def test_nobody_in_general_is_allowed_anything() -> None:
    for name, statement in STATEMENTS:
        if statement["Effect"] == "Allow" and "Principal" in statement:
            assert statement["Principal"] != "*", name
            assert "*" not in listed(statement["Principal"].get("AWS", [])), name


def test_services_act_for_this_account_only() -> None:
    for name, statement in STATEMENTS:
        # EventBridge gives a topic's policy no context: a condition would refuse what the rule sends.
        if statement.get("Sid") == "FailedRunsPublish":
            continue
        if statement["Effect"] == "Allow" and "Service" in statement.get("Principal", {}):
            condition = str(statement.get("Condition", {}))
            assert "aws:SourceAccount" in condition or "aws:SourceArn" in condition, name


ENDPOINT_ROLE = {"Fn::GetAtt": "EndpointRole.Arn"}
EXTRA_ROLES = {"Fn::Join": [",", {"Ref": "ExtraPublisherRoles"}]}
PUBLISHERS = {
    "Fn::If": [
        "HasExtraPublishers",
        {"Fn::Split": [",", {"Fn::Join": [",", [ENDPOINT_ROLE, EXTRA_ROLES]]}]},
        ENDPOINT_ROLE,
    ]
}


def test_only_the_endpoints_role_and_listed_roles_publish_to_the_inference_topics() -> None:
    topics = [{"Ref": "SuccessTopic"}, {"Ref": "ErrorTopic"}]
    allow, deny = policy("InferenceTopicsPolicy")
    assert (allow["Effect"], allow["Action"], allow["Resource"]) == ("Allow", "sns:Publish", topics)
    assert allow["Principal"] == {"AWS": PUBLISHERS}
    assert (deny["Effect"], deny["Action"], deny["Resource"], deny["Principal"]) == ("Deny", "sns:Publish", topics, "*")
    assert deny["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": PUBLISHERS}}


def test_every_topic_has_a_policy_and_the_ops_topic_its_own_publishers_only() -> None:
    covered = [
        topic["Ref"] for thing in resources("AWS::SNS::TopicPolicy").values() for topic in thing["Properties"]["Topics"]
    ]
    assert sorted(covered) == sorted(resources("AWS::SNS::Topic"))
    allowed = [listed(s["Principal"].get("Service", s["Principal"].get("AWS")))[0] for s in policy("OpsTopicPolicy")]
    assert allowed == [
        "events.amazonaws.com",
        "cloudwatch.amazonaws.com",
        {"Fn::GetAtt": "SubmitFunctionRole.Arn"},
    ]
    assert {s["Action"] for s in policy("OpsTopicPolicy")} == {"sns:Publish"}


def test_only_the_ingest_bucket_sends_to_the_submit_queue() -> None:
    (statement,) = policy("SubmitQueuePolicy")
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    assert statement["Action"] == "sqs:SendMessage"
    condition = resolve(statement["Condition"])
    assert condition == {
        "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{INGEST}"},
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
    }


def test_only_the_inference_topics_send_to_the_collect_queue() -> None:
    (statement,) = policy("CollectQueuePolicy")
    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": [{"Ref": "SuccessTopic"}, {"Ref": "ErrorTopic"}]}}


def test_functions_that_send_to_a_queue_are_those_that_must() -> None:
    senders = {name for name in functions() for s in statements(name) if s["Action"] == "sqs:SendMessage"}
    assert senders == {"submit", "collect", "reconcile", "sweep"}


def test_an_uploader_may_put_drives_and_nothing_else() -> None:
    properties = template()["Resources"]["UploaderRole"]["Properties"]
    (only,) = properties["Policies"]
    (statement,) = only["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Allow", "s3:PutObject")
    assert resolve(statement["Resource"]) == f"arn:aws:s3:::{INGEST}/drives/*"
    assert "ManagedPolicyArns" not in properties


def test_roles_are_passed_to_the_service_that_needs_them_only() -> None:
    passed = [(name, s) for name, s in STATEMENTS if s["Action"] == "iam:PassRole"]
    assert [(name, s["Resource"]) for name, s in passed] == [("LabelDriveRole", {"Fn::GetAtt": "LabelingRole.Arn"})]
    assert passed[0][1]["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_nothing_may_delete_objects_or_change_permissions() -> None:
    forbidden = re.compile(r"s3:(Delete|PutBucket|PutObjectAcl)|iam:(?!PassRole)|sts:(?!AssumeRole)|kms:|dynamodb:Scan")
    assert [(n, s["Action"]) for n, s in STATEMENTS if s["Effect"] == "Allow" and forbidden.match(s["Action"])] == []


# Buckets


@pytest.mark.parametrize("name", ["IngestBucket", "LabelBucket"])
def test_a_bucket_is_private_versioned_encrypted_and_kept(name: str) -> None:
    thing = template()["Resources"][name]
    properties = thing["Properties"]
    assert (thing["DeletionPolicy"], thing["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    assert all(properties["PublicAccessBlockConfiguration"].values())
    assert properties["BucketEncryption"]
    (tls,) = policy(f"{name}Policy")
    assert (tls["Effect"], tls["Principal"], tls["Action"]) == ("Deny", "*", "s3:*")
    assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    arn = f"arn:aws:s3:::{INGEST if name == 'IngestBucket' else LABELS}"
    assert resolve(tls["Resource"]) == [arn, f"{arn}/*"]


def test_every_bucket_is_one_of_these() -> None:
    assert list(resources("AWS::S3::Bucket")) == ["IngestBucket", "LabelBucket"]


def test_the_ingest_bucket_has_one_notification_on_drives_and_waits_for_its_queues_policy() -> None:
    thing = template()["Resources"]["IngestBucket"]
    assert thing["DependsOn"] == "SubmitQueuePolicy"
    assert list(thing["Properties"]["NotificationConfiguration"]) == ["QueueConfigurations"]
    (only,) = thing["Properties"]["NotificationConfiguration"]["QueueConfigurations"]
    assert only["Event"] == "s3:ObjectCreated:*"
    assert only["Queue"] == {"Fn::GetAtt": "SubmitQueue.Arn"}
    assert only["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": "drives/"}]


def test_the_policies_of_queues_do_not_need_the_bucket_that_needs_them() -> None:
    for name in ("SubmitQueuePolicy", "SubmitQueue"):
        assert not re.search(r"\bIngestBucket\b", str(template()["Resources"][name]))


@pytest.mark.parametrize("bucket", ["IngestBucket", "LabelBucket"])
def test_a_workers_browser_may_read_frames_and_their_segments(bucket: str) -> None:
    (rule,) = template()["Resources"][bucket]["Properties"]["CorsConfiguration"]["CorsRules"]
    assert (rule["AllowedMethods"], rule["AllowedOrigins"]) == (["GET"], ["*"])


# Queues, functions, logs, alarms


@pytest.mark.parametrize("name", ["SubmitQueue", "CollectQueue"])
def test_a_queue_keeps_messages_for_fourteen_days_and_has_dead_letters(name: str) -> None:
    properties = template()["Resources"][name]["Properties"]
    dead = name.replace("Queue", "DeadLetters")
    assert properties["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert properties["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": f"{dead}.Arn"}
    assert properties["RedrivePolicy"]["maxReceiveCount"] >= 50
    assert template()["Resources"][dead]["Properties"]["MessageRetentionPeriod"] == 14 * 24 * 3600
    dimensions = [alarm["Properties"]["Dimensions"] for alarm in resources("AWS::CloudWatch::Alarm").values()]
    assert [{"Name": "QueueName", "Value": {"Fn::GetAtt": f"{dead}.QueueName"}}] in dimensions


@pytest.mark.parametrize("function", ["submit", "collect"])
def test_a_function_of_a_queue_reports_partial_failures_and_is_bounded(function: str) -> None:
    properties = functions()[function]
    (event,) = properties["Events"].values()
    assert event["Type"] == "SQS"
    assert event["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert event["Properties"]["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "QueueConcurrency"}}
    # A message may not come back while a function still works on it.
    assert properties["Timeout"] == {"Ref": "QueueFunctionTimeoutSeconds"}
    parameters = template()["Parameters"]
    assert parameters["QueueVisibilitySeconds"]["Default"] >= 6 * parameters["QueueFunctionTimeoutSeconds"]["Default"]


def test_only_raw_messages_reach_the_collect_queue() -> None:
    subscriptions = [thing["Properties"] for thing in resources("AWS::SNS::Subscription").values()]
    to_queue = [s for s in subscriptions if s["Protocol"] == "sqs"]
    assert [s["TopicArn"] for s in to_queue] == [{"Ref": "SuccessTopic"}, {"Ref": "ErrorTopic"}]
    assert all(s["RawMessageDelivery"] is True and s["RedrivePolicy"] for s in to_queue)
    assert all(s["Endpoint"] == {"Fn::GetAtt": "CollectQueue.Arn"} for s in to_queue)


@pytest.mark.parametrize("function", functions())
def test_a_function_logs_to_a_group_that_forgets(function: str) -> None:
    group = functions()[function]["LoggingConfig"]["LogGroup"]["Ref"]
    assert resources("AWS::Logs::LogGroup")[group]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_functions_do_not_share_a_log_group_and_every_group_forgets() -> None:
    groups = [properties["LoggingConfig"]["LogGroup"]["Ref"] for properties in functions().values()]
    assert len(set(groups)) == len(groups)
    assert all("RetentionInDays" in thing["Properties"] for thing in resources("AWS::Logs::LogGroup").values())


def test_powertools_is_set_for_all_functions_and_never_logs_events() -> None:
    shared = template()["Globals"]["Function"]["Environment"]["Variables"]
    assert shared["POWERTOOLS_SERVICE_NAME"]
    assert shared["POWERTOOLS_METRICS_NAMESPACE"]
    assert shared["POWERTOOLS_LOGGER_LOG_EVENT"] == "false"


def test_operators_hear_of_every_end_that_is_no_success() -> None:
    rule = template()["Resources"]["FailedRunsRule"]["Properties"]
    assert rule["EventPattern"]["detail"]["status"] == ["FAILED", "TIMED_OUT", "ABORTED"]
    assert rule["EventPattern"]["detail"]["stateMachineArn"] == [{"Ref": "LabelDriveStateMachine"}]
    assert [target["Arn"] for target in rule["Targets"]] == [{"Ref": "OpsTopic"}]
    for alarm in resources("AWS::CloudWatch::Alarm").values():
        assert alarm["Properties"]["AlarmActions"] == [{"Ref": "OpsTopic"}]
        assert alarm["Properties"]["AlarmDescription"]


def test_operators_hear_when_the_sweep_fails_which_nobody_waits_for() -> None:
    alarm = template()["Resources"]["SweepErrorsAlarm"]["Properties"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Lambda", "Errors")
    assert alarm["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": "SweepFunction"}}]


# Parameters and outputs


@pytest.mark.parametrize("name", template()["Parameters"])
def test_a_parameter_says_what_it_is_and_what_it_may_be(name: str) -> None:
    parameter = template()["Parameters"][name]
    assert parameter["Description"]
    constrained = {"AllowedValues", "AllowedPattern", "MinValue"} & parameter.keys()
    assert constrained or parameter["Default"] == "", name
    if parameter["Type"] == "Number" and "MinValue" in parameter:
        assert parameter["MinValue"] <= parameter["Default"] <= parameter["MaxValue"]
    if "AllowedPattern" in parameter and parameter.get("Default"):
        assert re.fullmatch(parameter["AllowedPattern"], parameter["Default"])


def test_every_parameter_is_used_and_in_a_group() -> None:
    text = str({key: value for key, value in template().items() if key not in ("Parameters", "Metadata")})
    groups = template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(template()["Parameters"])
    assert [name for name in grouped if not re.search(rf"['{{]{name}['}}]", text)] == []


def test_no_parameter_or_variable_is_a_secret() -> None:
    secret = re.compile(r"passw|secret|token|credential|api_?key|access_?key|private_?key", re.IGNORECASE)
    assert [name for name in template()["Parameters"] if secret.search(name)] == []
    variables = [
        name
        for properties in [template()["Globals"]["Function"], *functions().values()]
        for name in properties.get("Environment", {}).get("Variables", {})
    ]
    assert [name for name in variables if secret.search(name)] == []
    assert not re.search(r"AKIA[0-9A-Z]{16}|-----BEGIN", str(template()))


def test_every_output_is_described() -> None:
    assert all(output["Description"] for output in template()["Outputs"].values())


def test_a_region_is_accepted_when_its_ground_truth_functions_are_known() -> None:
    (regions,) = (
        assertion["Assert"]["Fn::Contains"][0]
        for assertion in template()["Rules"]["GroundTruthIsSetUp"]["Assertions"]
        if "Fn::Contains" in assertion["Assert"]
    )
    accounts = template()["Mappings"]["GroundTruth"]
    assert sorted(regions) == sorted(name for name, entry in accounts.items() if int(entry["Account"]))
    assert all(re.fullmatch(r"[0-9]{12}", entry["Account"]) for entry in accounts.values())


def test_a_stack_without_a_connection_has_no_label_studio() -> None:
    given = {"Fn::Equals": [{"Ref": "LabelStudioConnectionArn"}, ""]}
    assert template()["Conditions"]["HasLabelStudio"] == {"Fn::Not": [given]}
    assert template()["Parameters"]["LabelStudioConnectionArn"]["Default"] == ""


@pytest.mark.parametrize("holding", [WITH_LABEL_STUDIO, WITHOUT_LABEL_STUDIO])
def test_every_reference_names_something_that_is_there(holding: frozenset[str]) -> None:
    stack = in_stack(template(), holding)
    known = {*stack["Resources"], *stack["Parameters"]}
    for name, thing in stack["Resources"].items():
        if thing["Type"] == "AWS::Serverless::Function":
            # What SAM makes of a function beside it.
            known |= {f"{name}Role"} | ({f"{name}Url"} if "FunctionUrlConfig" in thing["Properties"] else set())

    def search(value: Any) -> None:
        if isinstance(value, dict):
            if value.keys() == {"Ref"}:
                assert value["Ref"].startswith("AWS::") or value["Ref"] in known, value
            if value.keys() == {"Fn::GetAtt"}:
                assert value["Fn::GetAtt"].split(".")[0] in known, value
            if value.keys() == {"Fn::Sub"}:
                text, given = value["Fn::Sub"] if isinstance(value["Fn::Sub"], list) else (value["Fn::Sub"], {})
                for name in re.findall(r"\$\{([^}!]+)\}", text):
                    assert name.startswith("AWS::") or name.split(".")[0] in known | given.keys(), value
            for item in value.values():
                search(item)
        elif isinstance(value, list):
            for item in value:
                search(item)

    search(stack["Resources"])
    search(stack["Outputs"])
