"""Breaks one rule of the code at a time, and shows which test notices.

`python -m tools.mutants [--only PART ...] [--suite unit|protocol]`. The rules are in `mutants.toml`. A mutant is found
by its text and not by its path, so that the table stays as it is when code moves. Ends with 1 when a mutant survives,
or when its text is not in the code exactly once.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

Suite = Literal["unit", "protocol"]
PROJECT = Path(__file__).parents[1]
TABLE = Path(__file__).with_name("mutants.toml")
# Where the texts of mutants are looked for.
CODE = ("functions/", "layers/", "statemachine/", "template.yaml")
FOLDERS: dict[Suite, str] = {"unit": "tests/unit/", "protocol": "tests/exploration/"}
# Files of such names are of the protocol too, wherever they are.
PROTOCOL_FILE = re.compile(r"tests/.*test_[^/]*completion_protocol[^/]*\.py")
# Either suite takes about a minute, and several on a busy machine. Some mutants make worlds without an end.
TIME_LIMIT = 400.0
# pytest's exit codes: a test failed; nothing was selected. A mutant that cannot be imported ends otherwise.
ALL_PASSED, SOME_FAILED, NONE_SELECTED = 0, 1, 5
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", re.MULTILINE)


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule, and a change that breaks it: `find` stands in the code exactly once, and `put` takes its place.

    `suites`: those that must notice. `likely`: words for pytest's `-k`. Unit tests that they select run before all
    others, which saves time and decides nothing.
    """

    name: str
    find: str
    put: str
    suites: tuple[Suite, ...] = ("unit",)
    likely: str = ""


class Outcome(NamedTuple):
    """What the tests made of a mutant: `killed`, `SURVIVED`, or why neither can be said; and the test that failed."""

    result: str
    test: str = ""


class Checkout:
    """A copy of the files that git tracks, to be broken."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, check=True, capture_output=True, text=True)
        self._names = [name for name in listed.stdout.split("\0") if name and (PROJECT / name).is_file()]
        for name in self._names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, folder / name)
        options = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]
        own = [str(folder / place) for place in options["pythonpath"]]
        # Without compiled files, which could outlive the text that they were compiled from.
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join(own), "PYTHONDONTWRITEBYTECODE": "1"}

    def places(self, text: str) -> list[Path]:
        """The files of the code that hold a text, each as often as it does."""
        files = [self._folder / name for name in self._names if name.startswith(CODE)]
        return [file for file in files for _ in range(file.read_bytes().count(text.encode()))]

    def judge(self, mutant: Mutant, suite: Suite, path: Path) -> Outcome:
        """What a suite makes of a mutant, whose text is in the file at `path`."""
        body = path.read_bytes()
        path.write_bytes(body.replace(mutant.find.encode(), mutant.put.encode()))
        try:
            return self.test(suite, mutant.likely)
        finally:
            path.write_bytes(body)

    def test(self, suite: Suite, likely: str = "") -> Outcome:
        """Run a suite up to the first test that fails."""
        selection = [FOLDERS[suite]]
        if suite == "protocol":
            named = filter(PROTOCOL_FILE.fullmatch, self._names)
            selection += [name for name in named if not name.startswith(FOLDERS[suite])]
        for words in (["-k", likely], []) if likely and suite == "unit" else ([],):
            pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *selection, *words]
            try:
                ran = subprocess.run(
                    pytest, cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=TIME_LIMIT
                )
            except subprocess.TimeoutExpired:
                return Outcome("TOO SLOW")
            if ran.returncode == SOME_FAILED and (failed := _FAILED.findall(ran.stdout)):
                return Outcome("killed", failed[-1])
            if ran.returncode != ALL_PASSED and not (ran.returncode == NONE_SELECTED and words):
                print(ran.stdout[-2_000:], ran.stderr[-2_000:], file=sys.stderr)
                return Outcome("BROKEN")
        return Outcome("SURVIVED")


def judge_all(checkout: Checkout, chosen: list[Mutant], suites: list[Suite], *, whole: bool) -> Iterator[bool]:
    """Judge mutants, if the table is `whole` the code as it is first; print a line for each, and say if it is good."""
    places = {mutant: checkout.places(mutant.find) for mutant in chosen}
    for mutant, paths in places.items():
        if len(paths) != 1:
            yield _print(mutant.name, "", Outcome("NO TEXT", f"in the code {len(paths)} times"), 0.0, good=False)
    pairs = [(one, suite) for one in chosen for suite in one.suites if suite in suites and len(places[one]) == 1]
    for suite in dict.fromkeys(suite for _, suite in pairs if whole):
        # Tests that fail anyway would notice every mutant.
        begun = time.monotonic()
        good = (outcome := checkout.test(suite)).result == "SURVIVED"
        outcome = Outcome("passes") if good else outcome
        yield _print("the code as it is", suite, outcome, time.monotonic() - begun, good=good)
    for mutant, suite in pairs:
        begun = time.monotonic()
        outcome = checkout.judge(mutant, suite, places[mutant][0])
        yield _print(mutant.name, suite, outcome, time.monotonic() - begun, good=outcome.result == "killed")


def _print(name: str, suite: str, outcome: Outcome, seconds: float, *, good: bool) -> bool:
    print(f"{name:72}  {suite:8}  {outcome.result:8}  {seconds:3.0f} s  {outcome.test}".rstrip(), flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description="Which tests notice broken rules.")
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="mutants whose names have such a part")
    parser.add_argument("--suite", choices=["unit", "protocol"], help="this suite alone")
    arguments = parser.parse_args()
    parts: list[str] = arguments.only
    suites: list[Suite] = [arguments.suite] if arguments.suite else ["unit", "protocol"]
    table = msgspec.toml.decode(TABLE.read_bytes(), type=dict[str, list[Mutant]])["mutants"]
    chosen = [mutant for mutant in table if not parts or any(part in mutant.name for part in parts)]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        good = list(judge_all(Checkout(Path(folder)), chosen, suites, whole=not parts))
    print(f"{sum(good)} of {len(good)} lines are as they should be")
    return 0 if good and all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
