"""Reads secrets from Secrets Manager."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from autolabel.aws.clients import error_code, is_passing
from autolabel.contracts.errors import VerificationRefused, VerificationUnavailable

# A rotated secret takes effect within this number of seconds.
KEPT = 60.0


class _SecretsManager(Protocol):
    def get_secret_value(self, *, SecretId: str) -> Any: ...  # noqa: N803  # boto3's name


class Secrets:
    """Keeps the values of secrets, and reads each again after KEPT seconds."""

    def __init__(self, client: _SecretsManager, now: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._now = now
        self._known: dict[str, tuple[float, str]] = {}

    def read(self, secret: str) -> str:
        """Read a secret's text by its name or ARN.

        Raises VerificationRefused or VerificationUnavailable, which name the secret."""
        known = self._known.get(secret)
        if known is None or self._now() - known[0] >= KEPT:
            known = self._known[secret] = (self._now(), self._fetch(secret))
        return known[1]

    def _fetch(self, secret: str) -> str:
        try:
            value = self._client.get_secret_value(SecretId=secret).get("SecretString")
        except (BotoCoreError, ClientError) as e:
            if is_passing(e):
                raise VerificationUnavailable(f"the secret {secret} cannot be read now: {type(e).__name__}") from e
            code = error_code(e) if isinstance(e, ClientError) else type(e).__name__
            raise VerificationRefused(
                "secret", f"the secret {secret} cannot be read ({code}): check that it exists and this role may read it"
            ) from e
        if not isinstance(value, str):
            raise VerificationRefused("secret", f"the secret {secret} has no text: store it as a string, not as binary")
        return value
