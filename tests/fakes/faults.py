"""Lets a process crash between two operations of its ports."""

from __future__ import annotations

from typing import Any, TypeVar, cast

Port = TypeVar("Port")


class Crash(BaseException):
    """The process dies here. A BaseException, so that no error handler catches it."""


class Fuse:
    """Counts the operations of all ports that share it, and raises Crash after `operations` of them."""

    def __init__(self, operations: int) -> None:
        self.left = operations
        self.log: list[str] = []

    def burn(self, operation: str) -> None:
        if self.left == 0:
            raise Crash(operation)
        self.left -= 1
        self.log.append(operation)


def fused(port: Port, fuse: Fuse | None) -> Port:
    """The port, whose operations first burn the fuse if there is one."""
    return port if fuse is None else cast(Port, _Fused(port, fuse))


class _Fused:
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
