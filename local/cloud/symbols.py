"""Replace parts of ministack, after a check that they are the ones that this code was written for."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

MINISTACK = "1.5.33"


class IncompatibleMinistack(RuntimeError):
    """The installed ministack is not the one that the embedded cloud patches."""


def check_version() -> None:
    """Raise IncompatibleMinistack unless exactly the pinned version is installed."""
    installed = metadata.version("ministack")
    if installed != MINISTACK:
        raise IncompatibleMinistack(f"ministack {installed} is installed, but the embedded cloud needs {MINISTACK}")


def find(module: str, name: str) -> Any:
    """Return a module-level object of ministack, for example ("services.sqs", "_queues")."""
    try:
        return getattr(importlib.import_module(f"ministack.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise IncompatibleMinistack(f"ministack {MINISTACK} has no {module}.{name}") from error


def replace(module: str, name: str, replacement: Any, *, parameters: Sequence[str] | None = None) -> Any:
    """Put `replacement` where ministack keeps `name`; return the original.

    `parameters`: the original's parameter names. A function with other parameters is refused.
    """
    original = find(module, name)
    if parameters is not None:
        _check_parameters(original, parameters, f"{module}.{name}")
    setattr(importlib.import_module(f"ministack.{module}"), name, replacement)
    return original


def wrap(module: str, name: str, make: Callable[[Any], Any], *, parameters: Sequence[str]) -> None:
    """Replace `name` by the function that `make` builds around the original."""
    replace(module, name, make(find(module, name)), parameters=parameters)


def _check_parameters(function: Callable[..., Any], expected: Sequence[str], symbol: str) -> None:
    found = list(inspect.signature(function).parameters)
    if found != list(expected):
        raise IncompatibleMinistack(
            f"ministack {MINISTACK}: {symbol} takes {found}, but the embedded cloud was written for {list(expected)}"
        )
