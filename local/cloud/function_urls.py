"""Function URLs on this machine, open only to callers that the function's policy allows."""

from __future__ import annotations

import json
from typing import Any

from local.cloud import symbols

# ministack serves function URLs here for callers that cannot choose their Host.
_PLACE = "/_aws/lambda-url/"
# Lambda needs both for a URL without authentication (Lambda Developer Guide, "Control access to function URLs").
_NEEDED = (
    ("lambda:InvokeFunctionUrl", {"lambda:functionurlauthtype": "NONE"}),
    ("lambda:InvokeFunction", {"lambda:invokedviafunctionurl": "true"}),
)


def install_function_urls(gateway: str) -> None:
    """Give function URLs an address below the cloud's own, and check their functions' policies."""
    service = "services.lambda_svc"
    symbols.wrap(
        service,
        "_create_function_url_config",
        lambda create: lambda *given: _at(gateway, create, *given),
        parameters=("func_name", "data", "qualifier"),
    )
    symbols.wrap(service, "_function_url_id", lambda original: _url_id, parameters=("function_url",))
    symbols.wrap(
        service,
        "handle_function_url_request",
        _guarded,
        parameters=("url_id", "method", "path", "headers", "body", "query_params", "resolved", "source_ip"),
    )


def _at(gateway: str, create: Any, name: str, data: dict[str, Any], qualifier: str | None) -> Any:
    status, headers, body = create(name, data, qualifier)
    if status != 201:
        return status, headers, body
    key = symbols.find("services.lambda_svc", "_url_config_key")(name, qualifier)
    config = symbols.find("services.lambda_svc", "_function_urls")[key]
    label = config["FunctionUrl"].removeprefix("https://").partition(".")[0]
    config["FunctionUrl"] = f"{gateway}{_PLACE}{label}/"
    return status, headers, json.dumps(config).encode()


def _url_id(function_url: str) -> str:
    return function_url.rstrip("/").rpartition("/")[2]


def _guarded(handle: Any) -> Any:
    async def guarded(url_id: str, *request: Any, resolved: Any = None, source_ip: str | None = None) -> Any:
        found = resolved or symbols.find("services.lambda_svc", "resolve_function_url")(url_id)
        if found is not None and found[4].get("AuthType") == "NONE" and not _is_open(found):
            kind = {"Content-Type": "application/json", "x-amzn-ErrorType": "AccessDeniedException"}
            return 403, kind, b'{"Message":"Forbidden"}'
        return await handle(url_id, *request, resolved=found, source_ip=source_ip)

    return guarded


def _is_open(resolved: Any) -> bool:
    """Tell whether a function's policy lets anyone call it by its URL."""
    account, region, name, qualifier, config = resolved
    policy = symbols.find("services.lambda_svc", "_functions").get_scoped(account, region, name)["policy"]
    evaluate = symbols.find("core.iam_evaluator", "evaluate_resource_policy")
    context = symbols.find("core.iam_evaluator", "EvalContext")
    for action, keys in _NEEDED:
        asked = context(
            principal_arn="*",
            principal_type="Anonymous",
            principal_account="",
            action=action,
            resource_arn=f"{config['FunctionArn']}:{qualifier}" if qualifier else config["FunctionArn"],
            region=region,
            service_context=keys,
        )
        if evaluate(policy, asked).decision != "Allow":
            return False
    return True
