"""S3: the behaviour that uploads and listings rely on, and S3's refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.tests.conformance.workbench import Workbench, unique

MIB = 1024 * 1024


def code(refused: pytest.ExceptionInfo[ClientError]) -> str:
    return str(refused.value.response["Error"]["Code"])


def test_a_range_returns_only_its_bytes(bench: Workbench) -> None:
    bucket = bench.bucket()
    bench.s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789", ContentType="image/png")
    answer = bench.s3.get_object(Bucket=bucket, Key="k", Range="bytes=2-4")
    assert (answer["Body"].read(), answer["ContentRange"], answer["ContentLength"]) == (b"234", "bytes 2-4/10", 3)
    assert bench.s3.get_object(Bucket=bucket, Key="k", Range="bytes=8-99")["Body"].read() == b"89"
    with pytest.raises(ClientError) as refused:
        bench.s3.get_object(Bucket=bucket, Key="k", Range="bytes=10-")
    assert code(refused) == "InvalidRange"


def test_an_empty_object_is_an_object(bench: Workbench) -> None:
    bucket = bench.bucket()
    bench.s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert bench.s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == 0


def test_a_put_can_require_absence_or_an_etag(bench: Workbench) -> None:
    bucket = bench.bucket()
    first = bench.s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as refused:
        bench.s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
    assert code(refused) == "PreconditionFailed"
    bench.s3.put_object(Bucket=bucket, Key="k", Body=b"3", IfMatch=first["ETag"])
    with pytest.raises(ClientError) as stale:
        bench.s3.put_object(Bucket=bucket, Key="k", Body=b"4", IfMatch=first["ETag"])
    assert code(stale) == "PreconditionFailed"
    assert bench.s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"3"


def test_get_and_head_report_a_missing_object(bench: Workbench) -> None:
    bucket = bench.bucket()
    with pytest.raises(ClientError) as missing:
        bench.s3.get_object(Bucket=bucket, Key="k")
    assert code(missing) == "NoSuchKey"
    with pytest.raises(ClientError) as head:
        bench.s3.head_object(Bucket=bucket, Key="k")
    assert head.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_keys_are_listed_in_the_order_of_their_bytes_page_by_page(bench: Workbench) -> None:
    bucket = bench.bucket()
    # In code points of UTF-16 the emoji would come before U+FF5E.
    keys = ["A", "a", "a/1", "a/10", "a/2", "~", "é", "～", "😀"]
    for key in reversed(keys):
        bench.s3.put_object(Bucket=bucket, Key=key, Body=b"")
    pages = bench.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    listed = [[entry["Key"] for entry in page["Contents"]] for page in pages]
    assert [key for page in listed for key in page] == keys
    assert max(len(page) for page in listed) == 2
    after = bench.s3.list_objects_v2(Bucket=bucket, StartAfter="a/10", Prefix="a/")
    assert [entry["Key"] for entry in after["Contents"]] == ["a/2"]
    grouped = bench.s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [entry["Prefix"] for entry in grouped["CommonPrefixes"]] == ["a/"]


def test_an_object_can_consist_of_uploaded_and_copied_parts(bench: Workbench) -> None:
    bucket = bench.bucket()
    big = bytes(range(256)) * (6 * MIB // 256)
    bench.s3.put_object(Bucket=bucket, Key="big", Body=big)
    upload = {"Bucket": bucket, "Key": "whole"}
    upload["UploadId"] = bench.s3.create_multipart_upload(**upload)["UploadId"]
    source = {"Bucket": bucket, "Key": "big"}
    first = bench.s3.upload_part_copy(**upload, PartNumber=1, CopySource=source)["CopyPartResult"]["ETag"]
    ranged = bench.s3.upload_part_copy(**upload, PartNumber=2, CopySource=source, CopySourceRange=f"bytes=1-{5 * MIB}")
    second = ranged["CopyPartResult"]["ETag"]
    third = bench.s3.upload_part(**upload, PartNumber=3, Body=b"end")["ETag"]
    parts = [{"PartNumber": n, "ETag": tag} for n, tag in enumerate((first, second, third), 1)]
    done = bench.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert done["ETag"].strip('"').endswith("-3")
    assert bench.s3.get_object(Bucket=bucket, Key="whole")["Body"].read() == big + big[1 : 5 * MIB + 1] + b"end"


def test_a_part_below_5_mib_is_refused_unless_it_is_the_last(bench: Workbench) -> None:
    bucket = bench.bucket()
    upload = {"Bucket": bucket, "Key": "whole"}
    upload["UploadId"] = bench.s3.create_multipart_upload(**upload)["UploadId"]
    tags = [bench.s3.upload_part(**upload, PartNumber=n, Body=b"small")["ETag"] for n in (1, 2)]
    parts = [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]
    with pytest.raises(ClientError) as refused:
        bench.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert code(refused) == "EntityTooSmall"


def notification(arn: str, prefix: str = "", suffix: str = "", event: str = "s3:ObjectCreated:*") -> dict[str, Any]:
    rules = [{"Name": "prefix", "Value": prefix}, {"Name": "suffix", "Value": suffix}]
    return {
        "Id": unique("n"),
        "QueueArn": arn,
        "Events": [event],
        "Filter": {"Key": {"FilterRules": [rule for rule in rules if rule["Value"]]}},
    }


@pytest.mark.parametrize(
    ("one", "other", "accepted"),
    [
        ({"prefix": "a/"}, {"prefix": "a/b/"}, False),
        ({"prefix": "a/"}, {"suffix": ".json"}, False),
        ({"prefix": "a/"}, {"prefix": "b/"}, True),
        ({"suffix": ".png"}, {"suffix": ".json"}, True),
        ({"prefix": "a/", "suffix": ".png"}, {"prefix": "a/", "suffix": ".json"}, True),
        ({"event": "s3:ObjectCreated:Put"}, {"event": "s3:ObjectCreated:*"}, False),
        ({"event": "s3:ObjectCreated:Put"}, {"event": "s3:ObjectRemoved:*"}, True),
    ],
)
def test_notifications_must_not_overlap(
    bench: Workbench, one: dict[str, str], other: dict[str, str], accepted: bool
) -> None:
    bucket = bench.bucket()
    _, arn = bench.open_queue("s3.amazonaws.com")
    request = {
        "Bucket": bucket,
        "NotificationConfiguration": {"QueueConfigurations": [notification(arn, **one), notification(arn, **other)]},
    }
    if accepted:
        bench.s3.put_bucket_notification_configuration(**request)
    else:
        with pytest.raises(ClientError, match="overlap") as refused:
            bench.s3.put_bucket_notification_configuration(**request)
        assert code(refused) == "InvalidArgument"


def test_a_queue_must_let_the_bucket_send(bench: Workbench) -> None:
    bucket = bench.bucket()

    def attempt(arn: str) -> None:
        bench.s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [notification(arn)]}
        )

    for _, arn in (bench.queue(), bench.open_queue("s3.amazonaws.com", "arn:aws:s3:::another-bucket")):
        with pytest.raises(ClientError, match="Unable to validate"):
            attempt(arn)
    attempt(bench.open_queue("s3.amazonaws.com", f"arn:aws:s3:::{bucket}")[1])


def test_an_upload_event_has_an_encoded_key_and_the_objects_identity(bench: Workbench) -> None:
    bucket = bench.bucket()
    bench.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    url, arn = bench.open_queue("s3.amazonaws.com")
    bench.s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [notification(arn)]}
    )
    test = bench.receive(url)[0]
    assert json.loads(test["Body"])["Event"] == "s3:TestEvent"
    bench.sqs.delete_message(QueueUrl=url, ReceiptHandle=test["ReceiptHandle"])
    put = bench.s3.put_object(Bucket=bucket, Key="d/red flower+.jpg", Body=b"123")
    [record] = json.loads(bench.receive(url)[0]["Body"])["Records"]
    described = record["s3"]["object"]
    assert described["key"] == "d/red+flower%2B.jpg"
    assert (described["size"], described["eTag"]) == (3, put["ETag"].strip('"'))
    assert described["versionId"] == put["VersionId"]
    assert int(described["sequencer"], 16) > 0
    assert record["eventName"] == "ObjectCreated:Put"


def test_a_later_write_has_a_greater_sequencer(bench: Workbench) -> None:
    bucket = bench.bucket()
    url, arn = bench.open_queue("s3.amazonaws.com")
    bench.s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [notification(arn, prefix="k")]}
    )
    sequencers: dict[int, str] = {}
    for body in (b"1", b"22"):
        bench.s3.put_object(Bucket=bucket, Key="k", Body=body)
    while len(sequencers) < 2:
        for message in bench.receive(url):
            bench.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            for record in json.loads(message["Body"]).get("Records", []):
                sequencers[record["s3"]["object"]["size"]] = record["s3"]["object"]["sequencer"]
    width = max(map(len, sequencers.values()))
    assert sequencers[1].ljust(width, "0") < sequencers[2].ljust(width, "0")
