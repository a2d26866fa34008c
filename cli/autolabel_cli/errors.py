"""What the command tells a person instead of a traceback."""

from __future__ import annotations

import re
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from autolabel.aws.clients import error_code, error_status
from autolabel.contracts.errors import AutolabelError

# IAM's own words for what a caller lacks; HeadObject has an answer without words.
_LACKING = re.compile(r"not authorized to perform:? ([\w-]+:\w+)")
_S3_PERMISSIONS = {"HeadObject": "s3:GetObject", "GetObject": "s3:GetObject", "ListObjectsV2": "s3:ListBucket"}


class CommandError(click.ClickException):
    """Something that the person at the terminal can mend; the message names the input and what to do."""


class CommandGroup(click.Group):
    """Commands whose failures are told in one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (AutolabelError, BotoCoreError, ClientError) as e:
            raise CommandError(explain(e)) from e


def explain(error: Exception) -> str:
    """What a person needs to know of an error: of a refusal by IAM, the permission that is missing."""
    if not isinstance(error, ClientError):
        return str(error)
    message, operation = error.response.get("Error", {}).get("Message", ""), error.operation_name
    if error_status(error) == 403 or "AccessDenied" in error_code(error):
        found = _LACKING.search(message)
        permission = found[1] if found else _S3_PERMISSIONS.get(operation, operation)
        return f"you may not do this: your identity lacks {permission} (see docs/operators/permissions.md)"
    return f"{operation} failed: {message or error_code(error)}"
