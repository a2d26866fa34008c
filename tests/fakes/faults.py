"""Crashes between the operations of ports."""

from __future__ import annotations

from typing import Any


class Crash(BaseException):
    """The process dies here; nothing that handles errors may catch it."""


class Fuse:
    """Counts the operations of all ports that share it, and crashes before one of them."""

    def __init__(self, operations: int) -> None:
        self.left = operations
        self.log: list[str] = []

    def burn(self, operation: str) -> None:
        if self.left == 0:
            raise Crash(operation)
        self.left -= 1
        self.log.append(operation)


class Fused:
    """A port whose every operation burns the fuse first."""

    def __init__(self, port: Any, fuse: Fuse) -> None:
        self._port = port
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        if not callable(value) or name == "uri":
            return value

        def operation(*args: Any, **kwargs: Any) -> Any:
            self._fuse.burn(f"{type(self._port).__name__}.{name}")
            return value(*args, **kwargs)

        return operation
