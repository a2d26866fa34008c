"""Reads the number and the duration of function invocations from their logs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# The function's last output may precede it on the same line.
_REPORT = re.compile(r"REPORT RequestId: \S+\tDuration: ([0-9.]+) ms(?:\tInit Duration: ([0-9.]+) ms)?")


@dataclass(frozen=True)
class Invocations:
    """Invocations of one function. `busy`: seconds of all invocations; `init`: seconds of all cold starts."""

    count: int
    busy: float
    cold_starts: int
    init: float


def read_invocations(folder: Path) -> dict[str, Invocations]:
    """Invocations by the functions' logical names, from the log folder of an embedded cloud."""
    found = {}
    for log in sorted(folder.glob("*.log")):
        reports = [(float(took), float(init or 0)) for took, init in _REPORT.findall(log.read_text())]
        inits = [init for _, init in reports if init]
        found[log.name.split("-")[1]] = Invocations(
            len(reports), sum(took for took, _ in reports) / 1000, len(inits), sum(inits) / 1000
        )
    return found
