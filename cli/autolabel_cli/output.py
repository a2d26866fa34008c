"""Output of the commands: text on the console, or one JSON document."""

from __future__ import annotations

import sys

import click
import msgspec
from rich.console import Console
from rich.table import Table

# Programs that read a pipe take it line by line, so nothing may be wrapped or cut there.
_WIDER_THAN_ANY_LINE = 1_000_000

console = Console(width=None if sys.stdout.isatty() else _WIDER_THAN_ANY_LINE, emoji=False)


def print_table(console: Console, table: Table) -> None:
    """Print a table. Without a terminal, no line ends with the spaces that fill its last column."""
    if console.is_terminal:
        console.print(table, highlight=False)
        return
    with console.capture() as captured:
        console.print(table, highlight=False)
    for line in captured.get().splitlines():
        console.print(line.rstrip(), highlight=False, markup=False, soft_wrap=True)


def print_json(document: object) -> None:
    """Print a document as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
