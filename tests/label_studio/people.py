"""Reviewers who work in Label Studio, through its API."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from tests.label_studio.server import TOKEN


class People:
    """One account. A task shows its prediction; a reviewer submits the result of an annotation."""

    def __init__(self, url: str) -> None:
        self._url = url

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API as a browser does; AssertionError with the answer when it refuses."""
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                answer = response.read()
        except urllib.error.HTTPError as e:
            raise AssertionError(f"{method} {path}: {e.code} {e.read()[:1000]!r}") from e
        return json.loads(answer) if answer else None

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """The project's tasks with predictions and annotations, in the order of their ids."""
        listed = self.call("GET", f"/api/tasks?project={project}&page_size=1000&fields=all&resolve_uri=false")
        return sorted(listed["tasks"], key=lambda task: task["id"])

    def shown(self, task: dict[str, Any]) -> list[dict[str, Any]]:
        """The boxes that a task shows at first."""
        return list(task["predictions"][0]["result"]) if task["predictions"] else []

    def submit(self, task: dict[str, Any], result: list[dict[str, Any]], seconds: float = 2.5, **more: Any) -> int:
        body = {"result": result, "lead_time": seconds, **more}
        return int(self.call("POST", f"/api/tasks/{task['id']}/annotations/", body)["id"])

    def skip(self, task: dict[str, Any], **more: Any) -> None:
        body = {"result": self.shown(task), "was_cancelled": True, **more}
        self.call("POST", f"/api/tasks/{task['id']}/annotations/", body)

    def another(self) -> dict[str, int]:
        """A second person, as the author of an annotation."""
        return {
            "completed_by": self.call("POST", "/api/users/", {"email": "second@example.com", "username": "second"})[
                "id"
            ]
        }

    def accept(self, task: dict[str, Any]) -> int:
        return self.submit(task, self.shown(task))
