"""The portal as an HTTP server on 127.0.0.1."""

from __future__ import annotations

import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from local.portal.application import BODY_BYTES, Application
from local.portal.exchange import PageRefused, Request, Response, json_response
from local.portal.protection import HEADERS
from local.sagemaker.ground_truth.labeling_jobs import LabelingJobs

_log = logging.getLogger(__name__)
ADDRESS = "127.0.0.1"
# `close` takes effect within this time, in seconds.
_CLOSING = 0.1
_HEARD_OUT_BYTES = 2 * BODY_BYTES


class Portal:
    """Serves the jobs' tasks from `start` to `close`; `listener` is a socket that listens on ADDRESS."""

    def __init__(self, jobs: LabelingJobs, listener: socket.socket) -> None:
        port = listener.getsockname()[1]
        self.url = f"http://{ADDRESS}:{port}/"
        application = Application(jobs, {f"{ADDRESS}:{port}", f"localhost:{port}"})
        self._server = _Server(listener, application)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_CLOSING,), name="portal", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering, without waiting for requests in process."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, application: Application) -> None:
        super().__init__((ADDRESS, 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.application = application


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
        path = self.path.partition("?")[0]
        self._send(self.server.application.respond(Request(self.command, path, headers, body)))

    # The base class dictates these names.
    do_GET = do_POST = do_PUT = _handle  # noqa: N815

    def _body(self, headers: dict[str, str]) -> bytes:
        if "transfer-encoding" in headers:
            raise PageRefused(411, "The request needs a Content-Length.")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise PageRefused(400, "Content-Length is not a number.")
        if int(length) > BODY_BYTES:
            # A client that is still sending when the connection closes does not read the reason.
            self._hear_out(min(int(length), _HEARD_OUT_BYTES))
            raise PageRefused(413, f"The body is too large: at most {BODY_BYTES} bytes are allowed.")
        return self.rfile.read(int(length))

    def _hear_out(self, length: int) -> None:
        while length > 0 and (block := self.rfile.read(min(length, BODY_BYTES))):
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
        return "worker-portal"

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)
