"""Announcements in memory."""

from __future__ import annotations


class FakeAnnouncements:
    """`Announcements` that keeps everything in lists."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.published: list[tuple[str, dict[str, object]]] = []

    def tell_ops(self, subject: str, message: str) -> None:
        self.told.append((subject, message))

    def publish(self, kind: str, detail: dict[str, object]) -> None:
        self.published.append((kind, detail))
