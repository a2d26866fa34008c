"""The client of Label Studio: retries, refusals, and servers that are not Label Studio."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from autolabel.contracts.errors import VerificationRefused, VerificationUnavailable
from autolabel.verification.label_studio.client import LabelStudioClient
from autolabel.verification.label_studio.connection import Connection

TOKEN = "T0PSECRET"
WEBHOOK = "S3CRET of webhooks"


class Scripted(ThreadingHTTPServer):
    """Answer each request with the next (status, body, headers) of a script, and repeat the last one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[tuple[int, Any, dict[str, str]]] = []
        self.requests: list[tuple[str, str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, status: int, body: Any = None, **headers: str) -> None:
        self.script.append((status, body, headers))


class _Handler(BaseHTTPRequestHandler):
    server: Scripted

    def _reply(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, self.headers.get("Authorization")))
        script = self.server.script
        status, body, headers = script.pop(0) if len(script) > 1 else script[0]
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = do_PATCH = do_DELETE = _reply  # noqa: N815  # the base class's names

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture
def studio() -> Iterator[Scripted]:
    with Scripted() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def client(url: str, **more: Any) -> LabelStudioClient:
    token = more.pop("token", TOKEN)
    return LabelStudioClient(Connection(url, token, WEBHOOK), "autolabel/ls", pause=lambda seconds: None, **more)


def said(error: pytest.ExceptionInfo[Exception]) -> str:
    """Return the error's message, and check that it contains no secret."""
    text = str(error.value)
    assert TOKEN not in text
    assert WEBHOOK not in text
    return text


EMPTY = {"results": [], "next": None}


def test_a_read_is_tried_again_and_a_write_is_not(studio: Scripted) -> None:
    studio.answer(503)
    studio.answer(429, None, Retry_After="0")
    studio.answer(200, EMPTY)
    assert client(studio.url).find_projects("t") == []
    assert [method for method, _, _ in studio.requests] == ["GET"] * 3
    studio.script[:] = [(503, None, {})]
    with pytest.raises(VerificationUnavailable):
        client(studio.url).create_project({})
    assert [method for method, _, _ in studio.requests[3:]] == ["POST"]


def test_a_long_retry_after_is_cut_short(studio: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", waits.append)
    studio.answer(503, None, Retry_After="86400")
    studio.answer(200, EMPTY)
    assert client(studio.url).find_projects("t") == []
    assert waits == [8]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 599])
def test_an_overloaded_server_is_unavailable(studio: Scripted, status: int) -> None:
    studio.answer(status, {"detail": TOKEN})
    with pytest.raises(VerificationUnavailable, match=f"/api/projects/7/ answers {status}") as error:
        client(studio.url, retries=0).delete_project(7)
    said(error)


@pytest.mark.parametrize(
    ("status", "reason", "part"),
    [
        (401, "token", "token in the secret autolabel/ls is not, or no longer, accepted"),
        (403, "permission", "the account of the token in the secret autolabel/ls may not do this"),
        (404, "gone", "was the project deleted"),
        (302, "url", "leads elsewhere"),
        (400, "request", "answers 400 to GET"),
    ],
)
def test_a_refusal_says_what_to_fix_and_no_secret(studio: Scripted, status: int, reason: str, part: str) -> None:
    studio.answer(status, {"detail": f"{'x' * 495}{TOKEN} {WEBHOOK}"}, Location="https://evil.example/")
    with pytest.raises(VerificationRefused, match=r"http://127\.0\.0\.1") as error:
        client(studio.url).find_projects("t")
    assert part in said(error)
    assert error.value.reason == reason
    # A redirect is not followed, since it would send the token along.
    assert len(studio.requests) == 1


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"", b'{"results": 5}', b"[" * 100_000, b"\xff\xfe"])
def test_a_server_with_another_api_is_refused(studio: Scripted, body: bytes) -> None:
    studio.answer(200, body)
    with pytest.raises(VerificationRefused, match="does not speak Label Studio's API") as error:
        client(studio.url).find_projects("t")
    said(error)


def test_a_server_that_is_down_or_silent_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(VerificationUnavailable, match=r"does not answer \(ReadTimeoutError\)") as error:
            client(url, read_seconds=0.05, retries=0).find_projects("t")
        said(error)
    with pytest.raises(VerificationUnavailable, match=r"is it up.*url in the secret autolabel/ls") as error:
        client(url, retries=0).find_projects("t")
    said(error)


def test_a_connection_lost_during_an_answer_is_unavailable(studio: Scripted) -> None:
    studio.answer(200, b"{", Content_Length="500")
    with pytest.raises(VerificationUnavailable) as error:
        client(studio.url, read_seconds=0.5, retries=0).find_projects("t")
    said(error)


def test_a_personal_access_token_is_exchanged_again_after_expiry(studio: Scripted) -> None:
    studio.answer(200, {"access": "first"})
    studio.answer(200, EMPTY)
    studio.answer(401)
    studio.answer(200, {"access": "second"})
    studio.answer(200, EMPTY)
    asked = client(studio.url, token="a.b.c")
    asked.find_projects("t")
    asked.find_projects("t")
    assert [(path.partition("?")[0], authorization) for _, path, authorization in studio.requests] == [
        ("/api/token/refresh", None),
        ("/api/projects/", "Bearer first"),
        ("/api/projects/", "Bearer first"),
        ("/api/token/refresh", None),
        ("/api/projects/", "Bearer second"),
    ]


def test_a_revoked_personal_access_token_is_refused(studio: Scripted) -> None:
    studio.answer(401, {"detail": "Token is blacklisted"})
    with pytest.raises(VerificationRefused, match="/api/token/refresh answers 401: token in the secret autolabel/ls"):
        client(studio.url, token="a.b.c").find_projects("t")


def test_an_import_in_the_background_is_awaited(studio: Scripted) -> None:
    studio.answer(201, {"import": 9})
    studio.answer(200, {"status": "created"})
    studio.answer(200, {"status": "completed", "task_count": 1})
    client(studio.url).import_tasks(3, [{"data": {}}])
    assert [path for _, path, _ in studio.requests[1:]] == ["/api/projects/3/imports/9"] * 2


@pytest.mark.parametrize(
    ("state", "error"),
    [({"status": "failed", "error": "no"}, VerificationRefused), ({"status": "in_progress"}, VerificationUnavailable)],
)
def test_a_failed_or_unfinished_import_raises(studio: Scripted, state: Any, error: type[Exception]) -> None:
    studio.answer(201, {"import": 9})
    studio.answer(200, state)
    with pytest.raises(error, match="import"):
        client(studio.url).import_tasks(3, [{"data": {}}])


def test_projects_are_found_by_their_whole_title_on_every_page(studio: Scripted) -> None:
    studio.answer(200, {"results": [{"id": 9, "title": "job"}, {"id": 3, "title": "job-2"}], "next": "…"})
    studio.answer(200, {"results": [{"id": 4, "title": "job"}, {"id": 5, "title": "JOB"}], "next": None})
    assert [project.id for project in client(studio.url).find_projects("job")] == [4, 9]
    assert [path.rpartition("&")[2] for _, path, _ in studio.requests] == ["page=1", "page=2"]
