"""The permissions of the uploader's role and of strangers.

The fixture `pipeline` checks the permissions of the stack's own parts, for all end-to-end tests together.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.e2e.pipeline import START, WANTED_REFUSALS, Pipeline, image
from tests.e2e.terminal import allowing

pytestmark = pytest.mark.cloud


def user(pipeline: Pipeline, name: str, **tags: str) -> Any:
    """STS as a new user of the account who may assume the uploader's role and give the session tags."""
    iam, role = pipeline.cloud.client("iam"), pipeline.stack.outputs["UploaderRoleArn"]
    allow = {"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"], "Resource": role}
    iam.create_user(UserName=name, Tags=_tags(tags))
    iam.put_user_policy(
        UserName=name,
        PolicyName="upload",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}),
    )
    return pipeline.client_with("sts", iam.create_access_key(UserName=name)["AccessKey"])


def uploads(pipeline: Pipeline, sts: Any, **tags: str) -> Any:
    """S3 with the rights of a session of the uploader's role that has these tags."""
    role = pipeline.stack.outputs["UploaderRoleArn"]
    keys = sts.assume_role(RoleArn=role, RoleSessionName=WANTED_REFUSALS, Tags=_tags(tags))["Credentials"]
    return pipeline.client_with("s3", keys)


def _tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


@pytest.fixture(scope="module")
def fleet(pipeline: Pipeline) -> Any:
    return user(pipeline, "fleet")


@pytest.fixture
def uploader(pipeline: Pipeline, fleet: Any) -> Any:
    """S3 with the rights of a fleet's uploader."""
    return uploads(pipeline, fleet)


def stranger(pipeline: Pipeline, name: str, *actions: str) -> dict[str, Any]:
    """Keys of a new user of the account who may do these on everything."""
    iam, name = pipeline.cloud.client("iam"), f"{WANTED_REFUSALS}-{name}"
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=allowing(*actions))
    keys: dict[str, Any] = iam.create_access_key(UserName=name)["AccessKey"]
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


def test_an_uploader_with_a_vehicle_has_only_the_drives_of_that_vehicle(pipeline: Pipeline, fleet: Any) -> None:
    bucket, s3 = pipeline.stack.outputs["IngestBucketName"], uploads(pipeline, fleet, vehicle="golf-7")
    s3.put_object(Bucket=bucket, Key=f"drives/golf-7_a/front/{START}.png", Body=image())
    s3.put_object(Bucket=bucket, Key="drives/golf-7_a/drive.json", Body=b'{"vehicle": "t", "cameras": {"front": {}}}')
    assert pipeline.succeed("golf-7_a")["frames"]["labelled"] == 1
    assert s3.list_objects_v2(Bucket=bucket, Prefix="drives/golf-7_a/")["KeyCount"] == 2
    part = {"Bucket": bucket, "Key": "drives/golf-7_a/logs/a.mcap"}
    part["UploadId"] = s3.create_multipart_upload(**part)["UploadId"]
    assert s3.list_parts(**part)["IsTruncated"] is False
    s3.abort_multipart_upload(**part)
    for drive in ("golf-77_a", "golf-7-a", "golf-8_a", "golf-7", "uploader"):
        assert refused(s3.put_object, Bucket=bucket, Key=f"drives/{drive}/front/{START}.png", Body=b"x"), drive
        assert refused(s3.create_multipart_upload, Bucket=bucket, Key=f"drives/{drive}/logs/a.mcap"), drive
        assert refused(s3.list_objects_v2, Bucket=bucket, Prefix=f"drives/{drive}/"), drive
    assert refused(s3.list_objects_v2, Bucket=bucket, Prefix="drives/")


def test_a_vehicle_cannot_pass_for_another(pipeline: Pipeline, fleet: Any) -> None:
    # A name that others could begin with, or a path into the drive of others
    for name in ("golf_7", "golf/7", ""):
        assert refused(uploads, pipeline=pipeline, sts=fleet, vehicle=name), name
    # Who has the tag passes on its own
    vehicle = user(pipeline, "golf-9", vehicle="golf-9")
    assert refused(uploads, pipeline=pipeline, sts=vehicle, vehicle="golf-7")
    assert refused(uploads, pipeline=pipeline, sts=vehicle)
    bucket = pipeline.stack.outputs["IngestBucketName"]
    own = uploads(pipeline, vehicle, vehicle="golf-9")
    assert own.list_objects_v2(Bucket=bucket, Prefix="drives/golf-9_a/")["KeyCount"] == 0


def test_a_key_refuses_a_stranger_who_may_read_the_bucket(pipeline: Pipeline) -> None:
    frame, bucket = "drives/strange/front/1.png", pipeline.stack.outputs["IngestBucketName"]
    pipeline.stack.ingest.write(frame, image())
    without = pipeline.client_with("s3", stranger(pipeline, "without-key", "s3:GetObject"))
    assert refused(without.get_object, Bucket=bucket, Key=frame)
    having = pipeline.client_with("s3", stranger(pipeline, "with-key", "s3:GetObject", "kms:Decrypt"))
    assert having.get_object(Bucket=bucket, Key=frame)["Body"].read() == image()


def test_a_stranger_may_not_send_messages_or_answers(pipeline: Pipeline) -> None:
    # Who may publish to all topics that do not deny it, and may send to no queue
    keys = stranger(pipeline, "publisher", "sns:Publish", "kms:Decrypt", "kms:GenerateDataKey")
    sns, sqs = pipeline.client_with("sns", keys), pipeline.client_with("sqs", keys)
    outputs = pipeline.stack.outputs
    # Its own policy lets it publish
    topic = pipeline.cloud.client("sns").create_topic(Name="elsewhere")["TopicArn"]
    assert sns.publish(TopicArn=topic, Message="{}")["MessageId"]
    for topic in (outputs["SuccessTopicArn"], outputs["ErrorTopicArn"]):
        assert refused(sns.publish, TopicArn=topic, Message="{}")
    for queue in ("SubmitQueueUrl", "SubmitDeadLettersUrl", "CollectDeadLettersUrl"):
        assert refused(sqs.send_message, QueueUrl=outputs[queue], MessageBody="{}")
