"""Counts the calls of the function that a reconcile pass takes when each call stops at its time limit."""

from __future__ import annotations

import math

from tools.bench.figures import Figure
from tools.bench.probe import run_probe

# The function's Timeout in template.yaml, less SPARE_MILLISECONDS of functions/reconcile.
CALL_SECONDS = 900 - 120
# Share of a processor: the template gives reconcile 1,024 MB, and Lambda gives one processor for 1,769 MB.
PROCESSOR = 1024 / 1769


def call_figures(units: int, asked: int) -> list[Figure]:
    """Calls of a pass over `units` units, and calls that queue a million unknown units.

    The second figure follows from the processor time of queueing `asked` units.
    """
    seconds = units * 3e-6
    pieces = run_probe("tools.bench.work.reconciling:reconcile_in_calls", units, seconds)
    cost = run_probe("tools.bench.work.asking:ask_for_units", asked)["processor"]
    calls = math.ceil(1_000_000 * cost / PROCESSOR / CALL_SECONDS)
    return [
        Figure(
            "calls",
            f"calls for {units:,} units of each kind, each stopped after {seconds:.2g} s of processor time",
            f"the counts of one whole pass; a report with its cursor has {pieces['bytes']} bytes",
            pieces["calls"],
        ),
        Figure(
            "calls",
            f"calls of {CALL_SECONDS} s for 1,000,000 unknown units",
            f"boto3 without network: {1e6 * cost:.0f} µs a unit, {1e6 * cost / PROCESSOR:.0f} µs with 1,024 MB, "
            f"{CALL_SECONDS * PROCESSOR / cost:,.0f} units a call",
            calls,
        ),
    ]
