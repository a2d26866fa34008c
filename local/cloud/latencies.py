"""Requests that take as long as a network's: the gateway is on loopback, where a call has hardly any latency."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from local.cloud import symbols
from local.cloud.json_service import Handler, Response
from local.settings import SettingsError


def install_latencies(latencies: Mapping[str, float]) -> None:
    """Let each request to these services wait, in seconds. Raises SettingsError for an unknown service."""
    handlers = symbols.find("app", "SERVICE_HANDLERS")
    for service, seconds in latencies.items():
        if service not in handlers:
            raise SettingsError(f"latencies[{service!r}]: the embedded cloud has no such service")
        handlers[service] = _delayed(handlers[service], seconds)


def _delayed(handle: Handler, seconds: float) -> Handler:
    # `Any`: the signature of ministack's handlers.
    async def handler(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Response:
        await asyncio.sleep(seconds)
        return await handle(method, path, headers, body, query)

    return handler
