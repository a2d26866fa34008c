"""Errors of the command, which print one sentence instead of a traceback."""

from __future__ import annotations

import re
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from autolabel.aws import error_code, error_status
from autolabel.contracts.errors import AutolabelError

# IAM's message names the missing permission. The refusal of HeadObject has no message.
_LACKING = re.compile(r"not authorized to perform:? ([\w-]+:\w+)")
_S3_PERMISSIONS = {"HeadObject": "s3:GetObject", "GetObject": "s3:GetObject", "ListObjectsV2": "s3:ListBucket"}


class CommandError(click.ClickException):
    """Error that the user can fix. The message says what is wrong, with which input, and what to do."""


class CommandGroup(click.Group):
    """Command group that reports each failure as one sentence, and lists its commands in the order of their work."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (AutolabelError, BotoCoreError, ClientError) as e:
            raise CommandError(explain(e)) from e


def explain(error: Exception) -> str:
    """Return an error as one sentence. For a refusal by IAM it names the missing permission."""
    if not isinstance(error, ClientError):
        return str(error)
    message, operation = error.response.get("Error", {}).get("Message", ""), error.operation_name
    if error_status(error) == 403 or "AccessDenied" in error_code(error):
        found = _LACKING.search(message)
        permission = found[1] if found else _S3_PERMISSIONS.get(operation, operation)
        return f"permission denied: your identity lacks {permission} (see docs/operators/permissions.md)"
    return f"{operation} failed: {message or error_code(error)}"
