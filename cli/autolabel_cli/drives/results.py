"""Download of a run's results."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from autolabel.contracts.run_folder import RunFolder
from autolabel.labels import read_exclusions
from autolabel.verification import rounds_of
from autolabel_cli.drives.existence import check_drive
from autolabel_cli.drives.run_progress import RunProgress, RunView
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack

# A fetched file with the exclusions that were in force. Exports of the fetched dataset honour it.
EXCLUSIONS = "exclusions.json"


class StateDescription(msgspec.Struct, frozen=True):
    """A state of an execution; `exited` and `seconds` are None while the state runs."""

    name: str
    entered: str
    exited: str | None
    seconds: float | None


class ExecutionDescription(msgspec.Struct, frozen=True):
    """The document execution.json."""

    arn: str
    status: str
    error: str
    cause: str
    states: tuple[StateDescription, ...]


def fetch_run(stack: Stack, drive: str, run: str, folder: Path) -> dict[str, Any]:
    """Write a run's manifests, issues, report, summary and execution into a folder, and return the summary.

    `verify.manifest` is the manifests of all its verification jobs in one file. CommandError when the drive or the run
    is unknown or refused, or the run has no summary yet.
    """
    summary = read_summary(stack, drive, run)
    keys = RunFolder(drive, run)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "verify.manifest").open("wb") as manifest:
        for one in rounds_of(stack.labels, keys):
            # Second looks and later attempts have frames of the first again.
            if one.round == 1:
                manifest.writelines(stack.labels.stream(one.manifest))
    for name, key in (
        ("dataset.manifest", keys.dataset),
        ("report.html", keys.report),
        ("suspects.jsonl", keys.label_issues),
        ("rejected.jsonl", keys.rejected),
        ("failed.jsonl", keys.failed),
    ):
        if stack.labels.exists(key):
            with (folder / name).open("wb") as out:
                out.writelines(stack.labels.stream(key))
    write_exclusions(stack, folder)
    view = RunView(stack, drive, run)
    progress = view.look()
    _write_json(folder / "execution.json", describe_execution(view.arn, progress))
    summary["execution"] = {"arn": view.arn, "status": progress.status}
    _write_json(folder / "summary.json", summary)
    return summary


def write_exclusions(stack: Stack, folder: Path) -> None:
    """Write the exclusions that are in force into a folder; without one, the file of an earlier fetch goes."""
    if exclusions := read_exclusions(stack.labels):
        _write_json(folder / EXCLUSIONS, exclusions)
    else:
        (folder / EXCLUSIONS).unlink(missing_ok=True)


def read_summary(stack: Stack, drive: str, run: str) -> dict[str, Any]:
    """Read a run's summary, with all its keys: a run of another version may have keys that this one does not know.

    CommandError when the drive or the run is unknown or refused, or the run has no summary yet.
    """
    check_drive(stack, drive, run)
    body = stack.labels.read(RunFolder(drive, run).summary)
    if body is None:
        raise CommandError(
            f"run {run} of drive {drive} has no summary yet, because it is not assembled: "
            f"autolabel status {drive} says how far it is"
        )
    # `Any`: the keys are those of the run's version.
    summary: dict[str, Any] = msgspec.json.decode(body)
    return summary


def fetch_report(stack: Stack, drive: str, run: str, path: Path) -> None:
    """Write a run's report into a file. It has its pictures in itself. CommandError as for `read_summary`."""
    read_summary(stack, drive, run)
    key = RunFolder(drive, run).report
    if not stack.labels.exists(key):
        raise CommandError(f"run {run} of drive {drive} has no report yet: autolabel status {drive} says how far it is")
    with path.open("wb") as out:
        out.writelines(stack.labels.stream(key))


def describe_execution(arn: str, progress: RunProgress) -> ExecutionDescription:
    """Describe an execution: its states with their times."""
    states = tuple(
        StateDescription(
            state.name,
            _time(state.entered),
            None if state.exited is None else _time(state.exited),
            None if state.exited is None else round(state.exited - state.entered, 3),
        )
        for state in progress.states
    )
    return ExecutionDescription(arn, progress.status, progress.error, progress.cause, states)


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Write a summary, with all its keys: a run of another version may have keys that this one does not know."""
    _write_json(folder / "summary.json", summary)


def _write_json(path: Path, document: object) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
