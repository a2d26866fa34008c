"""The log lines and traces of a call name its drive, and not the drive of an earlier call."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from autolabel.aws import observability
from tests.contract.template import ROOT, functions

SOURCES = {name: (ROOT / "functions" / name / "app.py").read_text() for name in functions()}
OF_ONE_DRIVE = sorted(name for name, source in SOURCES.items() if "\n    drive: str\n" in source)


class Trace:
    def __init__(self) -> None:
        self.annotations: list[tuple[str, str]] = []

    def put_annotation(self, key: str, value: str) -> None:
        self.annotations.append((key, value))


class Context:
    function_name = memory_limit_in_mb = invoked_function_arn = aws_request_id = "x"


def test_a_line_names_the_drive_of_its_call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logger, trace = Logger(service="naming"), Trace()
    monkeypatch.setattr(observability, "logger", logger)
    monkeypatch.setattr(observability, "tracer", trace)

    @logger.inject_lambda_context(clear_state=True)
    def handler(event: dict[str, Any], context: object) -> None:
        logger.warning("before")
        observability.name_drive(event["drive"])
        logger.warning("after")

    handler({"drive": "a"}, Context())
    handler({"drive": "b"}, Context())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("drive") for line in lines] == [None, "a", None, "b"]
    assert trace.annotations == [("drive", "a"), ("drive", "b")]


@pytest.mark.parametrize("function", OF_ONE_DRIVE)
def test_a_function_that_serves_one_drive_names_it_first(function: str) -> None:
    (handler,) = [
        node
        for node in ast.parse(SOURCES[function]).body
        if isinstance(node, ast.FunctionDef) and node.name == "handler"
    ]
    assert ast.unparse(handler.decorator_list[0]) == "logger.inject_lambda_context(clear_state=True)"
    assert ast.unparse(handler.body[1]) == "name_drive(request.drive)"
