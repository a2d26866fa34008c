"""A reviewer at the portal: real keys and a real mouse in a real browser."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Page


class Annotator:
    """Points are in pixels of the image."""

    def __init__(self, page: Page, job: str) -> None:
        self.page = page
        self.job = job
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, n: int) -> None:
        self.page.goto(f"{self.job}tasks/{n}")
        self.wait_for_frame()

    def wait_for_frame(self) -> None:
        self.page.locator(".portal-count:not(:empty)").wait_for()

    def wait_for_next_frame(self) -> None:
        """Wait until the page holds the next frame, and so will show it without a request."""
        self.page.wait_for_function("""() => performance.getEntriesByName("autolabel:ready").length""")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def on_screen(self, x: float, y: float) -> tuple[float, float]:
        left, top, scale = self.page.evaluate(
            """() => { const stage = document.querySelector(".portal-stage"); const box = stage.getBoundingClientRect();
                       return [box.left, box.top, box.width / stage.querySelector("img").naturalWidth]; }"""
        )
        return left + x * scale, top + y * scale

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.on_screen(x, y))

    def drag(self, start: tuple[float, float], end: tuple[float, float], button: Any = "left") -> None:
        (x0, y0), (x1, y1) = self.on_screen(*start), self.on_screen(*end)
        mouse = self.page.mouse
        mouse.move(x0, y0)
        mouse.down(button=button)
        mouse.move((x0 + x1) / 2, (y0 + y1) / 2)
        mouse.move(x1, y1)
        mouse.up(button=button)
        # The page handles the end of a drag in a task of its own: wait for it.
        self.page.evaluate("() => new Promise((done) => setTimeout(done))")

    def send(self, *keys: str) -> dict[str, Any]:
        """Press keys that send the frame (Enter); return the posted answer after the page has moved on."""
        shown = self.page.url
        with self.page.expect_response(lambda response: response.request.method == "POST") as posted:
            self.press(*(keys or ("Enter",)))
        self.page.wait_for_url(lambda url: url != shown)
        assert not self.errors, self.errors
        return posted.value.request.post_data_json["answerContent"]

    @property
    def rows(self) -> list[str]:
        return self.page.eval_on_selector_all(".portal-boxes .portal-row", "rows => rows.map(r => r.ariaLabel)")

    @property
    def candidates(self) -> list[str]:
        return self.page.eval_on_selector_all(".portal-candidates .portal-row", "rows => rows.map(r => r.ariaLabel)")

    @property
    def selected(self) -> int | None:
        """The selected box's position in the list, None without one."""
        rows = self.page.eval_on_selector_all(
            ".portal-boxes .portal-row", "rows => rows.map(r => r.getAttribute('aria-current'))"
        )
        return rows.index("true") if "true" in rows else None


def boxes(answer: dict[str, Any]) -> list[tuple[str, int, int, int, int]]:
    return [(b["label"], b["left"], b["top"], b["width"], b["height"]) for b in answer["boundingBox"]["boundingBoxes"]]


def review_of(answer: dict[str, Any]) -> dict[str, Any]:
    return json.loads(answer["review"])


def counts(answer: dict[str, Any]) -> dict[str, int]:
    return {kind: effort["count"] for kind, effort in review_of(answer)["edits"].items()}
