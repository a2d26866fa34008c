"""The state machine's executions in memory."""

from __future__ import annotations


class FakeExecutions:
    """`autolabel.ports.Executions`: names are taken for good, a token wakes once."""

    def __init__(self) -> None:
        self.started: dict[str, tuple[str, str]] = {}
        self.tokens: set[str] = set()
        self.woken: list[str] = []

    def start(self, name: str, drive: str, run: str) -> bool:
        if name in self.started:
            return False
        self.started[name] = (drive, run)
        return True

    def wake(self, token: str) -> bool:
        if token not in self.tokens:
            return False
        self.tokens.discard(token)
        self.woken.append(token)
        return True
