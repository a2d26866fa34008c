"""Turns what boto3 answers and raises into what a state sees."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.response import StreamingBody

from local.cloud.stepfunctions.errors import StateError


def ask(prefix: str, call: Callable[[], Any]) -> Any:
    """Make an API call; its errors become `<prefix>.<Code>Exception`, requests that cannot be made States.Runtime."""
    try:
        return plain(call())
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        raise StateError(error_name(prefix, code), str(error.response["Error"].get("Message", error))) from error
    except BotoCoreError as error:
        raise StateError("States.Runtime", str(error)) from error


def error_name(prefix: str, code: str) -> str:
    """The name by which Retry and Catch know a service's error."""
    return f"{prefix}.{code}" if code.endswith("Exception") else f"{prefix}.{code}Exception"


def plain(value: Any) -> Any:
    """An API answer as JSON data: times as ISO 8601, bodies as text, boto3's own metadata dropped."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key != "ResponseMetadata"}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, StreamingBody):
        value = value.read()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise StateError("States.Runtime", f"the answer is not UTF-8 text: {error}") from error
    return value
