"""Worker templates as Ground Truth renders them: Liquid whose output is HTML-escaped.

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
    """A worker template, ready to be rendered; raises BadPage when it breaks Liquid.

    `grant` gives the address under which a browser may read an S3 URI.
    """

    def __init__(self, text: str, grant: Callable[[str], str]) -> None:
        # Strict about what the template says, not about what a line lacks: that renders as nothing.
        environment = Environment(autoescape=True, tolerance=Mode.STRICT)

        def grant_read_access(value: object) -> str:
            return grant(value) if isinstance(value, str) and value else ""

        environment.filters |= {
            "grant_read_access": grant_read_access,
            "s3_presign": grant_read_access,
            "skip_autoescape": _skip_autoescape,
            "to_json": _to_json,
        }
        self._last_line = text.count("\n") + 1
        with self._naming_the_line():
            self._template = environment.from_string(text)

    def render(self, line: Mapping[str, Any], labels: Sequence[str], header: str) -> str:
        """The page of one manifest line; raises BadPage."""
        task_input = {
            "taskObject": line.get("source-ref"),
            "labels": list(labels),
            "manifestLine": line,
            "header": header,
        }
        with self._naming_the_line():
            return self._template.render(task={"input": task_input})

    @contextmanager
    def _naming_the_line(self) -> Iterator[None]:
        try:
            yield
        except LiquidError as e:
            place = e.context()
            # What is never closed is found missing at the end.
            number, text = (place[0], f" ({place[3].strip()})") if place else (self._last_line, "")
            raise BadPage(f"The worker template breaks Liquid in line {number}{text}: {e.message}") from e


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    """What is not of JSON: nothing, or text that Liquid has captured."""
    return None if isinstance(value, Undefined) else str(value)


def _skip_autoescape(value: object) -> Markup:
    # What the filter is for: the template's author vouches for the value.
    return Markup("" if isinstance(value, Undefined) else value)  # noqa: S704
