"""Serves the page and its images on this machine."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from autolabel_cli.errors import CommandError

_TYPES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png"}
# The page holds text of other people. Its own script alone may run, and it may load nothing but images.
_POLICY = "default-src 'none'; img-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"


class PageServer(ThreadingHTTPServer):
    """Serves one page on 127.0.0.1, under an address that cannot be guessed. `port`: 0 for any free one.

    `image`: gives the bytes of an image by its key; KeyError for an unknown one, CommandError if it cannot be read.
    """

    daemon_threads = True

    def __init__(self, port: int, page: str, image: Callable[[str], bytes]) -> None:
        self.page = page.encode()
        self.image = image
        self.root = f"/{secrets.token_urlsafe(16)}/"
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as e:
            raise CommandError(f"port {port} of 127.0.0.1 cannot be used ({e.strerror}): give another --port") from e

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}{self.root}"


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if not path.startswith(self.server.root):
            self._answer(HTTPStatus.NOT_FOUND, b"this page does not exist", "text/plain")
        elif path == self.server.root:
            self._answer(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")
        else:
            self._answer_image(unquote(path.removeprefix(self.server.root)))

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the terminal belongs to the command."""

    def _answer_image(self, key: str) -> None:
        try:
            body = self.server.image(key)
        except KeyError:
            self._answer(HTTPStatus.NOT_FOUND, b"the page has no such frame", "text/plain")
        except CommandError as e:
            self._answer(HTTPStatus.BAD_GATEWAY, e.message.encode(), "text/plain; charset=utf-8")
        else:
            self._answer(HTTPStatus.OK, body, _TYPES[key.rpartition(".")[2]])

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        if kind.startswith("image/"):
            # A frame's bytes never change under the address of one page.
            self.send_header("Cache-Control", "private, max-age=86400, immutable")
        self.end_headers()
        self.wfile.write(body)
