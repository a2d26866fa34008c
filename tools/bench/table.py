"""Prints the figures as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tools.bench.figures import Figure

_VERDICTS = {True: "[green]pass[/]", False: "[bold red]FAIL[/]", None: "[dim]-[/]"}


def print_figures(console: Console, figures: Sequence[Figure]) -> None:
    """Print one line for each figure, with a rule between groups."""
    table = Table(title="Figures, as ratios", title_justify="left")
    table.add_column("what")
    table.add_column("figure")
    table.add_column("ratio", justify="right")
    table.add_column("limit", justify="right")
    table.add_column("")
    table.add_column("measured")
    for figure, following in zip(figures, [*figures[1:], None], strict=True):
        table.add_row(
            figure.group,
            figure.name,
            f"{figure.ratio:.3f}",
            str(figure.limit) if figure.limit else "",
            _VERDICTS[figure.passed],
            figure.measured,
            end_section=following is None or following.group != figure.group,
        )
    console.print(table)
