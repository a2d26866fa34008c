"""With enforce_iam, functions and state machines may do only what their roles allow."""

from __future__ import annotations

import json
from typing import Any

import boto3
from botocore.exceptions import ClientError

from local.tests.conformance.workbench import Workbench, eventually, policy, unique

SENDS = """
    import boto3

    def handler(event, context):
        boto3.client("sqs").send_message(QueueUrl=event["queue"], MessageBody="hello")
        return "sent"
"""


def test_a_function_may_do_only_what_its_role_allows(strict: Workbench) -> None:
    url, arn = strict.queue()
    other, _ = strict.queue()
    name = strict.function(SENDS, Role=strict.role("lambda", ("sqs:SendMessage", arn)))
    assert strict.invoke(name, {"queue": url}) == ("sent", None)
    answer, error = strict.invoke(name, {"queue": other})
    assert error == "Unhandled"
    assert "sqs:sendmessage" in answer["errorMessage"].lower()


def test_only_what_the_policies_allowed_is_recorded(strict: Workbench) -> None:
    url, arn = strict.queue()
    other, refused = strict.queue()
    role = strict.role("lambda", ("sqs:SendMessage", arn))
    name = strict.function(SENDS, Role=role)
    for queue in (url, url, other):
        strict.invoke(name, {"queue": queue})
    recorded = [json.loads(line) for line in (strict.cloud.folder / "allowed.jsonl").read_text().splitlines()]
    own = {"role": role.rsplit("/", 1)[1], "action": "sqs:SendMessage", "resource": arn}
    assert recorded.count(own) == 1
    assert refused not in {request["resource"] for request in recorded}


def test_lambda_polls_a_queue_only_with_the_permissions_of_the_role(strict: Workbench) -> None:
    polling = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
    code = """
        def handler(event, context):
            return {"batchItemFailures": []}
    """
    urls = []
    for lacking in (polling[1], ""):
        url, arn = strict.queue(VisibilityTimeout=60)
        role = strict.role("lambda", *((action, arn) for action in polling if action != lacking))
        function = strict.function(code, Role=role)
        strict.functions.create_event_source_mapping(FunctionName=function, EventSourceArn=arn)
        strict.sqs.send_message(QueueUrl=url, MessageBody="hello")
        urls.append(url)

    def count(url: str) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(map(int, strict.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()))

    eventually(lambda: count(urls[1]) == 0)
    eventually(lambda: "denied: sqs:DeleteMessage" in strict.cloud.log.read_text())
    assert count(urls[0]) == 1


def test_a_function_that_may_not_write_its_log_is_noticed(strict: Workbench) -> None:
    code = """
        def handler(event, context):
            return True
    """
    group = unique("/group")
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{group}:*"
    role = strict.role("lambda", ("logs:CreateLogStream", arn))
    strict.invoke(strict.function(code, Role=role, LoggingConfig={"LogFormat": "JSON", "LogGroup": group}))
    denied = [line for line in strict.cloud.log.read_text().splitlines() if group in line]
    assert [line.split("denied: ")[1].split()[0] for line in denied] == ["logs:PutLogEvents"]


