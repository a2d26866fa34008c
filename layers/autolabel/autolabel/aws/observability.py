"""Logger, tracer and metrics of the functions; their names come from Powertools' own settings."""

from __future__ import annotations

from aws_lambda_powertools import Logger, Metrics, Tracer

# Tracing patches boto3 alone: patching everything imports everything.
logger = Logger()
tracer = Tracer(patch_modules=["boto3"])
metrics = Metrics()
