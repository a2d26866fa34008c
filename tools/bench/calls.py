"""A turn that is broken off and taken up again: how many calls of the function it takes."""

from __future__ import annotations

import math

from tools.bench.figures import Figure
from tools.bench.probe import run_probe

# The function's time without what functions/reconcile spares (template.yaml; SPARE_MILLISECONDS).
CALL_SECONDS = 900 - 120
# 1,024 MB, as the template gives reconcile, are so much of a processor (1,769 MB are one).
PROCESSOR = 1024 / 1769


def call_figures(units: int, asked: int) -> list[Figure]:
    """A turn over `units` units in pieces, and how many pieces asking for a million takes, from `asked` units."""
    seconds = units * 3e-6
    pieces = run_probe("tools.bench.work.reconciling:reconcile_in_calls", units, seconds)
    cost = run_probe("tools.bench.work.asking:ask_for_units", asked)["processor"]
    calls = math.ceil(1_000_000 * cost / PROCESSOR / CALL_SECONDS)
    return [
        Figure(
            "calls",
            f"{units:,} units of each kind, broken off after {seconds:.2g} s of processor: calls",
            f"the counts of a whole turn; a report with its cursor has {pieces['bytes']} bytes",
            pieces["calls"],
        ),
        Figure(
            "calls",
            f"1,000,000 units that nobody knows: calls of {CALL_SECONDS} s",
            f"boto3 without network: {1e6 * cost:.0f} µs a unit, {1e6 * cost / PROCESSOR:.0f} µs with 1,024 MB, "
            f"{CALL_SECONDS * PROCESSOR / cost:,.0f} units a call",
            calls,
        ),
    ]
