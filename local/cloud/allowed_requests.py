"""Record which requests of roles the policies allow, so that a stack can be searched for unused permissions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from local.cloud import symbols

_ASSUMED = ":assumed-role/"


def install_allowed_requests(record: Path) -> None:
    """Append each distinct request of a role that its own policies allow, as a line of JSON with its three parts.

    The parts are "role" (its name), "action" and "resource" (an ARN). What Lambda does in the name of a function's role
    is among them (acts_of_services.py); what other services do without a request of the role is not.
    """
    known: set[tuple[str, str, str]] = set()
    lines = record.open("w", buffering=1)

    def recorded(original: Any) -> Any:
        def evaluate(ctx: Any, policies: Any, *limits: Any) -> Any:
            result = original(ctx, policies, *limits)
            if result.decision == "Allow" and _ASSUMED in ctx.principal_arn:
                role = ctx.principal_arn.split(_ASSUMED)[1].split("/")[0]
                request = (role, ctx.action, ctx.resource_arn)
                if request not in known:
                    known.add(request)
                    lines.write(json.dumps(dict(zip(("role", "action", "resource"), request, strict=True))) + "\n")
            return result

        return evaluate

    symbols.wrap("core.iam_evaluator", "evaluate", recorded, parameters=("ctx", "policies", "limits"))
