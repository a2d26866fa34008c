"""The reference of import times: imports only what every function needs."""

from __future__ import annotations

from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer

logger = Logger()
# As the functions do: by default, Tracer imports every library that it can patch.
tracer = Tracer(patch_modules=["boto3"])
metrics = Metrics()


def handler(event: dict[str, Any], context: object) -> list[str]:
    return boto3.session.Session().get_available_services()
