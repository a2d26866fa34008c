"""The connection to Label Studio, as its secret describes it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from autolabel.contracts.errors import VerificationRefused

# The least length of an HMAC key that we accept, in characters. A program should generate it.
MIN_WEBHOOK_SECRET = 16


class S3Storage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How Label Studio itself reads the frames. The names are those of its API, POST /api/storages/s3.

    Without keys it uses the credentials of its own environment. `presign`: whether browsers fetch frames from S3, by
    addresses that are valid for `presign_ttl` minutes and made again at each view; otherwise Label Studio passes the
    frames on.
    """

    region_name: str = ""
    s3_endpoint: str = ""
    aws_access_key_id: str = ""
    aws_secret_access_key: str = ""
    aws_session_token: str = ""
    presign: bool = True
    presign_ttl: int = 60

    def __repr__(self) -> str:
        return f"S3Storage(presign={self.presign})"


class Connection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The address of a Label Studio, and an account.

    `token`: a personal access token, or a legacy one. `webhook_secret`: the key that signs notifications. `images`:
    whether tasks contain addresses that autolabel signs, or S3 URIs that Label Studio resolves through `storage`.
    `workspace`: the workspace of the projects, in editions that have workspaces.
    """

    url: str
    token: str
    webhook_secret: str
    images: Literal["presigned", "storage"] = "presigned"
    storage: S3Storage = S3Storage()
    workspace: int | None = None

    def __repr__(self) -> str:
        return f"Connection(url={self.url!r}, images={self.images!r})"


def read_connection(body: bytes | str, secret: str) -> Connection:
    """Read the connection in a secret's value. Raises VerificationRefused with the secret's name and the problem, never
    with its value."""
    try:
        connection = msgspec.json.decode(body, type=Connection)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise VerificationRefused(
            "secret", f"the secret {secret} must be JSON with url, token and webhook_secret: {type(e).__name__}, {e}"
        ) from None
    try:
        url = urlsplit(connection.url)
        allowed = url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.hostname or ""))
        # Reading the port also checks it.
        plain = url.hostname and url.port != 0 and not (url.username or url.password or url.query or url.fragment)
    except ValueError:
        allowed = plain = False
    if not (allowed and plain):
        raise VerificationRefused(
            "url", f"url in the secret {secret} must be https://<host>[:port][/path]; http is only for this machine"
        )
    if not connection.token.isascii() or not connection.token.isprintable() or not connection.token.strip():
        raise VerificationRefused("token", f"token in the secret {secret} is not an access token")
    if len(connection.webhook_secret) < MIN_WEBHOOK_SECRET:
        raise VerificationRefused(
            "webhook-secret", f"webhook_secret in the secret {secret} needs {MIN_WEBHOOK_SECRET} characters or more"
        )
    return connection


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
