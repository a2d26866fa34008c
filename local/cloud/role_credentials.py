"""Make the keys with which an AWS service acts as a role of the account."""

from __future__ import annotations

from local.cloud import symbols
from local.settings import ACCOUNT, REGION


def role_credentials(role_arn: str, session: str) -> dict[str, str]:
    """Return AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of a session of the role.

    `session`: the session's name, after the service that uses it. Without enforce_iam these are the account's own keys.
    ministack makes such keys for functions only, so the service poses as a function.
    """
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{session}"
    credentials = symbols.find("core.lambda_runtime", "execution_credentials")
    return dict(credentials({"FunctionArn": function, "FunctionName": session, "Role": role_arn}))
