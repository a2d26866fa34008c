"""Resolve policy variables such as ${aws:PrincipalTag/vehicle}, which ministack takes as plain text.

Source: IAM User Guide, "IAM policy elements: Variables and tags". A statement with a variable that the request has no
value for matches nothing. A value with a wildcard would be plain text on AWS; here, too, it matches nothing. Variables
in NotResource stay plain text.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from local.cloud import symbols

_VARIABLE = re.compile(r"\$\{([^}*?$]+)\}")


def install_policy_variables() -> None:
    """Resolve the variables in the resources and conditions of roles' and users' policies, and of trust policies."""

    def with_resources(original: Any) -> Any:
        def first_match(ctx: Any, stmts: Sequence[Any], effect: str) -> Any:
            return original(ctx, [_resolved_statement(one, ctx) for one in stmts], effect)

        return first_match

    def with_conditions(original: Any) -> Any:
        def conditions_met(conditions: Mapping[str, Any], ctx: Any) -> bool:
            resolved = {operator: _resolved_tests(tests, ctx) for operator, tests in (conditions or {}).items()}
            known = all([] not in tests.values() for tests in resolved.values())
            return known and bool(original(resolved, ctx))

        return conditions_met

    symbols.wrap("core.iam_evaluator", "_first_match", with_resources, parameters=("ctx", "stmts", "effect"))
    symbols.wrap("core.iam_evaluator", "_conditions_met", with_conditions, parameters=("conditions", "ctx"))


def _resolved_statement(statement: Any, ctx: Any) -> Any:
    if not any("${" in pattern for pattern in statement.resources):
        return statement
    # A statement without resources would match every resource.
    resources = _resolved_values(statement.resources, ctx) or ["no-such-resource"]
    return dataclasses.replace(statement, resources=resources)


def _resolved_tests(tests: Mapping[str, Any], ctx: Any) -> dict[str, Any]:
    return {
        key: _resolved_values(values if isinstance(values, list) else [values], ctx) if "${" in str(values) else values
        for key, values in tests.items()
    }


def _resolved_values(values: Sequence[str], ctx: Any) -> list[str]:
    """Resolve the variables of some values; values with an unknown variable are left out."""
    resolved = (_resolved(value, ctx) for value in values)
    return [value for value in resolved if value is not None]


def _resolved(value: str, ctx: Any) -> str | None:
    find = symbols.find("core.iam_evaluator", "_resolve_condition_key")
    found = {name: find(name, ctx) for name in _VARIABLE.findall(value)}
    if any(not isinstance(known, str) or re.search(r"[*?]", known) for known in found.values()):
        return None
    return _VARIABLE.sub(lambda match: str(found[match[1]]), value)
