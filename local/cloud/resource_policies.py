"""Check the receiving queue's or topic's policy for deliveries between services, as AWS does."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from local.cloud import symbols
from local.cloud.key_use import service_may_send
from local.settings import ACCOUNT, REGION

_log = logging.getLogger("embedded-cloud")
_SERVICES = {"sqs": "sqs:SendMessage", "sns": "sns:Publish"}


def install_resource_policies() -> None:
    """Make ministack check the policies: on its own it does so only when it also checks every caller's identity."""
    parameters = ("service", "source_arn", "source_account")
    symbols.replace("services.sqs", "queue_policy_allows", allows, parameters=("queue_arn", *parameters))
    symbols.replace("services.sns", "topic_policy_allows", allows, parameters=("topic_arn", *parameters))
    symbols.wrap(
        "services.eventbridge",
        "_invoke_target",
        lambda deliver: lambda target, event, rule, view=None: _deliver(deliver, target, event, rule, view),
        parameters=("target", "event", "rule", "view"),
    )
    symbols.wrap(
        "core.iam_evaluator",
        "_resolve_condition_key",
        lambda resolve: lambda key, ctx: condition_key(resolve, key, ctx),
        parameters=("key", "ctx"),
    )


def condition_key(resolve: Any, key: str, context: Any) -> Any:
    """Return a condition key's value, where ministack's own differs from AWS."""
    if key.lower() == "aws:principalarn":
        return principal_arn(context.principal_arn)
    if key.lower() == "aws:securetransport":
        # Requests are plain HTTP but never leave the machine, so policies that require TLS are satisfied.
        return "true"
    return resolve(key, context)


def allows(arn: str, service: str, source_arn: str, source_account: str) -> bool:
    """Tell whether the policies of a queue or topic, and of its key, let a service deliver to it for `source_arn`."""
    kind = arn.split(":")[2]
    policy = _policy(kind, arn)
    if not policy:
        return False
    keys = {"aws:sourcearn": source_arn, "aws:sourceaccount": source_account}
    if service != "events.amazonaws.com":
        # EventBridge sends no owner, so a topic's default policy does not admit it.
        keys["aws:sourceowner"] = source_account
    context = symbols.find("core.iam_evaluator", "EvalContext")(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=_SERVICES[kind],
        resource_arn=arn,
        region=REGION,
        service_context=keys,
    )
    verdict = symbols.find("core.iam_evaluator", "evaluate_resource_policy")(policy, context, service=service)
    return bool(verdict.decision == "Allow") and service_may_send(service, _SERVICES[kind], arn)


def principal_arn(caller: str) -> str:
    """Return a caller's aws:PrincipalArn: of a role's session, the role (IAM User Guide, "Global condition keys").

    The session's ARN does not contain the role's path, so the path is taken to be empty.
    """
    session = re.fullmatch(r"arn:aws:sts::(\d{12}):assumed-role/([^/]+)/.+", caller)
    return f"arn:aws:iam::{session[1]}:role/{session[2]}" if session else caller


def _policy(kind: str, arn: str) -> str:
    if kind == "sqs":
        holder = symbols.find("services.sqs", "_queue_by_arn")(arn)
    else:
        holder = symbols.find("services.sns", "_topic_by_arn_any_scope")(arn)
    return str(((holder or {}).get("attributes") or {}).get("Policy") or "")


def _deliver(deliver: Any, target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any) -> None:
    """Deliver an event to a rule's target; an event that the target's policy refuses goes to its dead-letter queue."""
    arn = str(target.get("Arn", ""))
    rule_arn = str(rule.get("Arn") or "")
    if not _is_guarded(arn) or allows(arn, "events.amazonaws.com", rule_arn, ACCOUNT):
        deliver(target, event, rule, view)
        return
    _log.warning("EventBridge: the policy of %s does not let the rule %s deliver to it", arn, rule_arn)
    dead_letters = str((target.get("DeadLetterConfig") or {}).get("Arn", ""))
    if dead_letters and allows(dead_letters, "events.amazonaws.com", rule_arn, ACCOUNT):
        deliver(
            {"Id": target.get("Id"), "Arn": dead_letters, "Input": json.dumps(event, default=str)}, event, rule, view
        )


def _is_guarded(arn: str) -> bool:
    parts = arn.split(":")
    return len(parts) > 5 and parts[2] in _SERVICES and parts[4] == ACCOUNT
