"""Where ministack asks the policies otherwise than AWS does. In force only where IAM is enforced."""

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
    """Ask for the permissions that AWS asks for."""
    symbols.wrap(
        "core.iam_actions",
        "extract_iam_action",
        lambda original: lambda *request: _single_action(original(*request)),
        parameters=("service", "method", "path", "headers", "body", "query_params"),
    )
    handlers = symbols.find("app", "SERVICE_HANDLERS")
    handlers["s3"] = guard_missing_objects(handlers["s3"])


def guard_sagemaker(handle: Handler) -> Handler:
    """`handle`, but for callers only who have the permissions that SageMaker asks for."""

    async def guarded(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Response:
        for needed in required_permissions(path, headers, body):
            refused = refusal("sagemaker", needed.action, needed.resource, headers, query, needed.context)
            if refused:
                return refused
        return await handle(method, path, headers, body, query)

    return guarded


def guard_missing_objects(handle: Handler) -> Handler:
    """S3, but only those hear that an object is missing who may list its bucket.

    To others it is as forbidden as one that exists (S3 API Reference, GetObject and HeadObject, "Permissions").
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
    """The service's answer to a caller whom the policies refuse an action; None for those whom they allow it."""
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
    """Batches of messages need the permission of one message (Service Authorization Reference, SQS and SNS)."""
    batch = _BATCH.fullmatch(action or "")
    return batch[1] if batch else action
