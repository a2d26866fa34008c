"""The items of a Map state and the inputs of its iterations."""

from __future__ import annotations

from typing import Any

from local.cloud.stepfunctions.errors import StateError
from local.cloud.stepfunctions.jsonata_templates import Evaluation
from local.cloud.stepfunctions.limits import encode

Selected = list[tuple[dict[str, Any], Any]]


def select_items(state: dict[str, Any], evaluation: Evaluation) -> Selected:
    """Return $states.context.Map.Item and the iteration's input for each item of the state."""
    items = evaluation.template(state["Items"]) if "Items" in state else evaluation.data
    return apply_selector(state, items, evaluation)


def apply_selector(state: dict[str, Any], items: Any, evaluation: Evaluation) -> Selected:
    """Do the same for given items; an object's members are items with a Key and a Value."""
    if isinstance(items, dict):
        shown = [{"Index": n, "Key": key, "Value": value} for n, (key, value) in enumerate(items.items())]
        plain: list[Any] = [{"Key": key, "Value": value} for key, value in items.items()]
    elif isinstance(items, list):
        shown = [{"Index": n, "Value": value} for n, value in enumerate(items)]
        plain = items
    else:
        raise StateError("States.QueryEvaluationError", f"the items of a Map must be an array, got {encode(items)}")
    if "ItemSelector" not in state:
        return list(zip(shown, plain, strict=True))
    return [
        (
            item,
            Evaluation(evaluation.data, {**evaluation.context, "Map": {"Item": item}}, evaluation.variables).template(
                state["ItemSelector"]
            ),
        )
        for item in shown
    ]
