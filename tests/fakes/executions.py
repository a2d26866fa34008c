"""The state machine's executions in memory."""

from __future__ import annotations

from autolabel.contracts.logs import LogRecord


class FakeExecutions:
    """`Executions` whose names can be used once, and whose tokens wake once."""

    def __init__(self) -> None:
        self.started: dict[str, tuple[str, str]] = {}
        self.tokens: set[str] = set()
        self.woken: list[str] = []
        self.statuses: dict[str, str] = {}

    def start(self, name: str, drive: str, run: str) -> bool:
        if name in self.started:
            return False
        self.started[name] = (drive, run)
        return True

    def status(self, name: str) -> str:
        return self.statuses.get(name, "RUNNING") if name in self.started else ""

    def wake(self, token: str) -> bool:
        if token not in self.tokens:
            return False
        self.tokens.discard(token)
        self.woken.append(token)
        return True


class FakeExtractions:
    """`Extractions` whose names can be used once."""

    def __init__(self) -> None:
        self.started: dict[str, LogRecord] = {}
        self.names: set[str] = set()

    def start(self, log: LogRecord) -> bool:
        if log.execution in self.names:
            return False
        self.names.add(log.execution)
        self.started[log.execution] = log
        return True
