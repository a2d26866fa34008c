"""The progress of a run of states, from which a redrive continues."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """One strand: an execution, a branch or an iteration.

    `state`, `data` and `variables` belong to the running or failed state; nothing is kept of states that have exited.
    `inner`: the parts that the state has begun, its branches' or iterations' strands, or its map run.
    """

    state: str
    data: Any
    variables: dict[str, Any] = field(default_factory=dict)
    entered: float | None = None
    inner: Any = None
    finished: bool = False
    output: Any = None

    def enter(self) -> None:
        """Record that the state's work begins."""
        self.entered = time.time()

    def advance(self, target: str | None, output: Any, variables: dict[str, Any]) -> None:
        """Leave the state for `target`; None ends the strand."""
        self.variables = variables
        self.entered = None
        self.inner = None
        if target is None:
            self.finished = True
            self.output = output
        else:
            self.state = target
            self.data = output
