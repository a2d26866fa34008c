"""Executions that outlive their cloud: ended ones are there again, and open ones start anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from local.cloud.stepfunctions.engine import Engine
from local.cloud.stepfunctions.executions import Execution, Machine
from local.cloud.stepfunctions.history import History
from local.cloud.stepfunctions.progress import Progress
from local.records import Records

_KEPT = ("status", "started", "stopped", "output", "error", "cause", "redrives", "redriven")


class KeptExecutions:
    """Records of executions, without child executions; `find_machine` returns the state machine of an ARN or None."""

    def __init__(self, records: Records, engine: Engine, find_machine: Callable[[str], Machine | None]) -> None:
        self._records = records
        self._engine = engine
        self._find_machine = find_machine
        self._open: list[Execution] = []

    def keep(self, execution: Execution) -> None:
        """Record an execution, and its history once it has ended."""
        history = [] if execution.status == "RUNNING" else execution.history.events()
        kept = {name: getattr(execution, name) for name in _KEPT} | {
            "name": execution.name,
            "machine": {name: value for name, value in asdict(execution.machine).items() if name != "definition"},
            "input": execution.input_text,
            "history": history,
        }
        self._records.put("execution", "", execution.arn, kept)

    def restore(self) -> None:
        """Make all executions known; the open ones do not run yet."""
        for arn, kept in self._records.all("execution"):
            execution = _restored(arn, kept)
            self._engine.store.add_or_get(arn, lambda found=execution: found)  # type: ignore[misc]
            if execution.status == "RUNNING":
                self._open.append(execution)

    def resume(self) -> list[str]:
        """Start the open executions anew, with their machines' present definitions; return their names."""
        begun = []
        for execution in self._open:
            machine = self._find_machine(execution.machine.arn)
            # Without its machine, an execution stays open until it is stopped.
            if machine is not None and execution.status == "RUNNING":
                self._engine.start_anew(execution, machine)
                begun.append(execution.name)
        return begun


def _restored(arn: str, kept: dict[str, Any]) -> Execution:
    """Make an execution of its record. A redrive of a failed one begins at the first state."""
    machine = Machine(definition=json.loads(kept["machine"]["text"]), **kept["machine"])
    data = json.loads(kept["input"])
    return Execution(
        arn,
        kept["name"],
        machine,
        kept["input"],
        data,
        Progress(machine.definition["StartAt"], data),
        history=History(kept["history"]),
        **{name: kept[name] for name in _KEPT},
    )
