"""The `autolabel` command (`python -m autolabel_cli`) as a list of its commands.

Exit status: 0 when the request is done or was done before; 1 when it is refused or fails, with the reason as one line
on standard error; 2 when the command line is wrong.
"""

from __future__ import annotations

import click

from autolabel_cli import __version__
from autolabel_cli.calibration.commands import calibration
from autolabel_cli.datasets.browsing import browse
from autolabel_cli.datasets.commands import differences, export
from autolabel_cli.drives.commands import fetch, report, upload, watch
from autolabel_cli.errors import CommandGroup
from autolabel_cli.evaluation.commands import evaluate
from autolabel_cli.models.commands import models
from autolabel_cli.operations.commands import (
    capacity,
    close,
    cost,
    deploy,
    destroy,
    doctor,
    forget,
    list_drives,
    log_lines,
    redrive,
    relabel,
    status,
    stop,
    triage,
)
from autolabel_cli.training.commands import train

COMMANDS = (
    upload,
    watch,
    fetch,
    report,
    list_drives,
    status,
    log_lines,
    redrive,
    close,
    relabel,
    stop,
    triage,
    doctor,
    calibration,
    capacity,
    cost,
    forget,
    deploy,
    destroy,
    browse,
    differences,
    export,
    models,
    evaluate,
)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="autolabel", message="%(prog)s %(version)s")
def main() -> None:
    """Turn recorded drives into labelled datasets."""


# Its room stands above that of models, since it reads datasets.
models.add_command(train)
for command in COMMANDS:
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="autolabel")
