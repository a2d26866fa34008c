"""Errors that end a state.

Exception
├── StateError   a named error that Retry and Catch may handle
└── Cancelled    the execution, or the part of it with this state, is being ended from outside
"""

from __future__ import annotations


class StateError(Exception):
    """An error with a name and a cause, as Step Functions reports it."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause


class Cancelled(Exception):
    """The work must not continue."""


def matches(error_equals: list[str], error: str) -> bool:
    """Tell whether a Retry or Catch entry covers an error (Amazon States Language, "Errors")."""
    if error in error_equals:
        return True
    if error in ("States.DataLimitExceeded", "States.Runtime"):
        return False
    return "States.ALL" in error_equals or ("States.TaskFailed" in error_equals and error != "States.Timeout")
