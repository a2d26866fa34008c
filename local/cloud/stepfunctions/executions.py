"""Records of executions and map runs, and their store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local.cloud.stepfunctions.cancellation import Cancellation
from local.cloud.stepfunctions.history import History
from local.cloud.stepfunctions.progress import Progress

ENDED_BADLY = ("FAILED", "ABORTED", "TIMED_OUT")


@dataclass
class Machine:
    """A state machine as an execution sees it: with the definition at the execution's start."""

    arn: str
    name: str
    role_arn: str
    definition: dict[str, Any]
    text: str


@dataclass
class Execution:
    """One execution, or a child execution of a map run."""

    arn: str
    name: str
    machine: Machine
    input_text: str
    data: Any
    progress: Progress
    map_run: MapRun | None = None
    begun: bool = True
    status: str = "RUNNING"
    started: float = field(default_factory=time.time)
    stopped: float | None = None
    output: Any = None
    error: str | None = None
    cause: str | None = None
    redrives: int = 0
    redriven: float | None = None
    redrive_tokens: dict[str, float] = field(default_factory=dict)
    history: History = field(default_factory=History)
    cancellation: Cancellation = field(default_factory=Cancellation)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def finish(self, status: str, *, output: Any = None, error: str | None = None, cause: str | None = None) -> bool:
        """Set the final status; return False if the execution had ended already."""
        with self.lock:
            if self.status != "RUNNING":
                return False
            self.status, self.output, self.error, self.cause = status, output, error, cause
            self.stopped = time.time()
            return True

    def reopen(self) -> None:
        """Set the execution running again for a redrive."""
        with self.lock:
            self.status, self.stopped = "RUNNING", None
            self.output = self.error = self.cause = None
            self.redrives += 1
            self.redriven = time.time()
            self.cancellation = Cancellation()


@dataclass
class MapRun:
    """The child executions of one Distributed Map state. `items`: the number of items of each child."""

    arn: str
    execution: Execution
    label: str
    max_concurrency: int
    tolerated_count: int | None
    tolerated_percentage: float | None
    children: list[Execution] = field(default_factory=list)
    items: list[int] = field(default_factory=list)
    status: str = "RUNNING"
    started: float = field(default_factory=time.time)
    stopped: float | None = None
    redrives: int = 0
    redriven: float | None = None
    results_written: int = 0

    def too_many_failures(self) -> bool:
        """Tell whether too many items have failed for the state's tolerance; without a tolerance, none may fail."""
        failed = sum(n for n, child in zip(self.items, self.children, strict=True) if child.status in ENDED_BADLY)
        if failed == 0:
            return False
        if self.tolerated_count is None and self.tolerated_percentage is None:
            return True
        by_count = self.tolerated_count is not None and failed > self.tolerated_count
        share = self.tolerated_percentage
        return by_count or (share is not None and failed * 100 > share * sum(self.items))


class ExecutionStore:
    """All executions and map runs of one cloud, oldest first."""

    def __init__(self) -> None:
        self._executions: dict[str, Execution] = {}
        self._map_runs: dict[str, MapRun] = {}
        self._lock = threading.RLock()

    def add_or_get(self, arn: str, make: Callable[[], Execution]) -> tuple[Execution, bool]:
        """Return the execution of an ARN, made by `make` if it is new, and whether it is new."""
        with self._lock:
            known = self._executions.get(arn)
            if known is not None:
                return known, False
            self._executions[arn] = make()
            return self._executions[arn], True

    def execution(self, arn: str) -> Execution | None:
        with self._lock:
            return self._executions.get(arn)

    def executions(self, keep: Callable[[Execution], bool]) -> list[Execution]:
        with self._lock:
            return [execution for execution in self._executions.values() if keep(execution)]

    def add_map_run(self, map_run: MapRun) -> None:
        with self._lock:
            self._map_runs[map_run.arn] = map_run

    def map_run(self, arn: str) -> MapRun | None:
        with self._lock:
            return self._map_runs.get(arn)

    def map_runs(self, execution_arn: str) -> list[MapRun]:
        with self._lock:
            return [run for run in self._map_runs.values() if run.execution.arn == execution_arn]
