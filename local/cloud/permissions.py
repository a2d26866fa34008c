"""Check permissions where ministack checks others than AWS. In force only with enforce_iam."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from local.cloud import symbols
from local.cloud.json_service import Handler, Response
from local.sagemaker.permissions import required_permissions
from local.settings import REGION

_BATCH = re.compile(r"((?:sqs|sns):\w+)Batch")


def install_permissions() -> None:
    """Check the permissions that AWS checks."""
    symbols.wrap(
        "core.iam_actions",
        "extract_iam_action",
        lambda original: lambda *request: _single_action(original(*request)),
        parameters=("service", "method", "path", "headers", "body", "query_params"),
    )
    handlers = symbols.find("app", "SERVICE_HANDLERS")
    handlers["s3"] = guard_missing_objects(handlers["s3"])


def guard_sagemaker(handle: Handler) -> Handler:
    """Wrap `handle`: callers need the permissions that SageMaker requires."""

    async def guarded(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Response:
        for needed in required_permissions(path, headers, body):
            refused = refusal("sagemaker", needed.action, needed.resource, headers, query, needed.context)
            if refused:
                return refused
        return await handle(method, path, headers, body, query)

    return guarded


def guard_missing_objects(handle: Handler) -> Handler:
    """Wrap S3: only callers that may list a bucket learn that an object is missing.

    Others get the same error as for an object that exists (S3 API Reference, GetObject and HeadObject, "Permissions").
    """

    async def guarded(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Response:
        answer = await handle(method, path, headers, body, query)
        bucket, _, key = path.lstrip("/").partition("/")
        if answer[0] != 404 or method not in ("GET", "HEAD") or not key:
            return answer
        refused = refusal("s3", "s3:ListBucket", f"arn:aws:s3:::{bucket}", headers, query, {})
        return refused or answer

    return guarded


def refusal(
    service: str,
    action: str,
    resource: str,
    headers: Mapping[str, str],
    query: Mapping[str, Any],
    context: Mapping[str, str],
) -> Response | None:
    """Return the service's response to a caller whom the policies deny an action; None if they allow it."""
    key = symbols.find("core.router", "extract_access_key_id")(headers, query)
    denied = symbols.find("core.iam_evaluator", "enforce")(
        key, action, service, REGION, resource_arn=resource, service_context=dict(context)
    )
    if denied is None:
        return None
    answer: Response = symbols.find("core.iam_actions", "access_denied_response")(
        service,
        action,
        denied.principal_arn,
        str(uuid.uuid4()),
        headers=headers,
        resource_arn=resource,
        explicit_deny=denied.decision == "Deny",
        resource_policy_arn=denied.resource_policy_arn,
    )
    return answer


def _single_action(action: str | None) -> str | None:
    """Map a batch action to the action whose permission it needs (Service Authorization Reference, SQS, SNS)."""
    batch = _BATCH.fullmatch(action or "")
    return batch[1] if batch else action
