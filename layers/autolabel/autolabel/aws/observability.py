"""Makes the functions' logger, tracer and metrics; their names come from Powertools' own settings."""

from __future__ import annotations

from aws_lambda_powertools import Logger, Metrics, Tracer

# The tracer patches only boto3: to patch all libraries, it would import them all.
logger = Logger()
tracer = Tracer(patch_modules=["boto3"])
metrics = Metrics()


def name_drive(drive: str) -> None:
    """Name the drive of a call in its trace and in its further log lines; the handler clears it at the next call."""
    logger.append_keys(drive=drive)
    tracer.put_annotation("drive", drive)
