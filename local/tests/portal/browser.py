"""A worker's browser at the portal, simulated over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

IMAGE = {"width": 640, "height": 272}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Browser:
    """Keeps its cookie, sends its origin, and does not follow redirects."""

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).netloc
        self.cookie: str | None = None

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        sent = {"Host": self.host, **({"Cookie": self.cookie} if self.cookie else {}), **(headers or {})}
        connection = HTTPConnection(self.host, timeout=10)
        try:
            connection.request(method, path, body, {k: v for k, v in sent.items() if v})
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
        if cookie := answer.headers["Set-Cookie"]:
            self.cookie = cookie.partition(";")[0]
        return answer

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def write(self, method: str, path: str, document: Any) -> Answer:
        origin = {"Origin": f"http://{self.host}"}
        return self.send(method, path, json.dumps(document).encode(), origin)

    def next_task(self, job: str = "Drive-1") -> str | None:
        """Return the address of the next task, None when the portal has none."""
        return self.get(f"/jobs/{job}/").headers["Location"]

    def submit(self, task: str, *boxes: tuple[str, int, int, int, int], **inputs: str) -> Answer:
        """Answer a task with these boxes (label, left, top, width, height) and other inputs of the form."""
        names = ("label", "left", "top", "width", "height")
        given = [dict(zip(names, box, strict=True)) for box in boxes]
        content = {"boundingBox": {"boundingBoxes": given, "inputImageProperties": IMAGE}, **inputs}
        return self.write("POST", f"{task}/answer", {"answerContent": content})


def attribute(page: str, name: str) -> str:
    """Return an attribute of a page's bounding box element, as written in the page."""
    found = re.search(rf'<crowd-bounding-box[^>]*\b{name}="([^"]*)"', page)
    assert found, f"the page has no {name}"
    return found[1]
