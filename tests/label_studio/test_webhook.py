"""Notifications of a real Label Studio."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

import pytest

from autolabel.verification.label_studio.client import LabelStudioClient
from autolabel.verification.label_studio.notifications import take_notification
from autolabel.verification.label_studio.projects import Webhook
from tests.fakes.lines import line
from tests.label_studio.conftest import SECRET
from tests.label_studio.jobs import CAR, opened
from tests.label_studio.people import People


class Listener(ThreadingHTTPServer):
    """A function URL that keeps requests as events."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events: Queue[dict[str, Any]] = Queue()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = self.path.partition("?")[2]
        self.server.events.put({"rawQueryString": query, "headers": headers, "body": body, "isBase64Encoded": False})
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing."""


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_signed_notifications_wake_the_run_after_the_last_task(
    client: LabelStudioClient, people: People, listener: Listener, name: str
) -> None:
    lines = [line(i, [CAR]) for i in range(4)]
    # An earlier call registered it with an older secret.
    opened(name, lines, client, webhook=Webhook(listener.url, "the secret of before"))
    reference = opened(name, lines, client, webhook=Webhook(listener.url, SECRET))
    assert len(client.webhooks(reference.project)) == 1
    first, second, third, last = people.tasks(reference.project)
    woken: list[str] = []

    def replies() -> list[tuple[int, str]]:
        """The replies to all notifications so far. Label Studio waits for replies before it answers a reviewer."""
        found = []
        while not listener.events.empty():
            reply = take_notification(listener.events.get(), SECRET, lambda job: bool(woken.append(job)) or True)
            found.append((reply.status, reply.text))
        return found

    people.accept(first)
    assert replies() == [(200, "noted")]
    people.skip(second)
    assert replies() == [(200, "noted")]
    people.accept(third)
    assert replies() == [(200, "noted")]
    people.call("DELETE", f"/api/tasks/{last['id']}/")
    assert replies() == [(200, "woken")]
    assert woken == [name]
    forged = {"rawQueryString": "job=another", "headers": {"x-autolabel-signature": "0"}, "body": "{}"}
    assert take_notification(forged, SECRET, lambda job: pytest.fail(job)).status == 401
