"""template.yaml: permissions, buckets, queues, alarms, parameters and outputs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.contract.template import (
    ACCOUNT,
    INGEST,
    LABELS,
    ROOT,
    WITH_KEY,
    WITH_LABEL_STUDIO,
    WITHOUT_LABEL_STUDIO,
    functions,
    in_stack,
    listed,
    read_template,
    resolve,
    resources,
    state_machine_text,
    statements,
    template,
)
from tools.chaos.stage import PARAMETERS as CHAOS
from tools.chaos.stage import VISIBILITY_SECONDS

# Actions without resource-level permissions, or on resources that AWS names (Service Authorization Reference).
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
    """Find every statement of every policy, with the logical id of its resource."""
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
    assert {"SubmitFunctionRole", "EndpointRole", "LabelDriveRole", "IngestBucketPolicy"} <= {
        name for name, _ in STATEMENTS
    }


# Permissions


def test_no_statement_has_more_than_one_action() -> None:
    assert [(name, s["Action"]) for name, s in STATEMENTS if not isinstance(s["Action"], str)] == []
    assert not any("NotAction" in s or "NotResource" in s or "NotPrincipal" in s for _, s in STATEMENTS)


def test_only_a_denial_names_all_actions() -> None:
    found = {(s["Effect"], s["Action"]) for _, s in STATEMENTS if "*" in s["Action"]}
    assert found == {("Deny", "s3:*"), ("Deny", "sqs:*")}


def test_only_actions_without_a_resource_are_allowed_on_all() -> None:
    allowed = {s["Action"] for _, s in STATEMENTS if s["Effect"] == "Allow" and "*" in listed(s.get("Resource", []))}
    assert allowed <= WITHOUT_RESOURCE


def test_no_statement_allows_every_principal() -> None:
    for name, statement in STATEMENTS:
        if statement["Effect"] == "Allow" and "Principal" in statement:
            assert statement["Principal"] != "*", name
            assert "*" not in listed(statement["Principal"].get("AWS", [])), name


def test_services_act_for_this_account_only() -> None:
    for name, statement in STATEMENTS:
        # EventBridge passes no context to a topic's policy, so a condition would deny the rule.
        if statement.get("Sid") == "FailedRunsPublish":
            continue
        # Lambda sends no account; a principal that gives a role to a function must be allowed to pass it.
        if statement.get("Principal") == {"Service": "lambda.amazonaws.com"}:
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


def test_only_listed_roles_publish_to_the_inference_topics() -> None:
    topics = [{"Ref": "SuccessTopic"}, {"Ref": "ErrorTopic"}]
    allow, deny, _ = policy("InferenceTopicsPolicy")
    assert (allow["Effect"], allow["Action"], allow["Resource"]) == ("Allow", "sns:Publish", topics)
    assert allow["Principal"] == {"AWS": PUBLISHERS}
    assert (deny["Effect"], deny["Action"], deny["Resource"], deny["Principal"]) == ("Deny", "sns:Publish", topics, "*")
    assert deny["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": PUBLISHERS}}


def test_every_topic_has_a_policy_and_the_ops_topic_known_publishers() -> None:
    covered = [
        topic["Ref"] for thing in resources("AWS::SNS::TopicPolicy").values() for topic in thing["Properties"]["Topics"]
    ]
    assert sorted(covered) == sorted(resources("AWS::SNS::Topic"))
    *allow, _ = policy("OpsTopicPolicy")
    allowed = [listed(s["Principal"].get("Service", s["Principal"].get("AWS")))[0] for s in allow]
    assert allowed == [
        "events.amazonaws.com",
        "cloudwatch.amazonaws.com",
        {"Fn::GetAtt": "SubmitFunctionRole.Arn"},
    ]
    assert {s["Action"] for s in policy("OpsTopicPolicy")} == {"sns:Publish"}


def test_only_the_ingest_bucket_sends_to_the_submit_queue() -> None:
    statement, _ = policy("SubmitQueuePolicy")
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    assert statement["Action"] == "sqs:SendMessage"
    condition = resolve(statement["Condition"])
    assert condition == {
        "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{INGEST}"},
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
    }


def test_only_the_inference_topics_send_to_the_collect_queue() -> None:
    statement, _ = policy("CollectQueuePolicy")
    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": [{"Ref": "SuccessTopic"}, {"Ref": "ErrorTopic"}]}}


def test_only_four_functions_may_send_to_a_queue() -> None:
    senders = {name for name in functions() for s in statements(name) if s["Action"] == "sqs:SendMessage"}
    assert senders == {"submit", "collect", "reconcile", "sweep"}


def test_an_uploader_may_put_and_list_drives_and_nothing_else() -> None:
    properties = template()["Resources"]["UploaderRole"]["Properties"]
    (only,) = properties["Policies"]
    allowed = [
        (statement["Effect"], statement["Action"], resolve(statement["Resource"]), statement.get("Condition", {}))
        for statement in only["PolicyDocument"]["Statement"]
    ]
    bucket, own = f"arn:aws:s3:::{INGEST}", "drives/${aws:PrincipalTag/vehicle}_*"
    untagged = {"Null": {"aws:PrincipalTag/vehicle": "true"}}
    wanted = [
        *(
            ("Allow", action, f"{bucket}/{drives}", condition)
            for action in ("s3:PutObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload")
            for drives, condition in (("drives/*", untagged), (own, {}))
        ),
        ("Allow", "s3:ListBucket", bucket, {**untagged, "StringLike": {"s3:prefix": "drives/*"}}),
        ("Allow", "s3:ListBucket", bucket, {"StringLike": {"s3:prefix": own}}),
        ("Allow", "s3:ListBucketMultipartUploads", bucket, {}),
    ]
    assert allowed == wanted
    assert "ManagedPolicyArns" not in properties


def test_only_the_labelling_role_is_passed_and_only_to_sagemaker() -> None:
    passed = [(name, s) for name, s in STATEMENTS if s["Action"] == "iam:PassRole"]
    assert [(name, s["Resource"]) for name, s in passed] == [("LabelDriveRole", {"Fn::GetAtt": "LabelingRole.Arn"})]
    assert passed[0][1]["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


@pytest.mark.parametrize(
    ("role", "wanted"),
    [
        # Developer guide of SageMaker: "sagemaker-roles", CreateModel; "sms-security-permission-execution-role".
        ("EndpointRole", {"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}),
        ("EndpointRole", {"ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"}),
        ("EndpointRole", {f"logs:{a}" for a in ("CreateLogStream", "PutLogEvents", "DescribeLogStreams")}),
        ("LabelingRole", {f"logs:{a}" for a in ("CreateLogStream", "PutLogEvents", "DescribeLogStreams")}),
        # Developer guide of Step Functions: "connect-sagemaker".
        ("LabelDriveRole", {"sagemaker:AddTags", "sagemaker:ListTags"}),
    ],
)
def test_a_role_has_what_aws_documents_as_the_least(role: str, wanted: set[str]) -> None:
    (only,) = template()["Resources"][role]["Properties"]["Policies"]
    assert wanted <= {statement["Action"] for statement in only["PolicyDocument"]["Statement"]}


def test_the_labelling_role_can_be_assumed_without_the_key_of_the_account() -> None:
    (trust,) = template()["Resources"]["LabelingRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Condition"] == {"StringEqualsIfExists": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_nothing_may_delete_objects_or_change_permissions() -> None:
    forbidden = re.compile(
        r"s3:(Delete|PutBucket|PutObjectAcl)|iam:(?!PassRole)|sts:(?!AssumeRole|TagSession)|kms:(?!Encrypt|Decrypt|ReEncrypt|GenerateDataKey|DescribeKey)|dynamodb:Scan"
    )
    assert [(n, s["Action"]) for n, s in STATEMENTS if s["Effect"] == "Allow" and forbidden.match(s["Action"])] == []


# A key of the customer


def test_a_given_key_encrypts_all_that_keeps_data() -> None:
    def with_the_key(holding: frozenset[str]) -> set[str]:
        return {n for n, thing in in_stack(template(), holding)["Resources"].items() if "KmsKeyArn" in str(thing)}

    keeping = ("AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::Logs::LogGroup", "AWS::DynamoDB::Table")
    kept = {name for kind in keeping for name in resources(kind)}
    # S3 delivers no access logs to a bucket with a key.
    assert with_the_key(WITH_KEY) == kept - {"AccessLogBucket"} | {
        "LabelDriveStateMachine",
        "UseKmsKey",
        "LabelWithKmsKey",
        "TrainWithKmsKey",
    }
    # It is empty there.
    assert with_the_key(WITH_LABEL_STUDIO) == {"LabelDriveStateMachine"}


@pytest.mark.parametrize("holding", [WITH_KEY, frozenset({"HasKmsKey"})], ids=["Label Studio", "Ground Truth alone"])
def test_every_role_may_use_a_given_key(holding: frozenset[str]) -> None:
    stack = in_stack(template(), holding)["Resources"]
    roles = [{"Ref": name} for name, thing in stack.items() if thing["Type"] == "AWS::IAM::Role"]
    assert sorted(stack["UseKmsKey"]["Properties"]["Roles"], key=str) == sorted(roles, key=str)


@pytest.mark.parametrize("role", ["LabelingRole", "TrainingRole"])
def test_jobs_that_name_a_given_key_for_their_output_may_encrypt_with_it(role: str) -> None:
    policies = in_stack(template(), WITH_KEY)["Resources"].values()
    statements = [
        statement
        for thing in policies
        if thing["Type"] == "AWS::IAM::Policy" and {"Ref": role} in thing["Properties"]["Roles"]
        for statement in thing["Properties"]["PolicyDocument"]["Statement"]
    ]
    assert [s.get("Condition") for s in statements if s["Action"] == "kms:Encrypt"] == [None]


def test_a_queue_has_one_kind_of_encryption() -> None:
    for holding, kind in ((WITH_KEY, "KmsMasterKeyId"), (WITH_LABEL_STUDIO, "SqsManagedSseEnabled")):
        stack = in_stack(template(), holding)["Resources"]
        for name in resources("AWS::SQS::Queue"):
            assert {"KmsMasterKeyId", "SqsManagedSseEnabled"} & stack[name]["Properties"].keys() == {kind}


def test_the_keys_policy_lets_services_in_for_queues_topics_and_logs_of_this_account() -> None:
    key = read_template(ROOT / "security" / "key.yaml")["Resources"]["Key"]
    assert (key["UpdateReplacePolicy"], key["Properties"]["EnableKeyRotation"]) == ("Retain", True)
    account, *services = key["Properties"]["KeyPolicy"]["Statement"]
    assert resolve(account["Principal"]) == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    let_in = {}
    for statement in services:
        (context,) = statement["Condition"]["ArnLike"].items()
        for service in listed(resolve(statement["Principal"]["Service"])):
            let_in[service] = (context[0].removeprefix("kms:EncryptionContext:aws:"), resolve(context[1]))
        assert {"kms:Decrypt", "kms:GenerateDataKey"} <= set(statement["Action"])
        assert not any("*" in action or "Grant" in action for action in statement["Action"])
    place = f"eu-central-1:{ACCOUNT}"
    assert let_in == {
        **dict.fromkeys(("s3.amazonaws.com", "sns.amazonaws.com"), ("sqs:arn", f"arn:aws:sqs:{place}:*")),
        **dict.fromkeys(
            ("cloudwatch.amazonaws.com", "events.amazonaws.com"), ("sns:topicArn", f"arn:aws:sns:{place}:*")
        ),
        "logs.eu-central-1.amazonaws.com": ("logs:arn", f"arn:aws:logs:{place}:log-group:*"),
    }


# Buckets


@pytest.mark.parametrize("name", ["IngestBucket", "LabelBucket"])
def test_a_bucket_is_private_versioned_encrypted_and_kept(name: str) -> None:
    thing = template()["Resources"][name]
    properties = thing["Properties"]
    assert (thing["DeletionPolicy"], thing["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    assert all(properties["PublicAccessBlockConfiguration"].values())
    assert properties["BucketEncryption"]
    assert [statement["Effect"] for statement in policy(f"{name}Policy")] == ["Deny"]


def test_s3_logs_the_requests_to_both_buckets_and_deletes_the_logs() -> None:
    ingest, labels, logs = resources("AWS::S3::Bucket")
    assert (ingest, labels, logs) == ("IngestBucket", "LabelBucket", "AccessLogBucket")
    prefixes = set()
    for name in (ingest, labels):
        delivery = template()["Resources"][name]["Properties"]["LoggingConfiguration"]
        assert delivery["DestinationBucketName"] == {"Ref": logs}
        prefixes.add(delivery["LogFilePrefix"])
    assert prefixes == {"ingest/", "labels/"}
    (rule,) = template()["Resources"][logs]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", {"Ref": "LogRetentionDays"})
    _, delivered = policy("AccessLogBucketPolicy")
    assert (delivered["Action"], delivered["Principal"]) == ("s3:PutObject", {"Service": "logging.s3.amazonaws.com"})
    assert resolve(delivered["Condition"]) == {
        "ArnEquals": {"aws:SourceArn": [f"arn:aws:s3:::{INGEST}", f"arn:aws:s3:::{LABELS}"]},
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
    }


def test_the_ingest_bucket_notifies_the_submit_queue_of_drives() -> None:
    thing = template()["Resources"]["IngestBucket"]
    assert thing["DependsOn"] == "SubmitQueuePolicy"
    assert list(thing["Properties"]["NotificationConfiguration"]) == ["QueueConfigurations"]
    (only,) = thing["Properties"]["NotificationConfiguration"]["QueueConfigurations"]
    assert only["Event"] == "s3:ObjectCreated:*"
    assert only["Queue"] == {"Fn::GetAtt": "SubmitQueue.Arn"}
    assert only["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": "drives/"}]


def test_queue_policies_do_not_depend_on_the_ingest_bucket() -> None:
    for name in ("SubmitQueuePolicy", "SubmitQueue"):
        assert not re.search(r"\bIngestBucket\b", str(template()["Resources"][name]))


@pytest.mark.parametrize("bucket", ["IngestBucket", "LabelBucket"])
def test_a_workers_browser_may_load_what_ground_truths_pages_show(bucket: str) -> None:
    (rule,) = template()["Resources"][bucket]["Properties"]["CorsConfiguration"]["CorsRules"]
    # The page of tracks needs all of these (developer guide, sms-cors-update).
    assert rule["AllowedMethods"] == ["GET", "HEAD", "PUT"]
    assert rule["AllowedHeaders"] == rule["AllowedOrigins"] == ["*"]


# Queues, functions, logs, alarms


@pytest.mark.parametrize("name", ["SubmitQueue", "CollectQueue"])
def test_a_queue_keeps_messages_fourteen_days_and_has_dead_letters(name: str) -> None:
    properties = template()["Resources"][name]["Properties"]
    dead = name.replace("Queue", "DeadLetters")
    assert properties["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert properties["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": f"{dead}.Arn"}
    assert properties["RedrivePolicy"]["maxReceiveCount"] >= 50
    assert template()["Resources"][dead]["Properties"]["MessageRetentionPeriod"] == 14 * 24 * 3600
    dimensions = [alarm["Properties"]["Dimensions"] for alarm in resources("AWS::CloudWatch::Alarm").values()]
    assert [{"Name": "QueueName", "Value": {"Fn::GetAtt": f"{dead}.QueueName"}}] in dimensions


@pytest.mark.parametrize("function", ["submit", "collect"])
def test_a_queue_function_reports_partial_failures_and_is_bounded(function: str) -> None:
    properties = functions()[function]
    (event,) = properties["Events"].values()
    assert event["Type"] == "SQS"
    assert event["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert event["Properties"]["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "QueueConcurrency"}}
    # A message must not be delivered again while a function still processes it.
    assert properties["Timeout"] == {"Ref": "QueueFunctionTimeoutSeconds"}
    queue = template()["Resources"][event["Properties"]["Queue"]["Fn::GetAtt"].removesuffix(".Arn")]["Properties"]
    by_timeout = ["QueueVisibility", {"Ref": "QueueFunctionTimeoutSeconds"}, "Seconds"]
    assert queue["VisibilityTimeout"] == {"Fn::FindInMap": by_timeout}


def test_a_message_is_delivered_again_after_six_times_the_functions_timeout() -> None:
    visible_after = {int(timeout): row["Seconds"] for timeout, row in template()["Mappings"]["QueueVisibility"].items()}
    assert list(visible_after) == template()["Parameters"]["QueueFunctionTimeoutSeconds"]["AllowedValues"]
    # SQS refuses more than twelve hours; Lambda refuses less than the function's timeout.
    assert all(timeout < seconds <= 43_200 for timeout, seconds in visible_after.items())
    # Only the pair of the tests is shorter.
    shorter = {timeout: seconds for timeout, seconds in visible_after.items() if seconds < 6 * timeout}
    assert shorter == {int(CHAOS["QueueFunctionTimeoutSeconds"]): VISIBILITY_SECONDS}


def test_only_raw_messages_reach_the_collect_queue() -> None:
    subscriptions = [thing["Properties"] for thing in resources("AWS::SNS::Subscription").values()]
    to_queue = [s for s in subscriptions if s["Protocol"] == "sqs"]
    assert [s["TopicArn"] for s in to_queue] == [{"Ref": "SuccessTopic"}, {"Ref": "ErrorTopic"}]
    assert all(s["RawMessageDelivery"] is True and s["RedrivePolicy"] for s in to_queue)
    assert all(s["Endpoint"] == {"Fn::GetAtt": "CollectQueue.Arn"} for s in to_queue)


@pytest.mark.parametrize("function", functions())
def test_a_function_has_a_role_that_writes_only_its_own_log_and_traces(function: str) -> None:
    properties = functions()[function]
    assert properties["Role"] == {"Fn::GetAtt": f"{function.capitalize()}FunctionRole.Arn"}
    assert "Policies" not in properties
    own = {s["Action"]: s["Resource"] for s in statements(function) if s["Action"].startswith(("logs:", "xray:"))}
    group = {"Fn::GetAtt": f"{properties['LoggingConfig']['LogGroup']['Ref']}.Arn"}
    logs = {"logs:CreateLogStream": group, "logs:PutLogEvents": group}
    assert own == {**logs, "xray:PutTraceSegments": "*", "xray:PutTelemetryRecords": "*"}


def test_a_queue_function_receives_from_its_own_queue_only() -> None:
    receiving = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
    found = {
        (name, str(s["Resource"]), s["Action"])
        for name in functions()
        for s in statements(name)
        if s["Action"] in receiving
    }
    queues = {"submit": "SubmitQueue.Arn", "collect": "CollectQueue.Arn"}
    assert found == {(name, str({"Fn::GetAtt": queue}), one) for name, queue in queues.items() for one in receiving}


@pytest.mark.parametrize("function", functions())
def test_a_function_logs_to_a_group_with_a_retention_time(function: str) -> None:
    group = functions()[function]["LoggingConfig"]["LogGroup"]["Ref"]
    assert resources("AWS::Logs::LogGroup")[group]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_every_log_group_has_one_function_and_a_retention_time() -> None:
    groups = [properties["LoggingConfig"]["LogGroup"]["Ref"] for properties in functions().values()]
    assert len(set(groups)) == len(groups)
    assert all("RetentionInDays" in thing["Properties"] for thing in resources("AWS::Logs::LogGroup").values())


def test_powertools_is_set_for_all_functions_and_never_logs_events() -> None:
    shared = template()["Globals"]["Function"]["Environment"]["Variables"]
    assert shared["POWERTOOLS_METRICS_NAMESPACE"]
    assert shared["POWERTOOLS_LOGGER_LOG_EVENT"] == "false"


def test_two_stacks_keep_their_metrics_and_alarms_apart() -> None:
    shared = template()["Globals"]["Function"]["Environment"]["Variables"]
    assert shared["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}
    for alarm in (thing["Properties"] for thing in resources("AWS::CloudWatch::Alarm").values()):
        # CloudFormation names alarms that have no name after their stack.
        assert "AlarmName" not in alarm
        # Each watches a resource of the stack, or the metrics with the stack's name.
        assert all(isinstance(dimension["Value"], dict) for dimension in alarm["Dimensions"])
        if alarm["Namespace"] == shared["POWERTOOLS_METRICS_NAMESPACE"]:
            assert alarm["Dimensions"] == [{"Name": "service", "Value": shared["POWERTOOLS_SERVICE_NAME"]}]


def test_operators_are_told_of_every_unsuccessful_end() -> None:
    rule = template()["Resources"]["FailedRunsRule"]["Properties"]
    assert rule["EventPattern"]["detail"]["status"] == ["FAILED", "TIMED_OUT", "ABORTED"]
    assert rule["EventPattern"]["detail"]["stateMachineArn"] == [{"Ref": "LabelDriveStateMachine"}]
    assert [target["Arn"] for target in rule["Targets"]] == [{"Ref": "OpsTopic"}]
    for alarm in resources("AWS::CloudWatch::Alarm").values():
        assert alarm["Properties"]["AlarmActions"] == [{"Ref": "OpsTopic"}]


@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
@pytest.mark.parametrize("function", resources("AWS::Serverless::Function"))
def test_operators_are_told_of_errors_and_throttles_of_a_function(function: str, metric: str) -> None:
    alarm = template()["Resources"][f"{function.removesuffix('Function')}{metric}Alarm"]
    assert alarm.get("Condition") == template()["Resources"][function].get("Condition")
    properties = alarm["Properties"]
    assert (properties["Namespace"], properties["MetricName"]) == ("AWS/Lambda", metric)
    assert properties["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": function}}]


@pytest.mark.parametrize("queue", ["SubmitQueue", "CollectQueue"])
def test_operators_are_told_when_a_queue_stands_still(queue: str) -> None:
    alarm = template()["Resources"][queue.replace("Queue", "StandsStillAlarm")]["Properties"]
    assert alarm["MetricName"] == "ApproximateAgeOfOldestMessage"
    assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": {"Fn::GetAtt": f"{queue}.QueueName"}}]
    assert alarm["Period"] * alarm["EvaluationPeriods"] == alarm["Threshold"] == 1800


def test_a_model_has_no_network_and_its_log_expires() -> None:
    endpoint = read_template(ROOT / "models" / "endpoint.yaml")
    parameters, things = endpoint["Parameters"], endpoint["Resources"]
    assert things["Model"]["Properties"]["EnableNetworkIsolation"] == {"Ref": "NetworkIsolation"}
    assert parameters["NetworkIsolation"]["Default"] == "true"
    assert things["EndpointLogs"]["Properties"] == {
        "LogGroupName": {"Fn::Sub": "/aws/sagemaker/Endpoints/${EndpointName}"},
        "KmsKeyId": {"Fn::If": ["HasKmsKey", {"Ref": "KmsKeyId"}, {"Ref": "AWS::NoValue"}]},
        "RetentionInDays": {"Ref": "LogRetentionDays"},
    }
    # SageMaker would make the group first, and then the stack could not.
    assert things["Endpoint"]["DependsOn"] == "EndpointLogs"
    assert (
        parameters["LogRetentionDays"]["AllowedValues"] == template()["Parameters"]["LogRetentionDays"]["AllowedValues"]
    )


ALARMS = {
    name: thing["Properties"]
    for path in ("template.yaml", "models/endpoint.yaml")
    for name, thing in read_template(ROOT / path)["Resources"].items()
    if thing["Type"] == "AWS::CloudWatch::Alarm"
}


# WakeAlarm starts an instance, and notifies no operator.
@pytest.mark.parametrize("name", sorted(ALARMS.keys() - {"WakeAlarm"}))
def test_an_alarm_tells_its_end_and_names_the_section_that_explains_it(name: str) -> None:
    alarm, description = ALARMS[name], ALARMS[name]["AlarmDescription"]
    assert alarm["OKActions"] == alarm["AlarmActions"]
    runbook = re.search(r"Runbook: (docs/\S+\.md)#(\S+)$", description)
    assert runbook, description
    sections = re.split(r"^###? ", (ROOT / runbook[1]).read_text(), flags=re.MULTILINE)
    (section,) = [text for text in sections if text.split("\n")[0].lower().replace(" ", "-") == runbook[2]]
    assert f"`{name}`" in section.split("\n- **Threshold**: ")[0]
    assert re.findall(r"^- \*\*(.+?)\*\*: ", section, re.MULTILINE) == ["Threshold", "Cannot see", "Do"]
    # CloudWatch accepts 1,024 characters.
    assert len(description) <= 1_024


# Parameters and outputs


@pytest.mark.parametrize("name", template()["Parameters"])
def test_a_parameter_has_a_description_and_limits(name: str) -> None:
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


def test_regions_with_known_ground_truth_functions_are_accepted() -> None:
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
def test_every_reference_names_an_existing_resource(holding: frozenset[str]) -> None:
    stack = in_stack(template(), holding)
    known = {*stack["Resources"], *stack["Parameters"]}
    for name, thing in stack["Resources"].items():
        if thing["Type"] == "AWS::Serverless::Function":
            # Resources that SAM creates with a function.
            known |= {f"{name}Url"} if "FunctionUrlConfig" in thing["Properties"] else set()

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


def test_the_architecture_shows_the_parts_of_the_stack() -> None:
    text = (ROOT / "docs" / "developers" / "architecture.md").read_text()
    _, picture, explained, *_ = text.partition("## How a drive flows")[2].split("```")
    left_out = re.findall(r"`([A-Za-z]+)`", explained.partition("leaves out")[2].partition("\n\n")[0])
    stores = ("AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::DynamoDB::Table", "AWS::S3::Bucket")
    machines = [name.removesuffix("StateMachine") for name in resources("AWS::Serverless::StateMachine")]
    parts = {*functions(), *machines, *(name for kind in stores for name in resources(kind))}
    shown = {part for part in parts if re.search(rf"\b{part}\b", picture)}
    assert shown | set(left_out) == parts
    assert not shown & set(left_out)
    # All else that looks like a name is a state, a parameter or a name of AWS.
    named = set(re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", picture)) - parts
    known = set(template()["Parameters"]) | {"InvokeEndpointAsync", "StartExecution", "DriveLabelled", "EventBridge"}
    assert [name for name in named - known if f"{name}:" not in state_machine_text()] == []
