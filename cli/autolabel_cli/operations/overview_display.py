"""Display of an overview on the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autolabel.contracts.wording import counted
from autolabel_cli.operations.overview import OPEN, DriveEntry, Overview, Wanted
from autolabel_cli.operations.status_display import COLOURS, age
from autolabel_cli.output import print_table

_LEAST_WIDTH = 20


def show_overview(console: Console, overview: Overview, wanted: Wanted) -> None:
    """Print an overview as a table, and below it whether it is all."""
    if overview.drives:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for heading in ("drive", "run", "state", "frames", "age"):
            table.add_column(heading, justify="right" if heading in ("frames", "age") else "left", no_wrap=True)
        table.add_column("waits for", overflow="fold", min_width=_LEAST_WIDTH)
        for entry in overview.drives:
            table.add_row(*_cells(entry, overview))
        print_table(console, table)
    console.print(f"[dim]{escape(_closing(overview, wanted))}[/]", highlight=False, soft_wrap=True)


def _cells(entry: DriveEntry, overview: Overview) -> Iterator[str]:
    yield entry.drive
    yield entry.run
    where = f" in {entry.state}" if entry.state else ""
    yield "open" if entry.status == OPEN else f"[{COLOURS.get(entry.status, 'default')}]{entry.status}[/]{where}"
    yield "" if entry.frames is None else f"{entry.frames:,}{'+' if entry.more else ''}"
    yield age(entry.since, overview.at) if entry.since else ""
    yield escape("; ".join(entry.waits_for))


def _closing(overview: Overview, wanted: Wanted) -> str:
    if not overview.known:
        return "the stack has no drives yet: autolabel upload brings one"
    known = counted(overview.known, "drive")
    what = " and ".join(["failed or were stopped"] * wanted.failed + ["wait"] * wanted.waiting)
    if overview.complete:
        shown = f"{len(overview.drives):,} of " if wanted.some else ""
        return f"{shown}{known}{what and ' '}{what}"
    which = f"{len(overview.drives):,} that {what}, of {known}" if what else f"{len(overview.drives):,} of {known}"
    return f"{which}; --limit shows more"
