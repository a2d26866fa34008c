"""What the command tells a person instead of a traceback."""

from __future__ import annotations

import click


class CommandError(click.ClickException):
    """Something that the person at the terminal can mend; the message names the input and what to do."""
