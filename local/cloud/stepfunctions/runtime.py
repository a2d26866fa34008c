"""Values that all states of one execution share."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from local.cloud.stepfunctions.attempts import TaskTokens
from local.cloud.stepfunctions.cancellation import Cancellation
from local.cloud.stepfunctions.executions import Execution, MapRun
from local.cloud.stepfunctions.history import Trail
from local.cloud.stepfunctions.integrations.clients import Clients
from local.cloud.stepfunctions.progress import Progress


class ChildRunner(Protocol):
    """Runs the child executions of map runs."""

    def new_map_run(self, execution: Execution, map_run: MapRun) -> None:
        """Register a map run."""

    def run_child(self, child: Execution, definition: dict[str, Any], cancellation: Cancellation) -> None:
        """Run a child execution to its end; the outcome is in its status."""

    def new_child(self, map_run: MapRun, data: Any, definition: dict[str, Any]) -> Execution:
        """Register a child execution."""


@dataclass(frozen=True)
class Runtime:
    """The environment of an execution.

    `wait_scale`: a factor on Wait states and retry back-off. `count_transition`: called with the state machine's name
    when a state is entered, and when it is tried again.
    """

    execution: Execution
    clients: Clients
    tokens: TaskTokens
    children: ChildRunner
    wait_scale: float
    count_transition: Callable[[str], None]


@dataclass(frozen=True)
class Strand:
    """The place of a state: progress, events, cancellation, and the item of an iteration."""

    progress: Progress
    trail: Trail
    cancellation: Cancellation
    map_item: dict[str, Any] | None = None


def iso(moment: float) -> str:
    """Format a time as the context object shows it."""
    text = datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
