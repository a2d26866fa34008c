"""Evaluate functions in a template's Conditions that ministack treats as plain values, unequal to all others."""

from __future__ import annotations

from typing import Any

from local.cloud import symbols

_EVALUATED = {"Fn::And", "Fn::Equals", "Fn::Not", "Fn::Or", "Fn::Select"}
# The modules that have imported the function by name.
_USERS = ("engine", "changesets", "handlers", "stacks")


def install_conditions() -> None:
    """Evaluate Fn::Join in conditions, and refuse functions that would not be evaluated."""
    for user in _USERS:
        symbols.wrap(
            f"services.cloudformation.{user}",
            "_evaluate_conditions",
            lambda evaluate: lambda template, params: evaluate(joined(template, params), params),
            parameters=("template", "params"),
        )


def joined(template: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """Replace every Fn::Join in a template's conditions by its text; raises ValueError for unknown functions."""
    return {**template, "Conditions": _joined(template.get("Conditions") or {}, params)}


def _joined(value: Any, params: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_joined(item, params) for item in value]
    if not isinstance(value, dict):
        return value
    if "Fn::Join" in value:
        delimiter, items = value["Fn::Join"]
        return str(delimiter).join(_texts(items, params))
    if unknown := [name for name in value if name.startswith("Fn::") and name not in _EVALUATED]:
        raise ValueError(f"{unknown[0]} in a condition is not supported by the embedded cloud")
    return {name: _joined(item, params) for name, item in value.items()}


def _texts(items: Any, params: dict[str, Any]) -> list[str]:
    """Return the members of a list, or of the parameter that a Ref names; CloudFormation has no nested lists."""
    if isinstance(items, list):
        return [text for item in items for text in _texts(item, params)]
    if isinstance(items, dict) and items.keys() == {"Ref"} and items["Ref"] in params:
        parameter = params[items["Ref"]]
        is_list = str(parameter.get("Type", "")).startswith(("CommaDelimitedList", "List<"))
        value = str(parameter["Value"])
        return [member.strip() for member in value.split(",")] if is_list else [value]
    if isinstance(items, dict) and "Fn::Join" in items:
        return [_joined(items, params)]
    if isinstance(items, dict):
        raise ValueError(f"Fn::Join of {items} in a condition is not supported by the embedded cloud")
    return [str(items)]
