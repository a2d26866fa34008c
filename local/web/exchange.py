"""Requests and responses, without sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """`path` is without the query; header names are in lower case; `query` is as it was sent."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    query: str = ""


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes = b""
    content_type: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


class PageRefused(Exception):
    """A refused request; `message` is shown to a person."""

    def __init__(self, status: int, message: str, **members: Any) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.members = members


def json_response(status: int, document: Mapping[str, Any]) -> Response:
    """Make a response of a document that no cache keeps."""
    body = json.dumps(document, ensure_ascii=False).encode()
    return Response(status, body, "application/json", {"Cache-Control": "no-store"})


def redirect(path: str) -> Response:
    return Response(303, headers={"Location": path, "Cache-Control": "no-store"})
