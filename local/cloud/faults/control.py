"""Arm a cloud's faults from outside: a path of the gateway, and its client."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any

from local.cloud import symbols
from local.cloud.faults.board import FaultBoard
from local.cloud.faults.fault import Fault

PATH = "/_faults"


class FaultControl:
    """The faults of a running cloud that was started with `CloudSettings.faults`."""

    def __init__(self, gateway: str) -> None:
        self._url = gateway + PATH

    def arm(self, seed: int, faults: Iterable[Fault]) -> None:
        """Inject these faults from now on; counts start at 0."""
        self._ask("PUT", {"seed": seed, "faults": [fault.as_json() for fault in faults]})

    def disarm(self) -> None:
        """Inject no further fault, and release everything that was held back."""
        self._ask("DELETE")

    def injected(self) -> dict[str, int]:
        """Return how often each fault was injected since the last `arm`."""
        return self._ask("GET")

    def _ask(self, method: str, document: Mapping[str, Any] | None = None) -> dict[str, int]:
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self._url, body, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            counts: dict[str, int] = json.load(answer)
            return counts


def install_control(board: FaultBoard) -> None:
    """Serve PATH in front of everything else; the gateway listens on loopback only."""

    def around(application: Any) -> Any:
        async def serve(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http" or scope["path"] != PATH:
                await application(scope, receive, send)
                return
            body = b""
            more = True
            while more:
                message = await receive()
                body, more = body + message.get("body", b""), message.get("more_body", False)
            if scope["method"] == "PUT":
                order = json.loads(body)
                board.arm(order["seed"], [Fault(**fault) for fault in order["faults"]])
            elif scope["method"] == "DELETE":
                board.disarm()
            answer = json.dumps(board.injected()).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answer})

        return serve

    symbols.wrap("app", "app", around, parameters=("scope", "receive", "send"))
