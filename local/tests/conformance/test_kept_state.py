"""A cloud that keeps its state, ended in two ways, and the cloud that goes on with it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.cloud.launcher import EmbeddedCloud
from local.records import FORMAT, UnreadableState
from local.settings import ACCOUNT, PEOPLE, STACK_WENT, CloudSettings
from local.tests.conformance.workbench import Workbench, eventually, policy
from local.tests.portal.browser import Browser
from local.tests.sagemaker.jobs import TEMPLATE, job_request, manifest_line

pytestmark = pytest.mark.cloud
SETTINGS = CloudSettings(annotator=PEOPLE, keep=True)
JOB = "Drive-1"
ROLE = "arn:aws:iam::000000000000:role/reviews"
RUN = {"stateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:reviews", "name": "run", "input": "{}"}
EXECUTION = "arn:aws:states:us-east-1:000000000000:execution:reviews:run"
TRUST = json.loads(policy([{"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "*"}]))
# A job is created, whether or not its name is in use, and followed to its end: this may be done twice.
DEFINITION = {
    "QueryLanguage": "JSONata",
    "StartAt": "Create",
    "States": {
        "Create": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:sagemaker:createLabelingJob",
            "Arguments": job_request(RoleArn=ROLE),
            "Catch": [{"ErrorEquals": ["SageMaker.ResourceInUseException"], "Next": "Look"}],
            "Next": "Look",
        },
        "Look": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:sagemaker:describeLabelingJob",
            "Arguments": {"LabelingJobName": JOB},
            "Output": "{% $states.result.LabelingJobStatus %}",
            "Next": "Ended?",
        },
        "Ended?": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $states.input = 'Completed' %}", "Next": "Ended"}],
            "Default": "Pause",
        },
        "Pause": {"Type": "Wait", "Seconds": 1, "Next": "Look"},
        "Ended": {"Type": "Succeed"},
    },
}
FAILING = {
    "QueryLanguage": "JSONata",
    "StartAt": "First",
    "States": {"First": {"Type": "Pass", "Next": "Second"}, "Second": {"Type": "Fail", "Error": "Broken"}},
}
FAILED = {**RUN, "stateMachineArn": RUN["stateMachineArn"].replace("reviews", "failing")}
STACK: dict[str, dict[str, Any]] = {
    "Resources": {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {"RoleName": "reviews", "AssumeRolePolicyDocument": TRUST},
        },
        "Labels": {
            "Type": "AWS::S3::Bucket",
            "Properties": {"BucketName": "labels", "VersioningConfiguration": {"Status": "Enabled"}},
        },
        "Drives": {
            "Type": "AWS::S3::Bucket",
            "Properties": {
                "BucketName": "drives",
                "CorsConfiguration": {"CorsRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]},
            },
        },
        "Ledger": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "TableName": "ledger",
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            },
        },
        "Letters": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "letters"}},
        "Machine": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {"StateMachineName": "reviews", "RoleArn": ROLE, "Definition": DEFINITION},
        },
        "FailingMachine": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {"StateMachineName": "failing", "RoleArn": ROLE, "Definition": FAILING},
        },
    }
}


def deploy(bench: Workbench) -> None:
    bench.cloudformation.create_stack(StackName="s", TemplateBody=json.dumps(STACK), Capabilities=["CAPABILITY_IAM"])
    eventually(
        lambda: bench.cloudformation.describe_stacks(StackName="s")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
    )


def begin(bench: Workbench) -> None:
    """Put the inputs of a job of three frames, and start the execution that creates it."""
    categories = {"document-version": "2018-11-28", "labels": [{"label": "person"}, {"label": "car"}]}
    lines = [manifest_line(number) for number in range(3)]
    for key, body in (
        ("categories.json", json.dumps(categories)),
        ("template.liquid", TEMPLATE),
        ("in.manifest", "\n".join(json.dumps(line) for line in lines)),
    ):
        bench.s3.put_object(Bucket="labels", Key=key, Body=body.encode())
    for number in range(3):
        bench.s3.put_object(Bucket="drives", Key=f"{number}.png", Body=b"png", ContentType="image/png")
    bench.stepfunctions.start_execution(**RUN)
    bench.stepfunctions.start_execution(**FAILED)


def seen(bench: Workbench) -> list[Any]:
    """What users see of all objects, versions and items."""
    versions = bench.s3.list_object_versions(Bucket="labels", Prefix="odd")["Versions"]
    heads = [bench.s3.head_object(Bucket="labels", Key=v["Key"], VersionId=v["VersionId"]) for v in versions]
    members = ("ETag", "ContentType", "Metadata", "LastModified", "ContentLength", "VersionId")
    body = bench.s3.get_object(Bucket="labels", Key="odd/ä %/")["Body"].read()
    items = bench.dynamodb.scan(TableName="ledger")["Items"]
    return [[{name: head[name] for name in members} for head in heads], body, sorted(items, key=str)]


def kill(cloud: EmbeddedCloud) -> None:
    assert cloud._server is not None
    os.kill(cloud._server.pid, signal.SIGKILL)
    cloud.stop()


@pytest.mark.parametrize("end", [EmbeddedCloud.stop, kill], ids=["stopped", "killed"])
def test_the_next_cloud_goes_on_with_what_was_acknowledged(
    tmp_path: Path, end: Callable[[EmbeddedCloud], None]
) -> None:
    with EmbeddedCloud(tmp_path, settings=SETTINGS) as cloud:
        bench = Workbench(cloud)
        deploy(bench)
        assert cloud.resume() == {"jobs": [], "executions": []}
        begin(bench)
        for body in (b"one", b"another"):
            bench.s3.put_object(
                Bucket="labels", Key="odd/ä %/", Body=body, ContentType="text/x", Metadata={"made-by": "test"}
            )
        for name in ("kept", "changed", "deleted"):
            bench.dynamodb.put_item(TableName="ledger", Item={"id": {"S": name}, "n": {"N": "1"}})
        bench.dynamodb.update_item(
            TableName="ledger",
            Key={"id": {"S": "changed"}},
            UpdateExpression="SET n = :n",
            ExpressionAttributeValues={":n": {"N": "2"}},
        )
        bench.dynamodb.delete_item(TableName="ledger", Key={"id": {"S": "deleted"}})
        browser = Browser(cloud.portal_url)
        first = eventually(browser.next_task)
        following = browser.submit(first, ("car", 1, 2, 3, 4)).document["next"]
        before = seen(bench)
        letters = bench.sqs.get_queue_url(QueueName="letters")["QueueUrl"]
        for text in ("read", "waiting", "in flight"):
            bench.sqs.send_message(QueueUrl=letters, MessageBody=text)
        got = bench.sqs.receive_message(QueueUrl=letters)["Messages"][0]
        bench.sqs.delete_message(QueueUrl=letters, ReceiptHandle=got["ReceiptHandle"])
        bench.sqs.receive_message(QueueUrl=letters)
        eventually(lambda: len(_recorded(tmp_path, "message")) == 2 and len(_recorded(tmp_path, "stack")) == 1)
        began = bench.stepfunctions.describe_execution(executionArn=EXECUTION)["startDate"]
        end(cloud)

    with EmbeddedCloud(tmp_path, settings=SETTINGS) as cloud:
        bench = Workbench(cloud)
        went = bench.cloudformation.list_stacks()["StackSummaries"]
        assert [(one["StackStatus"], one["StackStatusReason"]) for one in went] == [("DELETE_COMPLETE", STACK_WENT)]
        deploy(bench)
        assert seen(bench) == before
        assert cloud.resume() == {"jobs": [JOB], "executions": ["run"]}
        letters = bench.sqs.get_queue_url(QueueName="letters")["QueueUrl"]
        texts = bench.sqs.receive_message(QueueUrl=letters, MaxNumberOfMessages=10)["Messages"]
        assert sorted(message["Body"] for message in texts) == ["in flight", "waiting"]
        # The page that was open still has its address. A repeated answer counts once, and another one replaces it.
        eventually(lambda: browser.get(following).status == 200)
        assert browser.submit(first, ("car", 1, 2, 3, 4)).status == 200
        assert browser.submit(first, ("car", 9, 9, 9, 9)).status == 200
        last = browser.submit(following, ("person", 5, 6, 7, 8)).document["next"]
        assert browser.submit(last, ("car", 10, 20, 30, 40)).document == {"next": None}
        eventually(lambda: bench.stepfunctions.describe_execution(executionArn=EXECUTION)["status"] == "SUCCEEDED")
        output = bench.s3.get_object(Bucket="labels", Key=f"gt/{JOB}/manifests/output/output.manifest")["Body"].read()
        lefts = [json.loads(line)["verified"]["annotations"][0]["left"] for line in output.splitlines()]
        assert lefts == [9, 5, 10]
        answers = bench.s3.list_objects_v2(Bucket="labels", Prefix=f"gt/{JOB}/annotations/worker-response/")
        assert answers["KeyCount"] == 3

    with EmbeddedCloud(tmp_path, settings=SETTINGS) as cloud:
        bench = Workbench(cloud)
        deploy(bench)
        assert cloud.resume() == {"jobs": [], "executions": []}
        ended = bench.stepfunctions.describe_execution(executionArn=EXECUTION)
        assert (ended["status"], ended["startDate"]) == ("SUCCEEDED", began)
        history = bench.stepfunctions.get_execution_history(executionArn=EXECUTION)["events"]
        assert history[-1]["type"] == "ExecutionSucceeded"
        job = bench.sagemaker.describe_labeling_job(LabelingJobName=JOB)
        assert (job["LabelingJobStatus"], job["LabelCounters"]["HumanLabeled"]) == ("Completed", 3)
        assert job["LabelingJobOutput"]["OutputDatasetS3Uri"].endswith("/output.manifest")
        # A failed execution can be redriven; it begins at its first state.
        failed = EXECUTION.replace("reviews", "failing")
        bench.stepfunctions.redrive_execution(executionArn=failed)
        eventually(lambda: bench.stepfunctions.describe_execution(executionArn=failed)["status"] == "FAILED")
        events = bench.stepfunctions.get_execution_history(executionArn=failed)["events"]
        entered = [e["stateEnteredEventDetails"]["name"] for e in events if "stateEnteredEventDetails" in e]
        assert entered == ["First", "Second", "First", "Second"]


def test_a_deployment_that_fails_costs_nothing(tmp_path: Path) -> None:
    with EmbeddedCloud(tmp_path, settings=SETTINGS) as cloud:
        bench = Workbench(cloud)
        deploy(bench)
        cloud.resume()
        bench.s3.put_object(Bucket="labels", Key="key", Body=b"whole")
        bench.dynamodb.put_item(TableName="ledger", Item={"id": {"S": "kept"}})
    broken = {"Type": "AWS::SQS::QueuePolicy", "DependsOn": ["Labels", "Ledger"], "Properties": {"Nothing": 1}}
    with EmbeddedCloud(tmp_path, settings=SETTINGS) as cloud:
        bench = Workbench(cloud)
        template = {"Resources": {**STACK["Resources"], "Broken": broken}}
        request = {"StackName": "s", "TemplateBody": json.dumps(template), "OnFailure": "DELETE"}
        stack = bench.cloudformation.create_stack(**request, Capabilities=["CAPABILITY_IAM"])["StackId"]
        eventually(lambda: bench.cloudformation.describe_stacks()["Stacks"] == [])
        events = bench.cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
        statuses = {one["ResourceStatus"] for one in events if one["LogicalResourceId"] == "Ledger"}
        assert {"CREATE_COMPLETE", "DELETE_COMPLETE"} <= statuses
    with EmbeddedCloud(tmp_path, settings=SETTINGS) as cloud:
        bench = Workbench(cloud)
        deploy(bench)
        assert bench.s3.get_object(Bucket="labels", Key="key")["Body"].read() == b"whole"
        assert bench.dynamodb.scan(TableName="ledger")["Items"] == [{"id": {"S": "kept"}}]


def _recorded(folder: Path, kind: str) -> list[Any]:
    with sqlite3.connect(folder / "kept" / "records.sqlite") as file:
        return file.execute("SELECT name FROM records WHERE kind = ?", (kind,)).fetchall()


def _spoil_format(kept: Path) -> None:
    with sqlite3.connect(kept / "records.sqlite") as file:
        file.execute(f"PRAGMA user_version = {FORMAT + 1}")


def _spoil_record(kept: Path) -> None:
    with sqlite3.connect(kept / "records.sqlite") as file:
        file.execute("UPDATE records SET document = '{'")


def _spoil_file(kept: Path) -> None:
    _lose_file(kept)
    (kept / "records.sqlite").write_bytes(b"no database" * 1000)


def _lose_file(kept: Path) -> None:
    for file in kept.glob("records.sqlite*"):
        file.unlink()


def _spoil_object(kept: Path) -> None:
    path = kept / "objects" / ACCOUNT / "bucket" / "key"
    times = path.stat()
    path.write_bytes(b"cut")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _spoil_sidecar(kept: Path) -> None:
    (kept / "objects" / ACCOUNT / "bucket" / "key.meta.json").write_text("{")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a cloud that has ended."""
    folder = tmp_path_factory.mktemp("kept")
    with EmbeddedCloud(folder, settings=CloudSettings(keep=True)) as cloud:
        cloud.client("s3").create_bucket(Bucket="bucket")
        cloud.client("s3").put_object(Bucket="bucket", Key="key", Body=b"whole")
        role = Workbench(cloud).role("states")
        definition = {"QueryLanguage": "JSONata", "StartAt": "S", "States": {"S": {"Type": "Succeed"}}}
        states = cloud.client("stepfunctions")
        machine = states.create_state_machine(name="m", definition=json.dumps(definition), roleArn=role)
        states.start_execution(stateMachineArn=machine["stateMachineArn"])
    return folder


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_spoil_format, f"has format {FORMAT + 1}; this version reads {FORMAT}"),
        (_spoil_record, "is damaged: records.sqlite: "),
        (_spoil_file, "is damaged: records.sqlite: "),
        (_lose_file, "is damaged: records.sqlite is missing"),
        (_spoil_object, "key: 3 bytes in place of 5"),
        (_spoil_sidecar, "key: Expecting"),
    ],
)
def test_a_state_that_cannot_be_read_is_named(
    kept: Path, tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    folder = tmp_path / "cloud"
    shutil.copytree(kept, folder)
    spoil(folder / "kept")
    with pytest.raises(UnreadableState) as refused:
        EmbeddedCloud(folder, settings=CloudSettings(keep=True)).start()
    assert f"the kept state in {folder / 'kept'} " in str(refused.value)
    assert reason in str(refused.value)


def test_a_put_that_was_cut_short_is_made_whole_or_gone(kept: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cloud"
    shutil.copytree(kept, folder)
    bucket = folder / "kept" / "objects" / ACCOUNT / "bucket"
    # As a kill leaves them: the content is there, and its description is not, or is that of the content before.
    (bucket / "new").write_bytes(b"nobody was told")
    (bucket / "key").write_bytes(b"later")
    with EmbeddedCloud(folder, settings=CloudSettings(keep=True)) as cloud:
        cloud.resume()
        listed = cloud.client("s3").list_objects_v2(Bucket="bucket")["Contents"]
        assert [(one["Key"], one["Size"], one["ETag"]) for one in listed] == [
            ("key", 5, '"c18788c2f274c779da72d9854ea4bfbf"')
        ]


def test_an_object_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with EmbeddedCloud(tmp_path, settings=CloudSettings(keep=True)) as cloud:
        once = Config(retries={"total_max_attempts": 1})
        s3 = boto3.client(
            "s3", endpoint_url=cloud.endpoint_url, aws_access_key_id=ACCOUNT, aws_secret_access_key="a", config=once
        )
        s3.create_bucket(Bucket="bucket")
        # A folder is where ministack writes the object first.
        (tmp_path / "kept" / "objects" / ACCOUNT / "bucket" / "key.tmp").mkdir(parents=True)
        with pytest.raises(ClientError, match=r"\(500\)"):
            s3.put_object(Bucket="bucket", Key="key", Body=b"lost")


def test_other_clouds_keep_nothing(tmp_path: Path) -> None:
    with EmbeddedCloud(tmp_path) as cloud:
        cloud.client("s3").create_bucket(Bucket="bucket")
        cloud.client("s3").put_object(Bucket="bucket", Key="key", Body=b"whole")
    assert not (tmp_path / "kept").exists()
    assert not list(tmp_path.glob("*.port"))
