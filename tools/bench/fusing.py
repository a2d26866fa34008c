"""Figures of merging the detections of several models, over reading their answers."""

from __future__ import annotations

from tools.bench.figures import Figure
from tools.bench.probe import run_probe

_WORK = "tools.bench.work.fusing"


def merge_figures(rounds: int, calls: int = 5) -> list[Figure]:
    """Figures of frames with few and with many objects; each of three models detects all of them."""
    figures = []
    for objects in (10, 30, 100):
        took = run_probe(f"{_WORK}:time_frame", objects, rounds, calls)
        milli = {name: f"{1e3 * took[name]:.2f} ms" for name in ("json", "decode", "merge", "single")}
        size = f"{took['found']} detections of 3 models"
        for name, own, reference in (
            ("merged, over json.loads of the answers", "merge", "json"),
            ("decoded, over json.loads of the answers", "decode", "json"),
            ("one model's, over json.loads of all answers", "single", "json"),
        ):
            figures.append(
                Figure("merge", name, f"{size}: {milli[own]}, {milli[reference]}", took[own] / took[reference])
            )
    return figures
