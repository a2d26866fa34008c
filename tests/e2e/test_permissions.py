"""The permissions of the uploader's role and of strangers.

The fixture `pipeline` checks the permissions of the stack's own parts, for all end-to-end tests together.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.e2e.pipeline import START, WANTED_REFUSALS, Pipeline, image

pytestmark = pytest.mark.cloud


def client(pipeline: Pipeline, service: str, keys: dict[str, Any]) -> Any:
    return boto3.client(
        service,
        endpoint_url=pipeline.cloud.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys.get("SessionToken"),
    )


@pytest.fixture
def uploader(pipeline: Pipeline) -> Any:
    """S3 with the rights of a fleet's uploader: of a user of the account who may assume its role."""
    iam, role = pipeline.cloud.client("iam"), pipeline.stack.outputs["UploaderRoleArn"]
    allow = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role}
    iam.create_user(UserName="fleet")
    iam.put_user_policy(
        UserName="fleet",
        PolicyName="upload",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}),
    )
    sts = client(pipeline, "sts", iam.create_access_key(UserName="fleet")["AccessKey"])
    keys = sts.assume_role(RoleArn=role, RoleSessionName=WANTED_REFUSALS)["Credentials"]
    return client(pipeline, "s3", keys)


@pytest.fixture
def stranger(pipeline: Pipeline) -> dict[str, Any]:
    """Keys of a user of the account who may publish to all topics that do not deny it, and may send to no queue."""
    iam = pipeline.cloud.client("iam")
    allow = {"Effect": "Allow", "Action": "sns:Publish", "Resource": "*"}
    iam.create_user(UserName=WANTED_REFUSALS)
    iam.put_user_policy(
        UserName=WANTED_REFUSALS,
        PolicyName="publish",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}),
    )
    keys: dict[str, Any] = iam.create_access_key(UserName=WANTED_REFUSALS)["AccessKey"]
    return keys


def refused(call: Callable[..., Any], **arguments: Any) -> bool:
    try:
        call(**arguments)
    except ClientError as error:
        return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] == 403)
    return False


def test_an_uploader_may_only_upload_drives(pipeline: Pipeline, uploader: Any) -> None:
    ingest, labels = pipeline.stack.outputs["IngestBucketName"], pipeline.stack.outputs["LabelBucketName"]
    frame = f"drives/uploader/front/{START}.png"
    # It uploads frames, and they are labelled
    uploader.put_object(Bucket=ingest, Key=frame, Body=image())
    document = b'{"vehicle": "test", "cameras": {"front": {}}}'
    uploader.put_object(Bucket=ingest, Key="drives/uploader/drive.json", Body=document)
    assert pipeline.succeed("uploader")["frames"]["labelled"] == 1
    # It may not read or delete, not even its own uploads
    for call in (uploader.get_object, uploader.head_object, uploader.delete_object, uploader.get_object_tagging):
        assert refused(call, Bucket=ingest, Key=frame), call.__name__
    version = pipeline.cloud.client("s3").head_object(Bucket=ingest, Key=frame)["VersionId"]
    assert refused(uploader.delete_object, Bucket=ingest, Key=frame, VersionId=version)
    # It lists drives, and goes on with uploads in parts or ends them
    listed = uploader.list_objects_v2(Bucket=ingest, Prefix="drives/uploader/")["Contents"]
    assert [thing["Key"] for thing in listed] == ["drives/uploader/drive.json", frame]
    assert refused(uploader.list_objects_v2, Bucket=ingest)
    part = {"Bucket": ingest, "Key": "drives/uploader/logs/a.mcap"}
    part["UploadId"] = uploader.create_multipart_upload(**part)["UploadId"]
    uploader.upload_part(**part, PartNumber=1, Body=b"x")
    assert len(uploader.list_parts(**part)["Parts"]) == 1
    found = uploader.list_multipart_uploads(Bucket=ingest, Prefix="drives/uploader/")["Uploads"]
    assert [one["UploadId"] for one in found] == [part["UploadId"]]
    uploader.abort_multipart_upload(**part)
    # It may not write anywhere else
    assert refused(uploader.put_object, Bucket=ingest, Key="elsewhere.png", Body=b"x")
    assert refused(uploader.put_object, Bucket=labels, Key="drives/uploader/x.png", Body=b"x")
    assert refused(uploader.copy_object, Bucket=ingest, Key=frame, CopySource=f"{labels}/{frame}")
    assert pipeline.stack.ingest.read(frame) == image()


def test_a_stranger_may_not_send_messages_or_answers(pipeline: Pipeline, stranger: dict[str, Any]) -> None:
    sns, sqs = client(pipeline, "sns", stranger), client(pipeline, "sqs", stranger)
    outputs = pipeline.stack.outputs
    # Its own policy lets it publish
    topic = pipeline.cloud.client("sns").create_topic(Name="elsewhere")["TopicArn"]
    assert sns.publish(TopicArn=topic, Message="{}")["MessageId"]
    for topic in (outputs["SuccessTopicArn"], outputs["ErrorTopicArn"]):
        assert refused(sns.publish, TopicArn=topic, Message="{}")
    for queue in ("SubmitQueueUrl", "SubmitDeadLettersUrl", "CollectDeadLettersUrl"):
        assert refused(sqs.send_message, QueueUrl=outputs[queue], MessageBody="{}")
