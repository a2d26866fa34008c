"""The page of a real Label Studio shows frames by signed addresses, or through a connected storage."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Iterator
from urllib.parse import urljoin

import boto3
import msgspec
import pytest
from botocore.config import Config

from autolabel.aws.presigned_images import PresignedImages
from autolabel.contracts.errors import VerificationRefused
from autolabel.verification.label_studio.client import LabelStudioClient
from autolabel.verification.label_studio.connection import Connection, S3Storage
from autolabel.verification.label_studio.projects import StorageImages, renew_images
from local import ACCOUNT, REGION, EmbeddedCloud
from tests.fakes.lines import line
from tests.label_studio.jobs import CAR, opened
from tests.label_studio.people import People
from tests.label_studio.server import TOKEN

LINES = [line(i, [CAR]) for i in range(3)]
FRAME = b"\x89PNG of the first frame"
# The embedded cloud's own keys, by which it checks signatures.
KEYS = {"aws_access_key_id": ACCOUNT, "aws_secret_access_key": "embedded", "region_name": REGION}


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of an S3 that has the first frame of LINES."""
    with EmbeddedCloud(tmp_path_factory.mktemp("cloud")) as cloud:
        client = boto3.client("s3", endpoint_url=cloud.endpoint_url, **KEYS)
        client.create_bucket(Bucket="ingest")
        client.put_object(Bucket="ingest", Key=f"drives/d/front/{0:019d}.png", Body=FRAME)
        yield cloud.endpoint_url


def fetched(url: str) -> bytes:
    """Fetch an address as a signed-in browser does."""
    # The token goes only to Label Studio, like a cookie, not to the address of a redirect.
    request = urllib.request.Request(url)
    request.add_unredirected_header("Authorization", f"Token {TOKEN}")
    with urllib.request.urlopen(request, timeout=30) as response:
        body: bytes = response.read()
    return body


@pytest.mark.parametrize("presign", [True, False])
def test_a_connected_storage_shows_frames(connection: Connection, people: People, s3: str, presign: bool) -> None:
    storage = S3Storage(s3_endpoint=s3, presign=presign, **KEYS)
    client = LabelStudioClient(msgspec.structs.replace(connection, images="storage", storage=storage), "ls")
    name = f"storage-{presign}"
    reference = opened(name, LINES, client, images=StorageImages())
    assert opened(name, LINES, client, images=StorageImages()) == reference
    assert [one.bucket for one in client.storages(reference.project)] == ["ingest"]
    first = people.tasks(reference.project)[0]
    assert first["data"]["image"] == first["data"]["source-ref"] == f"s3://ingest/drives/d/front/{0:019d}.png"
    # The request of the page, and the address that it gets.
    task = people.call("GET", f"/api/tasks/{first['id']}/")
    where = base64.urlsafe_b64encode(first["data"]["image"].encode()).decode()
    assert task["data"]["image"].endswith(f"/tasks/{first['id']}/resolve/?fileuri={where}")
    assert fetched(urljoin(connection.url, task["data"]["image"])) == FRAME


def test_an_unreachable_bucket_is_refused_when_the_job_opens(connection: Connection, s3: str, name: str) -> None:
    storage = S3Storage(s3_endpoint=s3, **KEYS)
    client = LabelStudioClient(msgspec.structs.replace(connection, images="storage", storage=storage), "ls")
    body = LINES[0].replace(b"s3://ingest/", b"s3://nowhere/")
    with pytest.raises(VerificationRefused, match="cannot reach the bucket nowhere"):
        opened(name, [body], client, images=StorageImages())


def test_signed_addresses_show_frames_and_are_renewed(
    client: LabelStudioClient, people: People, s3: str, name: str
) -> None:
    signing = boto3.client("s3", endpoint_url=s3, config=Config(signature_version="s3v4"), **KEYS)
    reference = opened(name, LINES, client, images=PresignedImages(signing, lifetime=60))
    first, second, third = people.tasks(reference.project)
    assert fetched(first["data"]["image"]) == FRAME
    people.accept(first)
    assert renew_images(reference, client, PresignedImages(signing, lifetime=600), limit=1) == 1
    after = people.tasks(reference.project)
    assert [
        task["data"]["image"] == was["data"]["image"] for task, was in zip(after, (first, second, third), strict=True)
    ] == [
        True,
        False,
        True,
    ]
    assert after[1]["data"] == second["data"] | {"image": after[1]["data"]["image"]}
    assert (len(after[0]["annotations"]), len(after[1]["predictions"])) == (1, 1)
