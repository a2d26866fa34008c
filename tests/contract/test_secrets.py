"""Secrets are read from Secrets Manager, and kept for a minute."""

from __future__ import annotations

import boto3
import pytest
from botocore.stub import Stubber

from autolabel.aws.secrets import KEPT, Secrets
from autolabel.contracts.errors import VerificationRefused, VerificationUnavailable

pytestmark = pytest.mark.usefixtures("aws")


def test_a_rotated_secret_takes_effect_within_a_minute() -> None:
    client = boto3.client("secretsmanager")
    arn = client.create_secret(Name="ls", SecretString="one")["ARN"]
    now = 100.0
    secrets = Secrets(client, lambda: now)
    assert (secrets.read("ls"), secrets.read(arn)) == ("one", "one")
    client.put_secret_value(SecretId="ls", SecretString="two")
    now += KEPT - 1
    assert secrets.read("ls") == "one"
    now += 1
    assert secrets.read("ls") == "two"


def test_a_missing_or_binary_secret_is_refused_by_name() -> None:
    client = boto3.client("secretsmanager")
    client.create_secret(Name="bytes", SecretBinary=b"one")
    with pytest.raises(VerificationRefused, match=r"secret ls cannot be read \(ResourceNotFoundException\)"):
        Secrets(client).read("ls")
    with pytest.raises(VerificationRefused, match="secret bytes has no text"):
        Secrets(client).read("bytes")


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDeniedException", 400, VerificationRefused),
        ("ThrottlingException", 400, VerificationUnavailable),
        ("InternalServiceError", 500, VerificationUnavailable),
    ],
)
def test_temporary_errors_of_a_secret_differ_from_permanent_ones(
    code: str, status: int, error: type[Exception]
) -> None:
    client = boto3.client("secretsmanager")
    with Stubber(client) as stubber:
        stubber.add_client_error("get_secret_value", code, http_status_code=status)
        with pytest.raises(error, match="the secret ls cannot be read"):
            Secrets(client).read("ls")
