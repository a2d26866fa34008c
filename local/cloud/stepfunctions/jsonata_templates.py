"""JSONata in state machines: templates whose strings between {% and %} are expressions."""

from __future__ import annotations

import hashlib
import json
import math
import random
import uuid
from collections.abc import Mapping
from typing import Any

import jsonata
from jsonata.utils import Utils

from local.cloud.stepfunctions.errors import StateError

EXPRESSION_MS = 1000
_ABSENT = object()
_HASHES = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}


def is_expression(value: Any) -> bool:
    """Tell whether a value is a string with an expression."""
    return isinstance(value, str) and value.startswith("{%") and value.endswith("%}")


def check_syntax(value: Any, path: str) -> list[str]:
    """List the malformed expressions in a template, as "path: reason"."""
    if isinstance(value, dict):
        return [problem for key, item in value.items() for problem in check_syntax(item, f"{path}/{key}")]
    if isinstance(value, list):
        return [problem for n, item in enumerate(value) for problem in check_syntax(item, f"{path}/{n}")]
    if is_expression(value):
        try:
            jsonata.Jsonata.jsonata(value[2:-2].strip())
        except Exception as error:
            return [f"{path}: malformed JSONata: {error}"]
    return []


class Evaluation:
    """The scope of a state's expressions: $states.input, $states.context, and the variables at the state's entry."""

    def __init__(self, data: Any, context: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
        self.data = data
        self.context = context
        self.variables = variables

    def template(self, value: Any, *, result: Any = _ABSENT, error: Any = _ABSENT) -> Any:
        """Replace every expression in `value` by its result.

        Raises StateError States.QueryEvaluationError when an expression fails or yields nothing.
        """
        if isinstance(value, dict):
            return {key: self.template(item, result=result, error=error) for key, item in value.items()}
        if isinstance(value, list):
            return [self.template(item, result=result, error=error) for item in value]
        if not is_expression(value):
            return value
        states: dict[str, Any] = {"input": self.data, "context": dict(self.context)}
        if result is not _ABSENT:
            states["result"] = result
        if error is not _ABSENT:
            states["errorOutput"] = error
        return _evaluate(value[2:-2].strip(), {**self.variables, "states": states})

    def number(self, field: str, value: Any, *, whole: bool = True) -> float:
        """Evaluate a field that must be a number of at least 0, literal or by expression."""
        number = self.template(value)
        if isinstance(number, bool) or not isinstance(number, int | float) or number < 0:
            raise StateError("States.QueryEvaluationError", f"{field} must be a number >= 0, got {json.dumps(number)}")
        if whole and number != int(number):
            raise StateError("States.QueryEvaluationError", f"{field} must be a whole number, got {number}")
        return number


def _evaluate(expression: str, bindings: Mapping[str, Any]) -> Any:
    bound = {name: Utils.NULL_VALUE if value is None else value for name, value in bindings.items()}
    try:
        value = _compile(expression).evaluate(None, bound)
        if value is None and not _compile(f"$exists(({expression}))").evaluate(None, bound):
            raise StateError("States.QueryEvaluationError", f"The expression yields nothing: {expression}")
        return _plain(value)
    except StateError:
        raise
    except Exception as error:
        code = getattr(error, "error", "")
        raise StateError("States.QueryEvaluationError", f"{code}: {error} in {expression}") from error


def _compile(expression: str) -> Any:
    compiled = jsonata.Jsonata.jsonata(expression, timeout=EXPRESSION_MS)
    for name, function in _FUNCTIONS.items():
        compiled.register_lambda(name, function)
    return compiled


def _plain(value: Any) -> Any:
    """Convert a result to plain JSON data; raises ValueError for functions and other values."""
    if value is Utils.NULL_VALUE:
        return None
    if isinstance(value, bool) or value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(item) for item in value]
    raise ValueError(f"the result must be a JSON value, got {type(value).__name__}")


def _partition(array: list[Any], size: float) -> list[list[Any]]:
    step = math.floor(size)
    if step <= 0:
        raise ValueError("$partition needs a size above zero")
    return [list(array[start : start + step]) for start in range(0, len(array), step)]


def _range(first: float, last: float, step: float) -> list[int]:
    start, end, by = math.floor(first), math.floor(last), math.floor(step)
    if by == 0:
        raise ValueError("$range needs a step other than zero")
    return list(range(start, end + (1 if by > 0 else -1), by))


def _hash(text: str, algorithm: str) -> str:
    if algorithm not in _HASHES or not isinstance(text, str):
        raise ValueError(f"$hash takes a string and one of {', '.join(_HASHES)}")
    return hashlib.new(_HASHES[algorithm], text.encode()).hexdigest()


def _random(seed: float | None = None) -> float:
    return random.random() if seed is None else random.Random(math.floor(seed)).random()  # noqa: S311


def _uuid() -> str:
    return str(uuid.uuid4())


def _parse(text: str) -> Any:
    return json.loads(text)


def _eval(*_: Any) -> Any:
    raise ValueError("$eval is not available in Step Functions; use $parse")


_FUNCTIONS = {
    "partition": _partition,
    "range": _range,
    "hash": _hash,
    "random": _random,
    "uuid": _uuid,
    "parse": _parse,
    "eval": _eval,
}
