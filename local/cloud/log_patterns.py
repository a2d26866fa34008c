"""Text patterns of CloudWatch Logs' FilterLogEvents (CloudWatch Logs user guide, filter pattern syntax)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from local.cloud import symbols

# A term with its sign: `-` leaves lines with it out, of all with `?` one is enough. Quotes hold a term together.
_TERM = re.compile(r'([?-]?)(?:"((?:\\.|[^"\\])*)"|(\S+))')
# Patterns of fields, of columns, and regular expressions begin like this.
_OTHER_KINDS = ("{", "[", "%")


def install_log_patterns() -> None:
    """Let FilterLogEvents match text as AWS does, and refuse the patterns that are not supported."""
    module, name = "services.cloudwatch_logs", "_filter_log_events"
    refusal = symbols.find("core.responses", "error_response_json")

    def refusing(filter_events: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        def answer(data: dict[str, Any]) -> Any:
            if str(data.get("filterPattern", "")).strip().startswith(_OTHER_KINDS):
                return refusal("InvalidParameterException", "the embedded cloud knows patterns of text only", 400)
            return filter_events(data)

        return answer

    symbols.wrap(module, name, refusing, parameters=("data",))
    symbols.replace(module, "_compile_filter_pattern", matcher, parameters=("raw",))


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return the test whether a line matches a pattern of text."""
    signs = {"": list[str](), "-": list[str](), "?": list[str]()}
    for sign, quoted, plain in _TERM.findall(pattern):
        signs[sign].append(re.sub(r"\\(.)", r"\1", quoted) or plain)

    def matches(line: str) -> bool:
        return (
            all(term in line for term in signs[""])
            and not any(term in line for term in signs["-"])
            and (not signs["?"] or any(term in line for term in signs["?"]))
        )

    return matches
