"""The reference of import times: what every function has to import, however little it does."""

from __future__ import annotations

from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer

logger = Logger()
# As the functions do: without naming modules, Tracer would import every library that it knows to patch.
tracer = Tracer(patch_modules=["boto3"])
metrics = Metrics()


def handler(event: dict[str, Any], context: object) -> list[str]:
    return boto3.session.Session().get_available_services()
