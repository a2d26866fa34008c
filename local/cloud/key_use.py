"""Ask whether callers and services may use the KMS key of what they read, write and send to.

ministack keeps the keys of buckets, queues, tables and secrets, and asks no policy of a key when they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from local.cloud import symbols
from local.settings import ACCOUNT, REGION

_READ, _SEND = ("kms:Decrypt",), ("kms:GenerateDataKey", "kms:Decrypt")
# Developer guides of the services, "key management" and "encryption at rest".
_NEEDED: dict[str, Sequence[str]] = {
    "s3:GetObject": _READ,
    "s3:GetObjectVersion": _READ,
    "s3:PutObject": ("kms:GenerateDataKey",),
    "sqs:SendMessage": _SEND,
    "sqs:ReceiveMessage": _READ,
    "sns:Publish": _SEND,
    **dict.fromkeys((f"dynamodb:{name}Item" for name in ("Get", "Put", "Update", "Delete", "BatchWrite")), _READ),
    "dynamodb:Query": _READ,
    "dynamodb:Scan": _READ,
    "secretsmanager:GetSecretValue": _READ,
}


# `Any` in this module: what ministack's own functions take and return, and condition keys, which may be of any kind.
def install_topic_keys() -> None:
    """Keep the key of a topic that a stack makes, which ministack's resource type ignores."""
    handler = symbols.find("services.cloudformation.provisioners", "_RESOURCE_HANDLERS")["AWS::SNS::Topic"]
    create = handler["create"]

    def with_key(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        created = create(logical_id, properties, stack)
        if key := properties.get("KmsMasterKeyId"):
            symbols.find("services.sns", "_topic_by_arn_any_scope")(created[0])["attributes"]["KmsMasterKeyId"] = key
        return created

    handler["create"] = with_key


def install_key_use() -> None:
    """Refuse a request whose caller may not use the key that it needs."""

    def guard(original: Any) -> Any:
        def enforce(
            access_key_id: str,
            iam_action: str,
            service: str,
            region: str,
            resource_arn: str = "*",
            service_context: dict[str, Any] | None = None,
        ) -> Any:
            denied = original(access_key_id, iam_action, service, region, resource_arn, service_context)
            for action, key, context in () if denied else _uses(iam_action, resource_arn):
                denied = denied or original(access_key_id, action, "kms", region, key, context)
            return denied

        return enforce

    parameters = ("access_key_id", "iam_action", "service", "region", "resource_arn", "service_context")
    symbols.wrap("core.iam_evaluator", "enforce", guard, parameters=parameters)


def service_may_send(service: str, action: str, arn: str) -> bool:
    """Tell whether the policy of a queue's or topic's key lets a service send to it; True without a key."""
    for needed, key, context in _uses(action, arn):
        request = symbols.find("core.iam_evaluator", "EvalContext")(
            principal_arn="*",
            principal_type="Service",
            principal_account="",
            action=needed,
            resource_arn=key,
            region=REGION,
            service_context=context,
        )
        policy, _ = symbols.find("services.kms", "key_policy_for_arn")(key) or ("", "")
        evaluate = symbols.find("core.iam_evaluator", "evaluate_resource_policy")
        if evaluate(policy, request, service=service).decision != "Allow":
            return False
    return True


def uses_of_polling(queue: str) -> list[tuple[str, str, dict[str, Any]]]:
    """List what Lambda needs of a queue's key to poll it: action, key and condition keys."""
    return list(_uses("sqs:ReceiveMessage", queue))


def _uses(action: str, resource: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each use of a key that an action needs: action, key and condition keys. Keys of AWS ask no policy."""
    service = action.partition(":")[0]
    # ministack writes `*` where it does not know the resource.
    key = _key_of(service, resource) if action in _NEEDED and resource.startswith("arn:") else ""
    if not key.startswith("arn:aws:kms:") or ":alias/aws/" in key:
        return
    context = {"kms:viaservice": f"{service}.{REGION}.amazonaws.com", "kms:calleraccount": ACCOUNT}
    if service in ("sqs", "sns"):
        context[f"kms:encryptioncontext:aws:{'sqs:arn' if service == 'sqs' else 'sns:topicarn'}"] = resource
    for needed in _NEEDED[action]:
        yield needed, key, context


def _key_of(service: str, arn: str) -> str:
    name = arn.split(":", 5)[5]
    if service == "s3":
        # The default of the bucket, also for an object that was written before it.
        found = symbols.find("services.s3", "_bucket_default_sse_headers")(name.partition("/")[0])
        return str(found.get("x-amz-server-side-encryption-aws-kms-key-id", ""))
    if service == "dynamodb":
        table = symbols.find("services.dynamodb", "_tables").get(name.split("/")[1]) or {}
        return str((table.get("SSEDescription") or {}).get("KMSMasterKeyArn", ""))
    if service == "secretsmanager":
        secrets = symbols.find("services.secretsmanager", "_secrets")
        return str(next((one.get("KmsKeyId") or "" for one in secrets.values() if one.get("ARN") == arn), ""))
    finder = ("services.sqs", "_queue_by_arn") if service == "sqs" else ("services.sns", "_topic_by_arn_any_scope")
    holder = symbols.find(*finder)(arn) or {}
    return str((holder.get("attributes") or {}).get("KmsMasterKeyId") or "")
