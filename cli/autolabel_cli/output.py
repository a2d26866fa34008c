"""Output of the commands: text on the console, or one JSON document."""

from __future__ import annotations

import click
import msgspec
from rich.console import Console

console = Console()


def print_json(document: object) -> None:
    """Print a document as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
