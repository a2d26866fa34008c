"""A portal that holds its tasks in memory, by the contract of the real one's pages."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from liquid import Environment, Mode
from liquid.undefined import Undefined

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "local" / "portal" / "static"
ANNOTORIOUS = ROOT / ".node" / "portal" / "node_modules" / "@annotorious" / "annotorious" / "dist"
_KINDS = {".js": "text/javascript", ".css": "text/css", ".map": "application/json"}


def _to_json(value: object) -> str:
    return json.dumps(value, default=lambda it: None if isinstance(it, Undefined) else str(it))


@dataclass
class FakePortal:
    """Tasks of one job, `lines` of a manifest each with a picture, rendered by `template`."""

    template: str
    labels: Sequence[str]
    lines: Sequence[dict[str, Any]]
    pictures: Sequence[bytes]
    answers: dict[int, dict[str, Any]] = field(default_factory=dict)
    drafts: dict[int, Any] = field(default_factory=dict)
    refuse: Callable[[int], tuple[int, dict[str, Any]] | None] = lambda n: None

    def __enter__(self) -> FakePortal:
        environment = Environment(autoescape=True, tolerance=Mode.STRICT)
        environment.filters |= {"grant_read_access": lambda uri: f"/images/{uri}", "to_json": _to_json}
        text = self.template.replace("https://assets.crowd.aws/crowd-html-elements.js", "/static/crowd-elements.js")
        self._template = environment.from_string(text)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def page(self, n: int) -> str:
        task = {"input": {"manifestLine": self.lines[n], "labels": list(self.labels), "taskObject": ""}}
        body = self._template.render(task=task)
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Frame {n}</title><body>{body}</body></html>'
        )

    def next_after(self, n: int) -> str | None:
        open_ones = [m for m in range(len(self.lines)) if m != n and m not in self.answers]
        following = [m for m in open_ones if m > n] or open_ones
        return f"/jobs/j/tasks/{following[0]}" if following else None

    def context(self, n: int) -> dict[str, Any]:
        def neighbour(m: int) -> dict[str, str] | None:
            return {"image": f"/images/{m}"} if 0 <= m < len(self.lines) else None

        return {
            "job": "j", "task": n, "done": len(self.answers), "total": len(self.lines),
            "next": self.next_after(n), "next_image": None,
            "before": neighbour(n - 1), "after": neighbour(n + 1), "draft": self.drafts.get(n),
        }  # fmt: skip

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        portal = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def answer(self, status: int, body: bytes | dict[str, Any], kind: str = "application/json") -> None:
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(content)))
                self.send_header(
                    "cache-control", "no-store" if kind.startswith(("text/html", "application")) else "max-age=600"
                )
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self) -> None:
                parts = self.path.strip("/").split("/")
                if parts[0] == "static":
                    file = next((d / parts[-1] for d in (STATIC, ANNOTORIOUS) if (d / parts[-1]).is_file()), None)
                    self.answer(200, file.read_bytes(), _KINDS[file.suffix]) if file else self.answer(404, {})
                elif parts[0] == "images":
                    self.answer(200, portal.pictures[int(parts[1]) % len(portal.pictures)], "image/jpeg")
                elif len(parts) == 5:
                    self.answer(200, portal.context(int(parts[3])))
                elif len(parts) == 4:
                    self.answer(200, portal.page(int(parts[3])).encode(), "text/html; charset=utf-8")
                else:
                    self.answer(200, b"<!doctype html><title>Jobs</title><p>all done</p>", "text/html")

            def _body(self) -> Any:
                return json.loads(self.rfile.read(int(self.headers["content-length"])))

            def do_PUT(self) -> None:
                portal.drafts[int(self.path.split("/")[4])] = self._body()
                self.answer(200, {})

            def do_POST(self) -> None:
                n, content = int(self.path.split("/")[4]), self._body()["answerContent"]
                if refused := portal.refuse(n):
                    self.answer(*refused)
                    return
                portal.answers[n] = content
                portal.drafts.pop(n, None)
                self.answer(200, {"next": portal.next_after(n)})

        return Handler
