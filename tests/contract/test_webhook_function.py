"""The function that takes Label Studio's notifications at its URL."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest

ROOT = Path(__file__).parents[2]
SECRET = {"url": "https://labels.example", "token": "t0ken", "webhook_secret": "a secret of webhooks"}


@pytest.fixture
def function(aws: None, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The function of a stack that knows a Label Studio."""
    monkeypatch.setenv("LABEL_STUDIO_CONNECTION", "autolabel/label-studio")
    boto3.client("secretsmanager").create_secret(Name="autolabel/label-studio", SecretString=json.dumps(SECRET))
    spec = importlib.util.spec_from_file_location("webhook_app", ROOT / "functions" / "webhook" / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # Clients are kept for a process; this account is of this test.
    monkeypatch.setattr(module, "client", boto3.client)
    return module


def handled(function: ModuleType, **changes: Any) -> tuple[int, str]:
    event = json.loads((ROOT / "events" / "webhook.json").read_text()) | changes
    context = SimpleNamespace(
        function_name="webhook", memory_limit_in_mb=256, invoked_function_arn="arn:x", aws_request_id="r"
    )
    answer = function.handler(event, context)
    return answer["statusCode"], answer["body"]


def test_a_genuine_notification_that_a_job_is_done_wakes_its_run(
    function: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(function, "wake", lambda job: woken.append(job) or True)
    assert handled(function) == (200, "woken")
    assert woken == ["drive-7-0a1b2c3d-0001-000"]


def test_what_is_forged_is_refused_and_no_secret_is_told(
    function: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    assert handled(function, rawQueryString="job=another") == (401, "not signed for this job")
    assert handled(function, body="<xml/>") == (400, "no notification of Label Studio")
    logged = json.dumps([vars(record) for record in caplog.records], default=str)
    assert logged.count("a notification was refused") >= 2
    assert not any(secret in logged for secret in ("t0ken", "a secret of webhooks"))
