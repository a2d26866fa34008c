"""The portal's workers: each browser that keeps a cookie is one."""

from __future__ import annotations

import hashlib
import re
import secrets
from http.cookies import CookieError, SimpleCookie

from local.web.exchange import Request

_NAME = "worker"
_TOKEN = re.compile(r"[0-9a-f]{32}")


class Session:
    """The worker of a request; `cookie`: the cookie for a new worker to keep, None for a known one."""

    def __init__(self, request: Request) -> None:
        token = _token_of(request.headers.get("cookie", ""))
        self.cookie: str | None = None
        if token is None:
            token = secrets.token_hex(16)
            self.cookie = f"{_NAME}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000"
        # The worker's name goes into files that others read: it must not reveal the session's token.
        self.worker = hashlib.sha256(token.encode()).hexdigest()[:16]


def _token_of(header: str) -> str | None:
    try:
        morsel = SimpleCookie(header).get(_NAME)
    except CookieError:
        return None
    return morsel.value if morsel and _TOKEN.fullmatch(morsel.value) else None
