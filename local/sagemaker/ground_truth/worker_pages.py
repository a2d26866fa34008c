"""Render worker templates as Ground Truth does: Liquid with HTML-escaped output.

Filters and the rule of escaping: developer guide, "Adding automation with Liquid" and its "Variable filters".
Variables: the `taskInput` of the built-in PRE- functions, as AWS's templates of bounding box tasks use it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from liquid import Environment, Mode
from liquid.exceptions import LiquidError
from liquid.undefined import Undefined
from markupsafe import Markup


class BadPage(Exception):
    """A template cannot be rendered; the message names the line."""


class WorkerPage:
    """A worker template, ready to be rendered; raises BadPage when its Liquid is invalid.

    `grant` returns the address under which a browser may read an S3 URI.
    """

    def __init__(self, text: str, grant: Callable[[str], str]) -> None:
        # Strict about the template's syntax, not about members that a line lacks: they render as nothing.
        environment = Environment(autoescape=True, tolerance=Mode.STRICT)

        def grant_read_access(value: object) -> str:
            return grant(value) if isinstance(value, str) and value else ""

        environment.filters |= {
            "grant_read_access": grant_read_access,
            "s3_presign": grant_read_access,
            "skip_autoescape": _skip_autoescape,
            "to_json": _to_json,
        }
        with _naming_the_line():
            try:
                self._template = environment.from_string(text)
            except LiquidError as e:
                if e.context():
                    raise
                raise BadPage(_refusal(_broken_from(environment, text, e), "", e)) from e

    def render(self, line: Mapping[str, Any], labels: Sequence[str], header: str) -> str:
        """Render the page of one manifest line; raises BadPage."""
        task_input = {
            "taskObject": line.get("source-ref"),
            "labels": list(labels),
            "manifestLine": line,
            "header": header,
        }
        with _naming_the_line():
            return self._template.render(task={"input": task_input})


@contextmanager
def _naming_the_line() -> Iterator[None]:
    try:
        yield
    except LiquidError as e:
        number, _, _, line, _ = e.context() or (1, 0, "", "", "")
        raise BadPage(_refusal(number, f" ({line.strip()})" if line else "", e)) from e


def _refusal(number: int, line: str, error: LiquidError) -> str:
    return f"The worker template breaks Liquid in line {number}{line}: {error.message}"


def _broken_from(environment: Environment, text: str, error: LiquidError) -> int:
    """Find the line of an error that does not carry it: the lines before it do not have the error."""
    lines = text.splitlines(keepends=True)
    for number in range(len(lines) - 1, 0, -1):
        try:
            environment.from_string("".join(lines[:number]))
        except LiquidError as e:
            if e.message == error.message:
                continue
        return number + 1
    return 1


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    """Convert Liquid's own values: undefined becomes null, captured text a string."""
    return None if isinstance(value, Undefined) else str(value)


def _skip_autoescape(value: object) -> Markup:
    # The purpose of the filter: the template's author vouches for the value.
    return Markup("" if isinstance(value, Undefined) else value)  # noqa: S704
