"""Prints the figures as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from tools.quality.aims import Aim
from tools.quality.edits import Edits
from tools.quality.figures import Comparison
from tools.quality.label_errors import DRAWS, TOPS, Found
from tools.quality.precision import Floats, interval
from tools.quality.uncertainty import UncertaintyFigures


def print_classes(console: Console, comparison: Comparison, title: str) -> None:
    """Print one line for each system and scored class, with a rule between classes."""
    table = _table(title, "class", "system")
    for heading in ("AP50", "AP70", "AP50:95", "precision", "recall", "precision at the best's recall"):
        table.add_column(heading, justify="right")
    for name in comparison.found:
        best = comparison.best_alone(name)
        recall = comparison.figures[best, name].recall
        for index, system in enumerate(comparison.systems):
            figures = comparison.figures[system.name, name]
            table.add_row(
                f"{name} ({comparison.objects(name)})" if not index else "",
                system.name + (" *" if system.name == best else ""),
                *(_with_interval(values) for values in (figures.ap50, figures.ap70, figures.ap)),
                _share(figures.precision),
                _share(figures.recall),
                _with_interval(figures.precision_at(recall)) if recall > 0 else "-",
                end_section=index + 1 == len(comparison.systems),
            )
    console.print(table)
    missed = [f"{name} ({comparison.objects(name)})" for name in comparison.classes if name not in comparison.found]
    if missed:
        console.print(f"No system finds an object of {', '.join(missed)}.")


def print_edits(console: Console, comparison: Comparison) -> None:
    """Print one line for each system."""
    table = _table("Edits per frame", "system")
    for kind in (*Edits._fields, "total"):
        table.add_column(kind, justify="right")
    for system in comparison.systems:
        mean = np.mean(comparison.edits[system.name], axis=0)
        table.add_row(
            system.name, *(f"{value:.2f}" for value in mean), _with_interval(comparison.edits_per_frame(system.name), 2)
        )
    console.print(table)


def print_uncertainty(console: Console, figures: Sequence[UncertaintyFigures], frames: int) -> None:
    """Print one line for each system and rule of acceptance, and one for each system and order of the queue."""
    accepted = _table(f"Accepted without a reviewer, of {frames} frames", "system", "rule")
    for heading in ("accepted", "faulty", *Edits._fields):
        accepted.add_column(heading, justify="right")
    queue = _table("The queue", "system", "order")
    for heading in ("chance that the faulty of two frames comes first", "edits in the first half"):
        queue.add_column(heading, justify="right")
    for of in figures:
        for index, one in enumerate(of.acceptances):
            name = "" if index else f"{of.system} ({of.faulty} faulty)"
            counts = map(str, (one.accepted, one.faulty, *one.edits))
            accepted.add_row(name, one.rule, *counts, end_section=index + 1 == len(of.acceptances))
        for index, order in enumerate(of.orderings):
            values = (_with_interval(order.auroc), _with_interval(order.first_half))
            queue.add_row("" if index else of.system, order.name, *values, end_section=index + 1 == len(of.orderings))
    console.print(accepted)
    console.print(queue)


def print_aims(console: Console, aims: list[Aim]) -> None:
    """Print one line for each aim."""
    table = _table("Aims", "what")
    for heading in ("measured", "at least", ""):
        table.add_column(heading, justify="right")
    for aim in aims:
        judged = np.isfinite(aim.limit)
        verdict = ("[green]met[/]" if aim.met else "[bold red]NOT MET[/]") if judged else "[dim]-[/]"
        table.add_row(aim.name, _with_interval(aim.values), f"{aim.limit:.2f}" if judged else "", verdict)
    console.print(table)


def print_label_errors(console: Console, found: Mapping[str, Found]) -> None:
    """Print one line for each system."""
    table = _table(f"Label errors injected and found, means of {DRAWS} draws", "system")
    for heading in (
        "injected",
        *(f"errors in first {top} suspects" for top in TOPS),
        "errors in all suspects",
        "errors found",
    ):
        table.add_column(heading, justify="right")
    for system, one in found.items():
        shares = (*(one.precision[top] for top in TOPS), one.chance, one.recall)
        table.add_row(system, f"{one.injected:.1f}", *(_share(share) for share in shares))
    console.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _with_interval(values: Floats, digits: int = 3) -> str:
    low, high = interval(values[1:])
    return f"{_share(float(values[0]), digits)} [dim]{_share(low, digits)} to {_share(high, digits)}[/]"


def _share(value: float, digits: int = 3) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}"
