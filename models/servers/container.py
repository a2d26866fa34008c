"""An HTTP server for the container contract: GET /ping answers 200 once the model is loaded, POST /invocations runs it.

Source of the contract: SageMaker developer guide, "Use your own inference code with hosting services".
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import socketserver
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

_log = logging.getLogger(__name__)
_CHUNK = 1 << 18
JSON = "application/json"


class RequestRefused(Exception):
    """A request that the model refuses, with an HTTP status of 4xx or 5xx and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Request:
    """One invocation; media types are in lower case, and empty when the request has none.

    The parameters of `content_type` are as they came: the boundary of a form is one.
    """

    body: bytes
    content_type: str
    accept: str
    custom_attributes: str


@dataclass(frozen=True)
class Reply:
    """One answer; `body` is its bytes, or pieces that are sent as they are made."""

    body: bytes | Iterable[bytes]
    content_type: str = JSON
    status: int = 200


class Model(Protocol):
    """A model behind the server; several threads call `predict` at once."""

    max_request_bytes: int

    def load(self) -> None:
        """Load the model; /ping answers 503 until this returns."""

    def predict(self, request: Request) -> Reply:
        """Answer one invocation; raises RequestRefused."""


def run(model: Model) -> None:
    """Serve `model` on 127.0.0.1, at the port of `--port`, until SIGTERM; exit status 1 when it cannot load.

    `--listener` is the file descriptor of a socket that listens already. With `--until-eof` the server also ends when
    its standard input does, and so with a parent that is killed.
    """
    parser = argparse.ArgumentParser()
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--port", type=int)
    place.add_argument("--listener", type=int)
    parser.add_argument("--until-eof", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    if arguments.until_eof:
        threading.Thread(target=_end_with_input, name="input", daemon=True).start()
    if arguments.listener is None:
        server = ContainerServer(arguments.port, model)
    else:
        server = ContainerServer(0, model, socket.socket(fileno=arguments.listener))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=_load, args=(server,), name="load", daemon=True).start()
    server.serve_forever()


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _load(server: ContainerServer) -> None:
    try:
        server.model.load()
    except Exception:
        _log.exception("the model cannot be loaded")
        os._exit(1)
    server.ready.set()
    _log.info("ready on port %d", server.server_port)


class ContainerServer(ThreadingHTTPServer):
    """An HTTP server for one model; `ready` is set once the model is loaded."""

    daemon_threads = True
    # Bursts of connections wait instead of being refused.
    request_queue_size = 128

    def __init__(self, port: int, model: Model, listener: socket.socket | None = None) -> None:
        self.model = model
        self.ready = threading.Event()
        self._listener = listener
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        if self._listener is None:
            # HTTPServer looks up its own address in DNS, which can take seconds.
            socketserver.TCPServer.server_bind(self)
        else:
            self.socket.close()
            self.socket = self._listener
            self.server_address = self._listener.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]


def _media(header: str) -> str:
    media, semicolon, parameters = header.strip().partition(";")
    return media.lower() + semicolon + parameters


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ContainerServer
    # Without it, small answers wait for the acknowledgement of their headers.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path != "/ping":
            return self._refuse(RequestRefused(404, f"no such path: {self.path}"))
        return self._answer(Reply(b"", status=200 if self.server.ready.is_set() else 503))

    def do_POST(self) -> None:
        try:
            body = self._read_body()
            if self.path != "/invocations":
                raise RequestRefused(404, f"no such path: {self.path}")
            if not self.server.ready.is_set():
                raise RequestRefused(503, "the model is not loaded yet")
            request = Request(
                body=body,
                content_type=_media(self.headers.get("Content-Type", "")),
                accept=self.headers.get("Accept", "").strip().lower(),
                custom_attributes=self.headers.get("X-Amzn-SageMaker-Custom-Attributes", ""),
            )
            reply = self.server.model.predict(request)
        except RequestRefused as refusal:
            self._refuse(refusal)
        except Exception as e:
            _log.exception("prediction failed")
            self._refuse(RequestRefused(500, f"{type(e).__name__}: {e}"))
        else:
            self._answer(reply)

    def log_message(self, format: str, *args: object) -> None:
        if not self.path.startswith("/ping"):
            _log.info(format, *args)

    def _read_body(self) -> bytes:
        """Read the request's body, with a length or in chunks; raises RequestRefused beyond the model's limit.

        A body that is too large is read to its end and dropped: a client that is cut off while it sends gets no answer.
        """
        limit = self.server.model.max_request_bytes
        kept, size = bytearray(), 0
        for block in self._blocks():
            size += len(block)
            if size <= limit:
                kept += block
            else:
                kept.clear()
        if size > limit:
            raise RequestRefused(413, f"the body has {size} bytes, more than {limit}")
        return bytes(kept)

    def _blocks(self) -> Iterable[bytes]:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", "0"))
        while left > 0:
            block = self.rfile.read(min(left, _CHUNK))
            if not block:
                raise RequestRefused(400, "the body ends early")
            left -= len(block)
            yield block

    def _refuse(self, refusal: RequestRefused) -> None:
        body = json.dumps({"code": refusal.status, "message": refusal.message}).encode()
        self._answer(Reply(body, status=refusal.status))

    def _answer(self, reply: Reply) -> None:
        headers: Mapping[str, str] = (
            {"Content-Length": str(len(reply.body))}
            if isinstance(reply.body, bytes)
            else {"Transfer-Encoding": "chunked"}
        )
        self.send_response(reply.status)
        for name, value in {"Content-Type": reply.content_type, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if isinstance(reply.body, bytes):
            self.wfile.write(reply.body)
            return
        for piece in reply.body:
            if piece:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")
