"""What all states of one execution share."""

from __future__ import annotations

import datetime
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
        """Make a map run known."""

    def run_child(self, child: Execution, definition: dict[str, Any], cancellation: Cancellation) -> None:
        """Run a child execution to its end; its status tells how that was."""

    def new_child(self, map_run: MapRun, data: Any, definition: dict[str, Any]) -> Execution:
        """Make a child execution known."""


@dataclass(frozen=True)
class Runtime:
    """The world around an execution: `wait_scale` is a factor on Wait states and retry back-off."""

    execution: Execution
    clients: Clients
    tokens: TaskTokens
    children: ChildRunner
    wait_scale: float


@dataclass(frozen=True)
class Strand:
    """Where a state runs: its progress, its events, what cancels it, and the item if it is an iteration."""

    progress: Progress
    trail: Trail
    cancellation: Cancellation
    map_item: dict[str, Any] | None = None


def iso(moment: float) -> str:
    """A moment as the context object shows it."""
    text = datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
