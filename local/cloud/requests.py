"""Read requests to the gateway: their caller, service and operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microburst.core.context import RequestContext
from microburst.detection import detect
from multidict import CIMultiDict

from local.cloud import symbols


def caller_of(headers: Mapping[str, str], query: Mapping[str, Any]) -> str:
    """Return the session name of a caller that acts as a role (a function's, `states` or `SageMaker`), else empty."""
    return session_of(headers, query)[1]


def session_of(headers: Mapping[str, str], query: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of a caller's role and session; both are empty for the account itself."""
    key = symbols.find("core.router", "extract_access_key_id")(headers, query)
    session = symbols.find("services.sts", "_sessions").get(key)
    _, role, name = str(session["Arn"]).rsplit("/", 2) if session else ("", "", "")
    return role, name


def read_request(
    method: str, path: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, Any]
) -> RequestContext:
    """Read service, operation and protocol of a request, in botocore's names."""
    first = {name: value[0] if isinstance(value, list) else value for name, value in query.items()}
    request = detect(CIMultiDict(headers), method, path, first, body)
    if request.service == "sagemaker" and path.startswith("/endpoints/"):
        # The runtime signs as the control plane does.
        request.service, request.operation, request.protocol = "sagemaker-runtime", "InvokeEndpointAsync", "rest-json"
    return request
