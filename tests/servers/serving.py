"""Serves a model as a container, and asks it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from models.servers.container import ContainerServer, Model

# What every server refuses: the body, further headers, and the status.
BAD_REQUESTS: list[tuple[bytes, dict[str, str], int]] = [
    (b"not an image", {}, 400),
    (b"", {}, 400),
    (b"x", {"Content_Type": "text/plain"}, 415),
    (b"\xff\xd8\xff" + b"x" * (33 << 20), {}, 413),
]


@contextmanager
def serving(model: Model) -> Iterator[int]:
    """Load a model and serve it; yields the port."""
    model.load()
    server = ContainerServer(0, model)
    server.ready.set()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def invoke(port: int, body: bytes, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        sent = {"Content-Type": "application/x-image", **{k.replace("_", "-"): v for k, v in headers.items()}}
        connection.request("POST", "/invocations", body, sent)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def assert_refused(port: int, body: bytes, headers: dict[str, str], status: int) -> None:
    """The server refuses a request with a JSON document."""
    answered, document = invoke(port, body, **headers)
    assert answered == status
    assert document["code"] == status
    assert document["message"]


def assert_same_when_concurrent(port: int, body: bytes, requests: int) -> None:
    """Concurrent requests get the answer that one request gets alone."""
    alone = invoke(port, body)[1]
    with ThreadPoolExecutor(requests) as pool:
        assert list(pool.map(lambda _: invoke(port, body)[1], range(requests))) == [alone] * requests
