"""Meters requests to the gateway."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from local.cloud import symbols
from local.cloud.json_service import Handler, Response
from local.cloud.metering.meter import Meter, chunks
from local.cloud.metering.table_units import read_units, write_units, written_sizes
from local.cloud.requests import read_request, session_of

# Operations that are billed by the chunk of their payload.
_CHUNKED = {"SendMessage", "SendMessageBatch", "ReceiveMessage", "Publish", "PublishBatch"}
_READS = {"GetItem", "Query", "Scan"}


class RequestMeter:
    """Adds every request that a service answers to a meter; AWS bills no errors of its own (5xx)."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def install(self) -> None:
        """Wrap all services below the gateway; requests without permission are refused before."""
        handlers = symbols.find("app", "SERVICE_HANDLERS")
        for service, handle in list(handlers.items()):
            handlers[service] = self.metered(handle)

    def metered(self, handle: Handler) -> Handler:
        """Wrap a service so that its requests are metered."""

        # `Any`: the signature of ministack's handlers.
        async def handler(
            method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
        ) -> Response:
            request = read_request(method, path, headers, body, query)
            service, operation = request.service or "", request.operation or ""
            document = json.loads(body or b"{}") if service == "dynamodb" else {}
            before = written_sizes(operation, document)
            answer = await handle(method, path, headers, body, query)
            if answer[0] < 500:
                size = len(body) + _size(answer)
                units: float = 1
                if before:
                    units = write_units(operation, before, written_sizes(operation, document))
                elif service == "dynamodb" and operation in _READS:
                    units = read_units(document, json.loads(answer[2]))
                elif service == "events" and operation == "PutEvents":
                    units = sum(chunks(len(json.dumps(entry))) for entry in json.loads(body)["Entries"])
                elif operation in _CHUNKED:
                    units = chunks(size)
                role, session = session_of(headers, query)
                # Endpoints and labelling jobs differ by their roles only.
                caller = role if session == "SageMaker" else session
                self._meter.add(service, operation, caller, units=units, size=size)
            return answer

        return handler


def _size(answer: Response) -> int:
    """Return the bytes of an answer's body; a body that is streamed has its length in a header."""
    _, headers, body = answer
    return len(body) if isinstance(body, bytes) else int(_lower(headers).get("content-length", 0))


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
