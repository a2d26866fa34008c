"""How often functions were invoked and how long they took, from their logs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# What the function printed last may stand before it, on the same line.
_REPORT = re.compile(r"REPORT RequestId: \S+\tDuration: ([0-9.]+) ms(?:\tInit Duration: ([0-9.]+) ms)?")


@dataclass(frozen=True)
class Invocations:
    """Of one function. `busy`, `init`: seconds of all invocations and of all cold starts."""

    count: int
    busy: float
    cold_starts: int
    init: float


def read_invocations(folder: Path) -> dict[str, Invocations]:
    """By the functions' logical names, from the logs of an embedded cloud."""
    found = {}
    for log in sorted(folder.glob("*.log")):
        reports = [(float(took), float(init or 0)) for took, init in _REPORT.findall(log.read_text())]
        inits = [init for _, init in reports if init]
        found[log.name.split("-")[1]] = Invocations(
            len(reports), sum(took for took, _ in reports) / 1000, len(inits), sum(inits) / 1000
        )
    return found
