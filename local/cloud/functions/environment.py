"""The environment variables of a function process: Lambda's and the function's own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESERVED = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)
"""Names that CreateFunction refuses in a function's own variables (Lambda Developer Guide, "configuration-envvars")."""


def own_variables(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that the function's configuration declares."""
    return dict((config.get("Environment") or {}).get("Variables") or {})


def function_environment(
    config: Mapping[str, Any],
    *,
    code: Path,
    layers: Sequence[Path],
    runtime: Path,
    temporary: Path,
    runtime_api: str,
    gateway: str,
    region: str,
    credentials: Mapping[str, str],
) -> dict[str, str]:
    """Build the whole environment of a function process from nothing.

    The launcher's environment stays out: it may contain secrets, and code that depends on it would fail on AWS.
    """
    name = str(config["FunctionName"])
    search = [code, *(layer / "python" for layer in reversed(layers)), runtime]
    log_group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{name}"
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "HOME": "/tmp",  # noqa: S108 - Lambda's own value
        "TMPDIR": str(temporary),
        **own_variables(config),
        **credentials,
        "PYTHONPATH": os.pathsep.join(str(folder) for folder in search),
        "_HANDLER": str(config["Handler"]),
        "LAMBDA_TASK_ROOT": str(code),
        "LAMBDA_RUNTIME_DIR": str(runtime),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{config['Runtime']}",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ENDPOINT_URL": gateway,
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": str(config.get("Version", "$LATEST")),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.get("MemorySize", 128)),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": str(log_group),
        "AWS_LAMBDA_LOG_STREAM_NAME": uuid.uuid4().hex,
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
    }
