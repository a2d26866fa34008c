"""Log each request that a policy denies: a function that swallows AccessDenied would hide it."""

from __future__ import annotations

import logging
from typing import Any

from local.cloud import symbols

_log = logging.getLogger("embedded-cloud")


def install_denial_log() -> None:
    """Log every request that a policy does not allow."""

    def logged(original: Any) -> Any:
        def respond(service: str, iam_action: str, principal_arn: str, *rest: Any, **more: Any) -> Any:
            _log.warning("denied: %s by %s on %s", iam_action, principal_arn, more.get("resource_arn", "?"))
            return original(service, iam_action, principal_arn, *rest, **more)

        return respond

    original = symbols.find("core.iam_actions", "access_denied_response")
    symbols.replace("core.iam_actions", "access_denied_response", logged(original))