def test_a_variable_in_a_policy_has_the_value_of_the_session_tag(strict: Workbench) -> None:
    bucket, name = strict.bucket(), unique("role")
    account = {"AWS": "arn:aws:iam::000000000000:root"}
    trust = {"Effect": "Allow", "Principal": account, "Action": ["sts:AssumeRole", "sts:TagSession"]}
    role = strict.iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy([trust]))["Role"]["Arn"]
    put = {
        "Effect": "Allow",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/${{aws:PrincipalTag/team}}/*",
    }
    strict.iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=policy([put]))

    def may_put(key: str, *tags: dict[str, str]) -> bool:
        keys = strict.sts.assume_role(RoleArn=role, RoleSessionName="one", Tags=list(tags))["Credentials"]
        s3 = boto3.client(
            "s3",
            endpoint_url=strict.cloud.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        except ClientError as error:
            return bool(error.response["Error"]["Code"] != "AccessDenied")
        return True

    red = {"Key": "team", "Value": "red"}
    assert may_put("red/x", red)
    assert not may_put("blue/x", red)
    # Without a value, the statement allows nothing
    assert not may_put("red/x")
    assert not may_put("/x")
    assert not may_put("${aws:PrincipalTag/team}/x")


def test_a_key_refuses_strangers_who_may_read_the_bucket(strict: Workbench) -> None:
    account = {"AWS": "arn:aws:iam::000000000000:root"}
    whole = {"Effect": "Allow", "Principal": account, "Action": "kms:*", "Resource": "*"}
    key = strict.kms.create_key(Policy=policy([whole]))["KeyMetadata"]["Arn"]
    bucket = strict.bucket()
    by_default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    strict.s3.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": by_default}]},
    )
    strict.s3.put_object(Bucket=bucket, Key="x", Body=b"frame")
    code = """
        import boto3

        def handler(event, context):
            s3 = boto3.client("s3")
            if event.get("write"):
                return bool(s3.put_object(Bucket=event["bucket"], Key="y", Body=b"x"))
            return s3.get_object(Bucket=event["bucket"], Key="x")["Body"].read().decode()
    """
    objects = [("s3:GetObject", f"arn:aws:s3:::{bucket}/*"), ("s3:PutObject", f"arn:aws:s3:::{bucket}/*")]
    stranger = strict.function(code, Role=strict.role("lambda", *objects))
    reader = strict.function(code, Role=strict.role("lambda", *objects, ("kms:Decrypt", key)))
    _, error = strict.invoke(stranger, {"bucket": bucket})
    assert error == "Unhandled"
    assert strict.invoke(reader, {"bucket": bucket}) == ("frame", None)
    assert strict.invoke(reader, {"bucket": bucket, "write": True})[1] == "Unhandled"


def test_a_table_with_a_key_of_aws_asks_no_key_policy(strict: Workbench) -> None:
    name = unique("t")
    strict.dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        SSESpecification={"Enabled": True},
    )
    code = """
        import boto3

        def handler(event, context):
            return "Item" in boto3.client("dynamodb").get_item(TableName=event["table"], Key={"pk": {"S": "x"}})
    """
    table = f"arn:aws:dynamodb:us-east-1:000000000000:table/{name}"
    assert strict.invoke(
        strict.function(code, Role=strict.role("lambda", ("dynamodb:GetItem", table))), {"table": name}
    ) == (False, None)


def test_a_service_sends_only_with_the_key_of_the_queue(strict: Workbench) -> None:
    account = {"AWS": "arn:aws:iam::000000000000:root"}
    whole = {"Effect": "Allow", "Principal": account, "Action": "kms:*", "Resource": "*"}
    send = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
        "Resource": "*",
        "Condition": {"ArnLike": {"kms:EncryptionContext:aws:sqs:arn": "arn:aws:sqs:us-east-1:000000000000:*"}},
    }
    urls = []
    for statements in ([whole], [whole, send]):
        key = strict.kms.create_key(Policy=policy(statements))["KeyMetadata"]["Arn"]
        url, arn = strict.open_queue("s3.amazonaws.com", KmsMasterKeyId=key)
        bucket = strict.bucket()
        told = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
        strict.s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [told]}, SkipDestinationValidation=True
        )
        strict.s3.put_object(Bucket=bucket, Key="x", Body=b"1")
        urls.append(url)
    assert [json.loads(one["Body"])["Records"][0]["s3"]["object"]["key"] for one in strict.receive(urls[1])] == ["x"]
    assert "Messages" not in strict.sqs.receive_message(QueueUrl=urls[0])


def test_a_deny_for_all_but_one_role_admits_that_role(strict: Workbench) -> None:
    topic = strict.sns.create_topic(Name=unique("t"))["TopicArn"]
    code = """
        import boto3

        def handler(event, context):
            return bool(boto3.client("sns").publish(TopicArn=event["topic"], Message="m")["MessageId"])
    """
    publishers = [strict.role("lambda", ("sns:Publish", topic)) for _ in range(2)]
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sns:Publish",
        "Resource": topic,
        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": publishers[0]}},
    }
    strict.sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy([deny]))
    answers = [strict.invoke(strict.function(code, Role=one), {"topic": topic}) for one in publishers]
    assert answers[0] == (True, None)
    assert answers[1][1] == "Unhandled"


def test_a_bucket_that_requires_tls_is_open_on_loopback(strict: Workbench) -> None:
    bucket = strict.bucket()
    strict.s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    tls_only = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    strict.s3.put_bucket_policy(Bucket=bucket, Policy=policy([tls_only]))
    code = """
        import boto3

        def handler(event, context):
            return boto3.client("s3").get_object(Bucket=event["bucket"], Key="k")["Body"].read().decode()
    """
    reader = strict.role("lambda", ("s3:GetObject", f"arn:aws:s3:::{bucket}/*"))
    assert strict.invoke(strict.function(code, Role=reader), {"bucket": bucket}) == ("x", None)


def test_a_state_machine_may_call_only_what_its_role_allows(strict: Workbench) -> None:
    url, arn = strict.queue()
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage",
        "Arguments": {"QueueUrl": url, "MessageBody": "x"},
        "End": True,
    }
    definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": state}})

    def outcome(role_arn: str) -> dict[str, Any]:
        machine = strict.stepfunctions.create_state_machine(name=unique("m"), roleArn=role_arn, definition=definition)[
            "stateMachineArn"
        ]
        return strict.outcome(strict.start(machine))

    assert outcome(strict.role("states", ("sqs:SendMessage", arn)))["status"] == "SUCCEEDED"
    refused = outcome(strict.role("states"))
    assert (refused["status"], "AccessDenied" in refused["error"]) == ("FAILED", True)


def test_a_callback_needs_the_permission_for_its_own_state_machine(strict: Workbench) -> None:
    url, arn = strict.queue()
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Arguments": {"QueueUrl": url, "MessageBody": "{% $states.context.Task.Token %}"},
        "End": True,
    }
    machine = strict.stepfunctions.create_state_machine(
        name=unique("m"),
        roleArn=strict.role("states", ("sqs:SendMessage", arn)),
        definition=json.dumps({"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": state}}),
    )["stateMachineArn"]
    code = """
        import boto3

        def handler(event, context):
            boto3.client("stepfunctions").send_task_success(taskToken=event["token"], output="1")
    """
    execution = strict.start(machine)
    token = strict.receive(url)[0]["Body"]
    wrong = strict.role("lambda", ("states:SendTaskSuccess", machine + "-other"))
    right = strict.role("lambda", ("states:SendTaskSuccess", machine))
    assert strict.invoke(strict.function(code, Role=wrong), {"token": token})[1] == "Unhandled"
    assert strict.invoke(strict.function(code, Role=right), {"token": token}) == (None, None)
    assert strict.outcome(execution)["output"] == "1"


def test_a_batch_of_messages_needs_the_permission_of_one_message(strict: Workbench) -> None:
    url, arn = strict.queue()
    code = """
        import boto3

        def handler(event, context):
            boto3.client("sqs").send_message_batch(QueueUrl=event["queue"], Entries=[{"Id": "1", "MessageBody": "m"}])
    """
    without, allowed = strict.role("lambda"), strict.role("lambda", ("sqs:SendMessage", arn))
    answer, error = strict.invoke(strict.function(code, Role=without), {"queue": url})
    assert error == "Unhandled"
    assert "sqs:sendmessage " in answer["errorMessage"].lower()
    assert strict.invoke(strict.function(code, Role=allowed), {"queue": url}) == (None, None)


def test_only_callers_that_may_list_a_bucket_learn_of_a_missing_object(strict: Workbench) -> None:
    bucket = strict.bucket()
    code = """
        import boto3, botocore.exceptions

        def handler(event, context):
            s3 = boto3.client("s3")
            codes = []
            for read in (s3.get_object, s3.head_object):
                try:
                    read(Bucket=event["bucket"], Key="none")
                except botocore.exceptions.ClientError as error:
                    codes.append(error.response["ResponseMetadata"]["HTTPStatusCode"])
            return codes
    """
    read = ("s3:GetObject", f"arn:aws:s3:::{bucket}/*")
    reader, lister = (
        strict.role("lambda", read),
        strict.role("lambda", read, ("s3:ListBucket", f"arn:aws:s3:::{bucket}")),
    )
    assert strict.invoke(strict.function(code, Role=reader), {"bucket": bucket}) == ([403, 403], None)
    assert strict.invoke(strict.function(code, Role=lister), {"bucket": bucket}) == ([404, 404], None)
