"""Paths of the gateway that are not AWS's: the launcher asks the server for things there."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable
from typing import Any

from local.cloud import symbols

_SECONDS = 30
# Lets the kept state go on.
RESUME = "/_resume"


def serve_path(path: str, answer: Callable[[str, bytes], Any]) -> None:
    """Serve a path in front of everything else; the gateway listens on loopback only.

    `answer` gets the method and the body, off the event loop; its result is sent as JSON.
    """

    def around(application: Any) -> Any:
        async def serve(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http" or scope["path"] != path:
                await application(scope, receive, send)
                return
            body = b""
            more = True
            while more:
                message = await receive()
                body, more = body + message.get("body", b""), message.get("more_body", False)
            text = json.dumps(await asyncio.to_thread(answer, scope["method"], body)).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": text})

        return serve

    symbols.wrap("app", "app", around, parameters=("scope", "receive", "send"))


def ask_path(url: str, method: str, document: Any = None) -> Any:
    """Ask the gateway's server at `url`; return the decoded answer. Raises OSError when the request fails."""
    body = None if document is None else json.dumps(document).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=_SECONDS) as answer:
        return json.load(answer)
