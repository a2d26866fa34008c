"""The Lambda Runtime API, served on loopback to one function process."""

from __future__ import annotations

import queue
import re
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from local.cloud.functions.invocation import Invocation

_RESULT = re.compile(r"/2018-06-01/runtime/invocation/([^/]+)/(response|error)$")
_NEXT = "/2018-06-01/runtime/invocation/next"
_INIT_ERROR = "/2018-06-01/runtime/init/error"


@dataclass(frozen=True)
class RuntimeEvent:
    """An event of a function process; the body of `exited` is the exit status."""

    kind: Literal["ready", "response", "error", "init_error", "exited"]
    request_id: str = ""
    body: bytes = b""


class RuntimeApi:
    """Passes invocations to a runtime's long poll, and puts the runtime's posts in `events`."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[RuntimeEvent] = queue.SimpleQueue()
        self._offers: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.5}, name="runtime-api", daemon=True
        ).start()

    @property
    def address(self) -> str:
        """host:port, the value of AWS_LAMBDA_RUNTIME_API."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def offer(self, invocation: Invocation) -> None:
        """Give the runtime its next invocation."""
        self._offers.put(invocation)

    def take(self) -> Invocation | None:
        """Wait for the next invocation; None when the API closes."""
        return self._offers.get()

    def close(self) -> None:
        """Stop serving; a runtime that still polls loses its connection."""
        self._offers.put(None)
        # shutdown() waits until the serving loop checks its flag; callers need not wait with it.
        threading.Thread(target=self._shut_down, name="runtime-api-close", daemon=True).start()

    def _shut_down(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(api: RuntimeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body in one segment: two small segments meet the runtime's delayed ACK, 40 ms an invocation.
        wbufsize = -1
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: object) -> None:
            """Do not log the runtime's requests."""

        def do_GET(self) -> None:
            if self.path != _NEXT:
                self._answer(404)
                return
            api.events.put(RuntimeEvent("ready"))
            invocation = api.take()
            if invocation is None:
                self.close_connection = True
                return
            headers = {
                "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                "Lambda-Runtime-Deadline-Ms": str(int(invocation.deadline * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
            }
            if invocation.trace_id:
                headers["Lambda-Runtime-Trace-Id"] = invocation.trace_id
            self._answer(200, invocation.payload, headers)

        def do_POST(self) -> None:
            body = self._body()
            result = _RESULT.fullmatch(self.path)
            if self.path == _INIT_ERROR:
                api.events.put(RuntimeEvent("init_error", body=body))
            elif result:
                kind: Literal["response", "error"] = "response" if result[2] == "response" else "error"
                api.events.put(RuntimeEvent(kind, result[1], body))
            else:
                self._answer(404)
                return
            self._answer(202)

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

    return Handler
