"""An HTTP server on 127.0.0.1 for one application of pages."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from local.web.exchange import PageRefused, Request, Response, json_response
from local.web.protection import HEADERS

_log = logging.getLogger(__name__)
ADDRESS = "127.0.0.1"
# `close` takes effect within this time, in seconds.
_CLOSING = 0.1


class PageServer:
    """Serves `respond` from `start` to `close`; `listener` is a socket that listens on ADDRESS.

    `body_bytes`: the longest body of a request that is accepted.
    """

    def __init__(
        self, name: str, listener: socket.socket, respond: Callable[[Request], Response], *, body_bytes: int = 0
    ) -> None:
        self.url = f"http://{ADDRESS}:{listener.getsockname()[1]}/"
        self._server = _Server(name, listener, respond, body_bytes)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_CLOSING,), name=name, daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering, without waiting for requests in process."""
        self._server.shutdown()
        self._server.server_close()


def hosts_of(listener: socket.socket) -> set[str]:
    """Return the hosts with port under which browsers may reach the listener."""
    port = listener.getsockname()[1]
    return {f"{ADDRESS}:{port}", f"localhost:{port}"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self, name: str, listener: socket.socket, respond: Callable[[Request], Response], body_bytes: int
    ) -> None:
        super().__init__((ADDRESS, 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.name = name
        self.respond = respond
        self.body_bytes = body_bytes


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # Browsers keep connections open; an idle one is closed.
    timeout = 75
    # A response is sent in one piece, without waiting for the acknowledgement of its first part.
    wbufsize = -1
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            body = self._body(headers)
        except PageRefused as e:
            self.close_connection = True
            self._send(json_response(e.status, {"error": e.message}))
            return
        path, _, query = self.path.partition("?")
        self._send(self.server.respond(Request(self.command, path, headers, body, query)))

    # The base class dictates these names.
    do_GET = do_POST = do_PUT = _handle  # noqa: N815

    def _body(self, headers: dict[str, str]) -> bytes:
        if "transfer-encoding" in headers:
            raise PageRefused(411, "The request needs a Content-Length.")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise PageRefused(400, "Content-Length is not a number.")
        limit = self.server.body_bytes
        if int(length) > limit:
            # A client that is still sending when the connection closes does not read the reason.
            self._hear_out(min(int(length), 2 * limit), limit)
            raise PageRefused(413, f"The body is too large: at most {limit} bytes are allowed.")
        return self.rfile.read(int(length))

    def _hear_out(self, length: int, block_bytes: int) -> None:
        while length > 0 and (block := self.rfile.read(min(length, block_bytes))):
            length -= len(block)

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in {**HEADERS, **response.headers}.items():
            self.send_header(name, value)
        if response.status != 204:
            self.send_header("Content-Type", response.content_type)
            self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(response.body)

    def version_string(self) -> str:
        return self.server.name

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)
