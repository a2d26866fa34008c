"""Options that several commands take."""

from __future__ import annotations

import click

DEFAULT_STACK = "autolabel"
stack_option = click.option(
    "--stack", "stack_name", default=DEFAULT_STACK, show_default=True, help="The deployed stack."
)
run_option = click.option("--run", help="Run of the drive, for example 0002; the latest by default.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
