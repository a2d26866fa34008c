"""boto3 clients, made once for each function's environment."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


@cache
def client(service: str, attempts: int = 6) -> Any:
    """The client of a service; `attempts`: how often a call that was throttled or failed is made in all."""
    config = Config(retries={"mode": "standard", "total_max_attempts": attempts}, max_pool_connections=32)
    return boto3.client(service, config=config)


def error_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def error_status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
