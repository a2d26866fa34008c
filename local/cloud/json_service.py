"""A small AWS service of the JSON 1.1 protocol, and its registration with ministack."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from local.cloud import symbols

Response = tuple[int, dict[str, str], bytes]
Handler = Callable[[str, str, dict[str, str], bytes, dict[str, Any]], Awaitable[Response]]


class ServiceError(Exception):
    """An error response of a service."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class JsonService:
    """Actions by name, each from request document to response document; they run off the event loop."""

    def __init__(self, actions: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]) -> None:
        self._actions = actions

    async def handle(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Response:
        """Answer one request; an action that is not implemented is an error, never an empty success."""
        name = headers.get("x-amz-target", "").rpartition(".")[2]
        action = self._actions.get(name)
        try:
            if action is None:
                raise ServiceError("UnknownOperationException", f"{name} is not supported by the embedded cloud")
            try:
                request = json.loads(body or b"{}")
            except ValueError as error:
                raise ServiceError("SerializationException", f"{name}: {error}") from error
            return _answer(200, await asyncio.to_thread(action, request))
        except ServiceError as error:
            return _answer(error.status, {"__type": error.code, "message": error.message})


def serve(name: str, handler: Handler, *, target_prefixes: list[str]) -> None:
    """Route a service's requests to `handler`: by x-amz-target prefix, else by the service name in the signature."""
    symbols.find("app", "SERVICE_HANDLERS")[name] = handler
    symbols.find("core.router", "SERVICE_PATTERNS")[name] = {
        "target_prefixes": target_prefixes,
        "host_patterns": [],
    }


def _answer(status: int, document: dict[str, Any]) -> Response:
    return status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(document).encode()
