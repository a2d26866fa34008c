"""Remember how policies are parsed and which actions their patterns match: ministack does both anew at each request."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

from local.cloud import symbols

# Policies and pairs of an action and a statement that are remembered. A stack has some hundred of the former.
_POLICIES, _PAIRS = 4_096, 65_536


# `Any`: what ministack's own functions take and return. None of its callers changes a statement.
def install_policy_cache() -> None:
    """Let the evaluator parse each policy once, and match each action and statement once."""
    symbols.wrap("core.iam_evaluator", "parse_policy_document", _parsed_once, parameters=("doc",))
    symbols.wrap(
        "core.iam_evaluator",
        "_action_matches",
        _matched_once,
        parameters=("request_action", "actions", "not_actions"),
    )


def _parsed_once(original: Any) -> Any:
    parse = functools.lru_cache(_POLICIES)(original)

    def parse_policy_document(doc: str | dict[str, Any]) -> list[Any]:
        # A copy: a caller may change the list.
        return list(parse(doc if isinstance(doc, str) else json.dumps(doc)))

    return parse_policy_document


def _matched_once(original: Any) -> Any:
    @functools.lru_cache(_PAIRS)
    def match(action: str, actions: tuple[str, ...], not_actions: tuple[str, ...]) -> bool:
        return bool(original(action, actions, not_actions))

    def action_matches(request_action: str, actions: Sequence[str], not_actions: Sequence[str]) -> bool:
        return match(request_action, tuple(actions), tuple(not_actions))

    return action_matches
