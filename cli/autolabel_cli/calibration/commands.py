"""The command `autolabel calibration`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click
import msgspec
from rich.table import Table

from autolabel.contracts.wording import counted
from autolabel_cli.completion import complete_drives
from autolabel_cli.drives.display import RunDisplay
from autolabel_cli.errors import CommandError
from autolabel_cli.options import json_option, stack_option
from autolabel_cli.output import console, print_json, print_table

if TYPE_CHECKING:
    from autolabel.calibration import CalibrationDocument

_MILLISECOND = 1_000_000


@click.command()
@click.argument("drive", metavar="DRIVE|FOLDER", shell_complete=complete_drives)
@click.option(
    "--tolerance",
    type=click.IntRange(0, 1_000),
    default=60,
    show_default=True,
    help="Most milliseconds between a picture and a point cloud.",
)
@json_option
@stack_option
def calibration(drive: str, tolerance: int, as_json: bool, stack_name: str) -> None:
    """Compare where the cameras of DRIVE look with what its drive.json says.

    It compares by the points of each LiDAR, whose outlines should fall on edges of the pictures, and by the lanes of
    the road, which should meet where the vehicle drives to. It reads at most 40 frames of a camera, and needs 20. It
    changes nothing: for a camera that is turned by more than 0.4° it prints the extrinsics that fit. FOLDER is a copy
    of a drive's objects: drive.json, <camera>/<timestamp>.png, <lidar>/<timestamp>.bin. The exit status is 1 if a
    camera is turned. The command needs the extra `calibration`.
    """
    # Imported here, because they load numpy and OpenCV, which the list of commands does not need.
    try:
        from autolabel_cli.calibration.drive_watch import watch_calibration
    except ModuleNotFoundError as e:
        raise CommandError(f"{e.name} is not installed: pip install 'autolabel[calibration]'") from e
    from autolabel_cli.calibration.drive_files import open_drive

    files = open_drive(drive, stack_name)
    with ExitStack() as running:
        display = None if as_json else running.enter_context(RunDisplay(console))
        document = watch_calibration(
            files,
            tolerance=tolerance * _MILLISECOND,
            tell=lambda count, total: display.count("cameras", count, total) if display else None,
        )
    if as_json:
        print_json(document)
    else:
        _show(document)
    if any(check.verdict == "turned" for check in document.checks):
        raise click.exceptions.Exit(1)


def _show(document: CalibrationDocument) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("camera", "by", "verdict", "angle", "x, y, z", "frames"):
        table.add_column(column, justify="right" if column in ("angle", "frames") else "left")
    for check in document.checks:
        measured = check.angle is not None
        angle = f"{check.angle:.2f}° ±{check.uncertainty:.2f}" if measured else "-"
        turn = ", ".join(f"{one:+.2f}" for one in check.turn) if check.turn else "-"
        table.add_row(check.camera, check.lidar or check.method, check.verdict, angle, turn, str(check.frames))
    print_table(console, table)
    for check in document.checks:
        by = f"{check.camera} by {check.lidar or check.method}"
        if check.why:
            console.print(f"{by}: {check.why}", highlight=False, markup=False, soft_wrap=True)
        if check.proposal:
            extrinsics = msgspec.json.encode(check.proposal).decode()
            console.print(f"{by}: extrinsics that fit: {extrinsics}", highlight=False, markup=False, soft_wrap=True)
    turned = {check.camera for check in document.checks if check.verdict == "turned"}
    if turned:
        said = f"{counted(len(turned), 'camera is', 'cameras are')} turned by more than {document.largest:g}°"
        console.print(f"{said}; if all cameras are turned against a LiDAR, it may be the LiDAR", highlight=False)
