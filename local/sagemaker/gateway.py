"""The ports on the embedded cloud: boto3 against its gateway, and its event bus inside the process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import IO, TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.sagemaker.names import ACCOUNT, REGION, S3Uri
from local.sagemaker.ports import Access, Cloud, PublishError, StorageError, StoredObject

if TYPE_CHECKING:
    from mypy_boto3_iam.client import IAMClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sns.client import SNSClient

# Checksums cost time on loopback for nothing. The pool is large enough for the workers of all endpoints.
_CLIENT = Config(
    connect_timeout=5,
    read_timeout=120,
    max_pool_connections=64,
    retries={"total_max_attempts": 3, "mode": "standard"},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
    s3={"addressing_style": "path"},
)


Credentials = Callable[[str], Mapping[str, str]]
"""Maps a role's ARN to AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN."""


def connect(endpoint_url: str, credentials: Credentials) -> Cloud:
    """Connect the ports to the embedded cloud at `endpoint_url`."""
    session = boto3.Session(
        aws_access_key_id=ACCOUNT,
        aws_secret_access_key="embedded",
        region_name=REGION,
    )
    return Cloud(
        browsers=GatewayBrowsers(session.client("s3", endpoint_url=endpoint_url, config=_CLIENT)),
        events=InProcessEvents(),
        roles=GatewayRoles(session.client("iam", endpoint_url=endpoint_url, config=_CLIENT), endpoint_url, credentials),
    )


class GatewayObjects:
    """S3 through boto3."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def open(self, uri: S3Uri) -> StoredObject:
        try:
            answer = self._client.get_object(Bucket=uri.bucket, Key=uri.key)
        except (ClientError, BotoCoreError) as e:
            raise StorageError(f"{uri}: {e}") from e
        return StoredObject(answer["Body"], answer["ContentLength"], answer.get("ContentType", ""))

    def write(self, uri: S3Uri, body: IO[bytes] | bytes, content_type: str, kms_key: str | None = None) -> None:
        encryption: dict[str, Any] = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
        try:
            self._client.put_object(Bucket=uri.bucket, Key=uri.key, Body=body, ContentType=content_type, **encryption)
        except (ClientError, BotoCoreError) as e:
            raise StorageError(f"{uri}: {e}") from e

    def keys(self, prefix: S3Uri) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.key)
        try:
            for page in pages:
                yield from (listed["Key"] for listed in page.get("Contents", []))
        except (ClientError, BotoCoreError) as e:
            raise StorageError(f"{prefix}: {e}") from e

    def check_exists(self, uri: S3Uri) -> None:
        try:
            self._client.head_object(Bucket=uri.bucket, Key=uri.key)
        except (ClientError, BotoCoreError) as e:
            raise StorageError(f"{uri}: {e}") from e


class GatewayBrowsers:
    """CORS rules through boto3, read as the account: a job's role does not need the permission."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def allowed(self, bucket: str) -> Set[str]:
        try:
            rules = self._client.get_bucket_cors(Bucket=bucket)["CORSRules"]
        except ClientError as e:
            if e.response["Error"]["Code"] == "NoSuchCORSConfiguration":
                return frozenset()
            raise StorageError(f"s3://{bucket}: {e}") from e
        except BotoCoreError as e:
            raise StorageError(f"s3://{bucket}: {e}") from e
        return {method for rule in rules if "*" in rule["AllowedOrigins"] for method in rule["AllowedMethods"]}


class GatewayTopics:
    """SNS through boto3."""

    def __init__(self, client: SNSClient) -> None:
        self._client = client

    def publish(self, topic: str, message: str) -> None:
        try:
            self._client.publish(TopicArn=topic, Message=message)
        except (ClientError, BotoCoreError) as e:
            raise PublishError(f"topic {topic}: {e}") from e


class GatewayRoles:
    """IAM through boto3, and clients that act as a role."""

    def __init__(self, client: IAMClient, endpoint_url: str, credentials: Credentials) -> None:
        self._client = client
        self._endpoint_url = endpoint_url
        self._credentials = credentials
        self._assumed: dict[str, Access] = {}
        self._lock = threading.Lock()

    def exists(self, role_arn: str) -> bool:
        try:
            role = self._client.get_role(RoleName=role_arn.rsplit("/", 1)[-1])["Role"]
        except self._client.exceptions.NoSuchEntityException:
            return False
        return role["Arn"] == role_arn

    def assume(self, role_arn: str) -> Access:
        with self._lock:
            if role_arn not in self._assumed:
                self._assumed[role_arn] = self._connect(self._credentials(role_arn))
            return self._assumed[role_arn]

    def _connect(self, credentials: Mapping[str, str]) -> Access:
        session = boto3.Session(
            aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=credentials["AWS_SESSION_TOKEN"] or None,
            region_name=REGION,
        )
        return Access(
            objects=GatewayObjects(session.client("s3", endpoint_url=self._endpoint_url, config=_CLIENT)),
            topics=GatewayTopics(session.client("sns", endpoint_url=self._endpoint_url, config=_CLIENT)),
        )


class InProcessEvents:
    """The event bus inside the server process: PutEvents refuses sources that begin with `aws.`."""

    def put(self, detail_type: str, detail: Mapping[str, Any], resources: Sequence[str]) -> None:
        from ministack.services.eventbridge import _put_events

        entry = {
            "Source": "aws.sagemaker",
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
            "Resources": list(resources),
        }
        _put_events({"Entries": [entry]}, allow_aws_source=True)
