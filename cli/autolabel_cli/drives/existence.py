"""Checks that a drive and its runs exist."""

from __future__ import annotations

from autolabel.contracts.frames import DRIVE_DOCUMENT, drive_prefix, is_name
from autolabel.contracts.ports import Refusal
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack


def check_drive(stack: Stack, drive: str, run: str | None = None) -> None:
    """Check that the drive exists and can have runs; CommandError for one that is unknown or refused.

    With `run`, CommandError as well when the drive has runs, but not this one. A drive that is not closed yet passes.
    """
    if not is_name(drive):
        raise invalid_name(drive)
    if latest := stack.ledger.latest_run(drive):
        if run is not None and run != latest.run and stack.ledger.find_run(drive, run) is None:
            raise CommandError(f"drive {drive!r} has no run {run!r}; its latest run is {latest.run}")
        return
    if next(iter(stack.ingest.list(drive_prefix(drive))), None) is None:
        raise unknown_drive(stack, drive)
    if refusal := _refusal(stack, drive):
        raise CommandError(f"drive {drive!r} has no run, because its drive.json was refused: {refusal.detail}")


def invalid_name(drive: str) -> CommandError:
    return CommandError(f"{drive!r} is not a valid drive name: use letters, digits, _ and -")


def unknown_drive(stack: Stack, drive: str) -> CommandError:
    return CommandError(
        f"stack {stack.name!r} has no drive {drive!r}: no object is under {stack.ingest.uri(drive_prefix(drive))}"
    )


def _refusal(stack: Stack, drive: str) -> Refusal | None:
    """Return the refusal of the drive document, unless a newer document has come since."""
    key = drive_prefix(drive) + DRIVE_DOCUMENT
    refusal = next((one for one in stack.ledger.refusals(drive) if one.key == key), None)
    document = next((one for one in stack.ingest.list(key) if one.key == key), None)
    return refusal if refusal and (document is None or refusal.at >= document.modified) else None
