"""AWS by moto, and each port in its two implementations: in memory and on AWS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import boto3
import pytest
from moto import mock_aws

from autolabel.aws.bucket import S3Bucket
from autolabel.aws.ledger import DynamoLedger
from autolabel.contracts.ports import Bucket, Ledger
from tests.fakes.bucket import FakeBucket
from tests.fakes.ledger import FakeLedger
from tools.prove.replay import client
from tools.prove.services import ServiceTape, Table

REGION = "eu-central-1"
# The functions' logger and metrics read these when they are created, which is once in a process.
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "autolabel")
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "autolabel")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give an empty AWS account. No request leaves the machine."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        yield


@cache
def shared_client(service: str) -> Any:
    """Share a client between tests, since creating one takes longer than most tests."""
    return boto3.client(service)


def create_bucket(name: str, client: Any = None) -> Any:
    client = client or boto3.client("s3")
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return client


def create_table(name: str, client: Any = None) -> Any:
    client = client or boto3.client("dynamodb")
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )
    return client


@pytest.fixture(params=["memory", "explored", "explored item by item", "dynamodb"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    if request.param == "memory":
        return FakeLedger()
    if request.param.startswith("explored"):
        # The table over which tests/exploration tries all orders of calls; `explored` has room for all on one page.
        table = ServiceTape(Table(page=100 if request.param == "explored" else 1))
        return DynamoLedger(client(table, "dynamodb"), "ledger")
    request.getfixturevalue("aws")
    return DynamoLedger(create_table("ledger", shared_client("dynamodb")), "ledger")


@pytest.fixture(params=["memory", "s3"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    if request.param == "memory":
        return FakeBucket("things")
    request.getfixturevalue("aws")
    return S3Bucket(create_bucket("things", shared_client("s3")), "things")


@pytest.fixture
def account(aws: None) -> Any:
    """Give a deployed stack without models."""
    # Imported here, since that module imports this one.
    from tests.contract.model_account import Account

    return Account()
