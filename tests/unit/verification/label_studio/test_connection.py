"""Reading the secret that describes the connection to Label Studio."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autolabel.contracts.errors import VerificationRefused
from autolabel.verification.label_studio.connection import S3Storage, read_connection

GOOD = {"url": "https://labels.example/studio", "token": "t0ken", "webhook_secret": "a secret of webhooks"}


def test_a_secret_needs_only_url_token_and_webhook_secret() -> None:
    connection = read_connection(json.dumps(GOOD), "autolabel/label-studio")
    assert (connection.url, connection.images, connection.storage) == (GOOD["url"], "presigned", S3Storage())


def test_a_secret_may_have_storage_settings_for_label_studio() -> None:
    storage = {"region_name": "eu-central-1", "presign": False}
    connection = read_connection(json.dumps(GOOD | {"images": "storage", "storage": storage}), "s")
    assert connection.storage == S3Storage(region_name="eu-central-1", presign=False)


@pytest.mark.parametrize("url", ["http://localhost:8080", "http://127.0.0.1:8080/", "http://[::1]:8080"])
def test_http_is_only_for_this_machine(url: str) -> None:
    assert read_connection(json.dumps(GOOD | {"url": url}), "s").url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://labels.example",
        "http://localhost.example",
        "http://10.0.0.1",
        "http://2130706433",
        "ftp://labels.example",
        "labels.example",
        "https://",
        "https://user@labels.example",
        "https://labels.example:99999",
        "https://labels.example?x=1",
        "https://[labels.example",
        "",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(VerificationRefused, match="url in the secret autolabel/ls must be https"):
        read_connection(json.dumps(GOOD | {"url": url}), "autolabel/ls")


@pytest.mark.parametrize(
    "change",
    [{"token": None}, {"token": " "}, {"token": "a\nb"}, {"webhook_secret": "short"}, {"images": "x"}, {"tokn": "y"}],
)
def test_a_refusal_of_a_wrong_secret_does_not_contain_its_values(change: dict[str, Any]) -> None:
    value = GOOD | {"token": "T0PSECRET", "webhook_secret": "S3CRET of webhooks"} | change
    with pytest.raises(VerificationRefused, match="secret s ") as refused:
        read_connection(json.dumps(value), "s")
    assert "T0PSECRET" not in str(refused.value)
    assert "S3CRET" not in str(refused.value)


@pytest.mark.parametrize("body", ["", "t0ken", "[]", b"\xff", '"' + "x" * 50])
def test_a_secret_that_is_not_json_is_refused(body: str | bytes) -> None:
    with pytest.raises(VerificationRefused, match="must be JSON with url, token and webhook_secret"):
        read_connection(body, "s")


def test_the_repr_of_a_connection_contains_no_secrets() -> None:
    storage = {"aws_secret_access_key": "K3Y", "aws_session_token": "SESS10N"}
    connection = read_connection(json.dumps(GOOD | {"storage": storage}), "s")
    for shown in (repr(connection), f"{connection}", repr(connection.storage)):
        assert not any(secret in shown for secret in ("t0ken", "webhooks", "K3Y", "SESS10N"))
