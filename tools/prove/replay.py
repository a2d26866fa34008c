"""Runs real code one call to AWS at a time, without threads.

A process is a plain function of clients. To take it one call further, the explorer runs it again from its start. The
history answers its earlier calls, and at the next call the process is left. The histories of a process form a tree of
positions, which grows where the exploration goes. A position is small, never changes and can be shared.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec


class Call(msgspec.Struct, frozen=True, eq=False):
    """A call to AWS that a process is about to make."""

    service: str
    operation: str
    parameters: dict[str, Any]


class Tape(Protocol):
    """Answers calls to AWS."""

    def ask(self, service: str, operation: str, parameters: dict[str, Any]) -> Any: ...


class _Left(BaseException):
    """Leaves the process at a call that has no answer yet. A BaseException, so that no error handler catches it."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.call = call


class _History:
    """Answers calls with the earlier answers, in order."""

    def __init__(self, answers: list[Any]) -> None:
        self._answers = iter(answers)

    def ask(self, service: str, operation: str, parameters: dict[str, Any]) -> Any:
        for answer in self._answers:
            if isinstance(answer, Exception):
                raise answer
            return answer
        raise _Left(Call(service, operation, parameters))


def client(tape: Tape, service: str) -> Any:
    """A stand-in for boto3's client of a service; the one place where a stand-in is let through as boto3's own type."""
    return _S3Client(tape, service) if service == "s3" else _Client(tape, service)


class _Client:
    """A client whose calls a tape answers."""

    def __init__(self, tape: Tape, service: str) -> None:
        self._tape = tape
        self._service = service

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        return lambda **parameters: self._tape.ask(self._service, operation, parameters)


class _S3Client(_Client):
    """The client of S3, with bodies and pages; each page is a call of its own."""

    def get_object(self, **parameters: Any) -> dict[str, Any]:
        answer = self._tape.ask(self._service, "get_object", parameters)
        return {**answer, "Body": _Body(answer["Body"])}

    def get_paginator(self, operation: str) -> _S3Client:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, **parameters: Any) -> Iterator[dict[str, Any]]:
        while True:
            page = self._tape.ask(self._service, "list_objects_v2", parameters)
            yield page
            if not page["IsTruncated"]:
                return
            parameters = {**parameters, "ContinuationToken": page["Contents"][-1]["Key"]}


class _Body:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def read(self, limit: int | None = None) -> bytes:
        return self._body[:limit]

    def close(self) -> None:
        """Does nothing: nothing is open."""

    def iter_chunks(self, _: int) -> Iterator[bytes]:
        return iter([self._body])

    def iter_lines(self, _: int) -> Iterator[bytes]:
        return iter(self._body.splitlines())


class Position:
    """A point in a process: `call` is its next call; without one it has ended, and `result` is its value or error.

    `function` names the process and `argument` is what it works on. Positions with the same history are one object.
    """

    _ids = itertools.count()
    __slots__ = (
        "_after",
        "_before",
        "_run",
        "answer",
        "argument",
        "beyond",
        "call",
        "call_number",
        "function",
        "id",
        "result",
    )

    def __init__(
        self,
        function: str,
        argument: Any,
        run: Callable[[Tape], Any],
        before: Position | None = None,
        answer: Any = None,
    ) -> None:
        self.id = next(self._ids)
        self.function = function
        self.argument = argument
        self.answer = answer
        self._run = run
        self._before = before
        self._after: dict[int, Position] = {}
        self.call: Call | None = None
        self.call_number: int | None = None
        self.beyond: Position | None = None
        self.result: Any = None
        try:
            self.result = run(_History([p.answer for p in self.path()][1:]))
        except _Left as left:
            self.call = left.call
        except Exception as e:  # the readers of `result` judge it
            self.result = e

    def path(self) -> list[Position]:
        """The positions from the start to this one."""
        path = [self]
        while path[-1]._before is not None:
            path.append(path[-1]._before)
        return path[::-1]

    def after(self, answer: Any, answer_id: int) -> Position:
        """The position after the call, when this is its answer; `answer_id` is the number of the answer."""
        if answer_id not in self._after:
            self._after[answer_id] = Position(self.function, self.argument, self._run, self, answer)
        return self._after[answer_id]
