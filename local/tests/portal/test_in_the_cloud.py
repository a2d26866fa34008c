"""The portal of an embedded cloud, with S3 and IAM behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.cloud.launcher import EmbeddedCloud
from local.settings import PEOPLE, CloudSettings
from local.tests.portal.browser import Browser, attribute
from local.tests.sagemaker.jobs import TEMPLATE, job_request, manifest_line
from local.tests.sagemaker.sequences import CAR, place_sequences, seq_label, sequence_line, tracking_request
from local.tests.sagemaker.stand_in import eventually

pytestmark = pytest.mark.cloud

STATEMENTS = [
    {"Effect": "Allow", "Action": "s3:GetObject", "Resource": ["arn:aws:s3:::drives/*", "arn:aws:s3:::labels/*"]},
    {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"},
    {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::labels/gt/*"},
]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(tmp_path, settings=CloudSettings(annotator=PEOPLE, enforce_iam=True)) as cloud:
        yield cloud


def _prepare(cloud: EmbeddedCloud, *methods: str) -> str:
    """Make the buckets, on which browsers may use these methods, and the job's role; return its ARN."""
    s3, iam = cloud.client("s3"), cloud.client("iam")
    for bucket in ("drives", "labels"):
        s3.create_bucket(Bucket=bucket)
        rule = {"AllowedMethods": [*methods], "AllowedOrigins": ["*"]}
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    policy = json.dumps({"Version": "2012-10-17", "Statement": STATEMENTS})
    role = iam.create_role(RoleName="labelling", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    iam.put_role_policy(RoleName="labelling", PolicyName="label", PolicyDocument=policy)
    return role


def _start_job(cloud: EmbeddedCloud, name: str, lines: list[dict[str, Any]]) -> None:
    s3, role = cloud.client("s3"), _prepare(cloud, "GET")
    categories = {"document-version": "2018-11-28", "labels": [{"label": "person"}, {"label": "car"}]}
    manifest = "\n".join(json.dumps(line) for line in lines)
    for key, body in (
        ("categories.json", json.dumps(categories)),
        ("template.liquid", TEMPLATE),
        ("in.manifest", manifest),
    ):
        s3.put_object(Bucket="labels", Key=key, Body=body.encode())
    for line in lines:
        s3.put_object(Bucket="drives", Key=line["source-ref"].rpartition("/")[2], Body=b"png", ContentType="image/png")
    cloud.client("sagemaker").create_labeling_job(**job_request(RoleArn=role, LabelingJobName=name))


def test_reviewers_read_and_answer_with_the_rights_of_the_jobs_role(cloud: EmbeddedCloud) -> None:
    _start_job(cloud, "Drive-1", [manifest_line(0), manifest_line(1)])
    browser = Browser(cloud.portal_url)
    task = eventually(browser.next_task)
    image = browser.get(attribute(browser.get(task).text, "src"))
    assert (image.status, image.body) == (200, b"png")
    following = browser.submit(task, ("car", 1, 2, 3, 4)).document["next"]
    assert browser.submit(following, ("car", 10, 20, 30, 40)).document == {"next": None}
    sagemaker, s3 = cloud.client("sagemaker"), cloud.client("s3")
    team = sagemaker.describe_workteam(WorkteamName="autolabel")["Workteam"]
    assert f"{team['SubDomain']}/" == cloud.portal_url
    eventually(lambda: sagemaker.describe_labeling_job(LabelingJobName="Drive-1")["LabelingJobStatus"] == "Completed")
    output = s3.get_object(Bucket="labels", Key="gt/Drive-1/manifests/output/output.manifest")["Body"].read()
    metadata = [json.loads(line)["verified-metadata"] for line in output.splitlines()]
    assert [entry["adjustment-status"] for entry in metadata] == ["adjusted", "unadjusted"]
    prefix = "gt/Drive-1/annotations/worker-response/iteration-1/"
    assert len(s3.list_objects_v2(Bucket="labels", Prefix=prefix)["Contents"]) == 2


def test_reviewers_correct_a_strip_with_the_rights_of_the_jobs_role(cloud: EmbeddedCloud) -> None:
    s3, role = cloud.client("s3"), _prepare(cloud, "GET", "HEAD", "PUT")

    def put(uri: str, body: bytes) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        s3.put_object(Bucket=bucket, Key=key, Body=body)

    place_sequences(put, sequence_line())
    cloud.client("sagemaker").create_labeling_job(**tracking_request(RoleArn=role))
    browser = Browser(cloud.portal_url)
    task = eventually(browser.next_task)
    given = browser.get(f"{task}/sequence").document
    assert browser.get(given["frames"][0]["image"]).body == b"jpg"
    content = {"tracks": given["tracks"][:1], "inputImageProperties": {"width": 640, "height": 272}}
    assert browser.write("POST", f"{task}/answer", {"answerContent": content}).document == {"next": None}
    sagemaker = cloud.client("sagemaker")
    eventually(lambda: sagemaker.describe_labeling_job(LabelingJobName="Drive-1")["LabelingJobStatus"] == "Completed")
    key = "gt/Drive-1/annotations/consolidated-annotation/output/0/SeqLabel.json"
    assert json.loads(s3.get_object(Bucket="labels", Key=key)["Body"].read()) == seq_label(CAR)


def test_a_cloud_with_open_frames_stops_at_once(cloud: EmbeddedCloud) -> None:
    _start_job(cloud, "Drive-1", [manifest_line(0)])
    browser = Browser(cloud.portal_url)
    assert eventually(browser.next_task)
    cloud.stop()
    with pytest.raises(OSError, match="refused"):
        browser.get("/")
    assert "Traceback" not in cloud.log.read_text()
