"""How far a run of states has come: what redriving an execution needs to go on from there."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """One strand: an execution, a branch or an iteration.

    `state`, `data` and `variables` belong to the state that runs or failed; a state that has exited leaves nothing.
    `inner` holds what that state has begun: the strands of its branches or iterations, or its map run.
    """

    state: str
    data: Any
    variables: dict[str, Any] = field(default_factory=dict)
    entered: float | None = None
    inner: Any = None
    finished: bool = False
    output: Any = None

    def enter(self) -> None:
        """Note that the state's work begins."""
        self.entered = time.time()

    def advance(self, target: str | None, output: Any, variables: dict[str, Any]) -> None:
        """Leave the state for `target`, or end when there is none."""
        self.variables = variables
        self.entered = None
        self.inner = None
        if target is None:
            self.finished = True
            self.output = output
        else:
            self.state = target
            self.data = output
