"""Convert boto3's answers and errors to a state's data and errors."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.response import StreamingBody

from local.cloud.stepfunctions.errors import StateError


def ask(prefix: str, call: Callable[[], Any]) -> Any:
    """Make an API call; its errors become `<prefix>.<Code>Exception`, invalid requests States.Runtime."""
    try:
        return plain(call())
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        raise StateError(error_name(prefix, code), str(error.response["Error"].get("Message", error))) from error
    except BotoCoreError as error:
        raise StateError("States.Runtime", str(error)) from error


def error_name(prefix: str, code: str) -> str:
    """Return the name of a service's error for Retry and Catch."""
    return f"{prefix}.{code}" if code.endswith("Exception") else f"{prefix}.{code}Exception"


def plain(value: Any) -> Any:
    """Convert an API answer to JSON data: times to ISO 8601, bodies to text, without boto3's metadata."""
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
