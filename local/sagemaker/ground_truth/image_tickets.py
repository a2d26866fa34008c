"""Addresses under which workers' browsers may read images, like Ground Truth's pre-signed URLs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets

from local.sagemaker.names import S3Uri

IMAGES = "/images/"
_DIGEST = 16


class ImageTickets:
    """Grants to read single objects for a job. The address holds the object and a seal, so nothing is stored."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def grant(self, job: str, uri: str) -> str:
        """Return the path under which a browser reads an object with the rights of the job."""
        content = json.dumps([job, uri]).encode()
        return IMAGES + base64.urlsafe_b64encode(self._seal(content) + content).decode().rstrip("=")

    def redeem(self, ticket: str) -> tuple[str, S3Uri] | None:
        """Return the job and the object of a granted path's last part; None for anything else."""
        try:
            sealed = base64.b64decode(ticket + "=" * (-len(ticket) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        content = sealed[_DIGEST:]
        if not hmac.compare_digest(sealed[:_DIGEST], self._seal(content)):
            return None
        job, uri = json.loads(content)
        try:
            return job, S3Uri.parse(uri)
        except ValueError:
            return None

    def _seal(self, content: bytes) -> bytes:
        return hmac.digest(self._secret, content, hashlib.sha256)[:_DIGEST]
