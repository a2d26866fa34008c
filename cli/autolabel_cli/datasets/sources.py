"""Sources of an export: published runs of a stack, or files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from autolabel.contracts.drive import Sensors
from autolabel.contracts.frames import is_name
from autolabel.contracts.run_folder import RunFolder
from autolabel.labels import Exclusions, read_exclusions
from autolabel.triage import Certificate
from autolabel_cli.drives.frame_copies import copies_of
from autolabel_cli.drives.results import EXCLUSIONS
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack

# A line of a job's manifest has at most 100,000 characters, and comes back with one more label.
_LONGEST_LINE = 1_000_000


class RunFacts(msgspec.Struct):
    """The parts of a summary that name its run, say what was proven of the classes, and have the calibrations."""

    drive: str
    run: str
    certificates: tuple[Certificate, ...] = ()
    sensors: Sensors | None = None


class Source(NamedTuple):
    """Dataset manifest: of a `drive` and `run` of a stack, or of a file at `path`."""

    drive: str = ""
    run: str = ""
    path: Path | None = None

    def __str__(self) -> str:
        return str(self.path) if self.path else f"{self.drive}@{self.run}"

    @property
    def copies(self) -> Path | None:
        """Folder that has its frames under their keys; None when the stack has them."""
        return copies_of(self.path) if self.path else None

    def lines(self, stack: Stack | None) -> Iterator[bytes]:
        """Yield its lines. CommandError when the manifest no longer exists."""
        if self.path:
            with self.path.open("rb") as manifest:
                while line := manifest.readline(_LONGEST_LINE):
                    yield line
        elif stack:
            key = RunFolder(self.drive, self.run).dataset
            try:
                yield from stack.labels.lines(key)
            except KeyError as e:
                uri = stack.labels.uri(key)
                raise CommandError(f"{self} is published, but {uri} is missing: restore it or relabel the drive") from e

    def exclusions(self, stack: Stack | None) -> Exclusions:
        """Read the exclusions of the stack and, of a manifest that was fetched, those that were fetched with it."""
        known = read_exclusions(stack.labels) if stack else Exclusions()
        if self.path is None or not (beside := self.path.with_name(EXCLUSIONS)).is_file():
            return known
        try:
            fetched = msgspec.json.decode(beside.read_bytes(), type=Exclusions)
        except msgspec.DecodeError as e:
            raise CommandError(f"{beside} is not a list of exclusions ({e}): fetch the run again") from e
        return known.plus(fetched)

    def facts(self, stack: Stack | None, drive: str, run: str) -> RunFacts:
        """Read what the summary of a run says of it, or the summary beside the manifest.

        It says nothing without such a summary.
        """
        body = None
        if self.path is None and stack:
            body = stack.labels.read(RunFolder(drive, run).summary)
        elif self.path and (beside := self.path.with_name("summary.json")).is_file():
            body = beside.read_bytes()
        try:
            found = msgspec.json.decode(body, type=RunFacts) if body else None
        except msgspec.DecodeError:
            # The file beside the manifest is another program's.
            found = None
        return found if found and (found.drive, found.run) == (drive, run) else RunFacts(drive, run)


def find_source(text: str, stack: Stack | None) -> Source:
    """Find the source for `DRIVE`, `DRIVE@RUN` or a path. CommandError for an unpublished run or a missing file."""
    drive, at, run = text.partition("@")
    if not is_name(drive) or (at and not run.isdigit()):
        path = Path(text)
        if not path.is_file():
            raise CommandError(
                f"{text!r} is neither a drive nor a file: give <drive>, <drive>@<run> or a dataset.manifest file"
            )
        return Source(path=path)
    if stack is None:
        raise CommandError(f"drive {drive!r} cannot be found without a stack: give --stack")
    return Source(drive, stack.published_run(drive, run))


def is_file(text: str) -> bool:
    """Tell whether the text is a path: names of drives hold neither dots nor slashes."""
    return not is_name(text.partition("@")[0])
