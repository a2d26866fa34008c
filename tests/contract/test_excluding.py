"""`forget --reviewer` and `--model`: what they find, what a decision changes, and that it can be taken back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from autolabel.contracts.run_folder import RunFolder
from autolabel.labels import Exclusions, read_exclusions
from autolabel.triage.audits import evidence_key
from autolabel_cli.__main__ import main
from autolabel_cli.datasets.exporting import _lines
from autolabel_cli.datasets.sources import find_source
from autolabel_cli.drives.results import write_exclusions
from autolabel_cli.errors import CommandError
from autolabel_cli.operations import excluding
from autolabel_cli.operations.interventions import Intervention
from autolabel_cli.stack import Stack
from tests.contract.model_account import Account
from tests.datasets.drives import Labelled, Shelf, key_of

CAR = Labelled("car", 2, 3, 20, 10)
ANN, BOB = "private.eu-central-1.ann", "private.eu-central-1.bob"


def reviewed(shelf: Shelf, drive: str, index: int, worker: str, run: str = "0001") -> dict[str, Any]:
    return {**shelf.frame(key_of(drive, index=index), [CAR], run=run), "review": {"worker": worker}}


@pytest.fixture
def stack(account: Account, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """Drive `a` was reviewed by Ann and Bob, and Ann's labels were kept in its second run; `b` is accepted and Bob's.

    `c` is not published yet.
    """
    shelf = Shelf()
    shelf.publish("a", [reviewed(shelf, "a", i, (ANN, BOB)[i % 2]) for i in range(4)])
    shelf.publish("a", [reviewed(shelf, "a", i, ANN, run="0002") for i in range(3)], run="0002")
    accepted = [shelf.frame(key_of("b", index=i), prelabels=[CAR, CAR]) for i in range(2)]
    shelf.publish("b", [*accepted, reviewed(shelf, "b", 2, BOB)])
    shelf.publish("c", [], outcome="")
    shelf.labels.write(evidence_key("r", "a", "0002"), b"{}")
    shelf.labels.write(RunFolder("c", "0001").drive_document, b"{}")
    stack = account.stack
    for key, body in shelf.labels.objects.items():
        stack.labels.write(key, body)
    for run in shelf.ledger.runs.values():
        stack.ledger.allocate_run(run)
        if outcome := shelf.ledger.outcome(run.drive, run.run):
            stack.ledger.finish_run(run, outcome, 1.0)
    monkeypatch.setattr(Stack, "find", lambda name: stack)
    monkeypatch.setattr(excluding, "caller", lambda stack: "me")
    return stack


def forget(*words: str) -> Result:
    return CliRunner().invoke(main, ["forget", *words])


def exported(stack: Stack, *sources: str) -> dict[str, list[str]]:
    """The timestamps' last digits, by the reason why they are left out."""
    found = dict[str, list[str]]()
    for _, line, why in _lines([find_source(one, stack) for one in sources], stack):
        found.setdefault(why, []).append(line.frame.timestamp[-1])
    return found


def test_a_reviewer_is_found_in_every_published_run_and_nothing_is_changed(stack: Stack) -> None:
    before = [found.key for found in stack.labels.list("")]
    digits = hashlib.sha256(ANN.encode()).hexdigest()[:8]
    found = json.loads(forget("--reviewer", digits, "--json").output)
    assert (found["name"], found["excluded"], found["open_runs"]) == (ANN, False, ["c-0001"])
    counts = [(one["drive"], one["run"], one["frames"], one["boxes"], one["evidence"]) for one in found["runs"]]
    assert counts == [("a", "0001", 2, 2, 0), ("a", "0002", 3, 3, 1)]
    said = forget("--reviewer", ANN).output
    assert f"reviewer {ANN}: 5 frames in 2 published runs of 1 drive" in said
    assert "not published yet, and so not looked at: c-0001" in said
    assert [found.key for found in stack.labels.list("")] == before
    assert "no published run has a label of reviewer 'eve'" in forget("--reviewer", "eve").output


def test_an_exclusion_asks_first_and_can_be_taken_back(stack: Stack, tmp_path: Path) -> None:
    assert forget("--reviewer", BOB, "--exclude").exit_code == 2
    assert not read_exclusions(stack.labels)
    receipt = tmp_path / "receipt.json"
    done = forget("--reviewer", BOB, "--exclude", "--yes", "--receipt", str(receipt))
    assert (done.exit_code, "give the command again when the open runs are published" in done.output) == (0, True)
    assert json.loads(receipt.read_text())["touched"]["name"] == BOB
    assert read_exclusions(stack.labels) == Exclusions(frozenset({BOB}), frozenset(), frozenset({"a-0001", "b-0001"}))
    assert exported(stack, "a@0001", "b") == {"": ["0", "2", "0", "1"], "excluded reviewer": ["1", "3", "2"]}
    # The dataset itself stays.
    assert len(list(stack.labels.lines(RunFolder("a", "0001").dataset))) == 4
    written = stack.labels.list("exclusions/")
    again = [one.etag for one in written]
    assert forget("--reviewer", BOB, "--exclude", "--yes").exit_code == 0
    assert [one.etag for one in stack.labels.list("exclusions/")] == again
    assert forget("--reviewer", BOB, "--include", "--yes").exit_code == 0
    assert exported(stack, "a@0001", "b") == {"": ["0", "1", "2", "3", "0", "1", "2"]}
    assert read_exclusions(stack.labels).runs == frozenset()


def test_a_model_loses_what_no_person_labelled(stack: Stack, tmp_path: Path) -> None:
    found = json.loads(forget("--model", "yolox-nano", "--json").output)
    counts = [(one["drive"], one["run"], one["frames"], one["boxes"], one["shown"]) for one in found["runs"]]
    assert counts == [("a", "0001", 0, 0, 4), ("a", "0002", 0, 0, 3), ("b", "0001", 2, 4, 1)]
    assert forget("--model", "yolox-nano.0001", "--exclude", "--yes").exit_code == 0
    assert exported(stack, "b") == {"excluded model": ["0", "1"], "": ["2"]}
    # A fetched dataset knows the exclusions that were fetched with it.
    manifest = tmp_path / "dataset.manifest"
    manifest.write_bytes(b"\n".join(stack.labels.lines(RunFolder("b", "0001").dataset)))
    assert find_source(str(manifest), None).exclusions(None) == Exclusions()
    write_exclusions(stack, tmp_path)
    assert find_source(str(manifest), None).exclusions(None).models == {"yolox-nano.0001"}
    # Fetched again, it knows that the decision was taken back.
    assert forget("--model", "yolox-nano.0001", "--include", "--yes").exit_code == 0
    write_exclusions(stack, tmp_path)
    assert find_source(str(manifest), None).exclusions(None) == Exclusions()


def test_only_latest_runs_are_labelled_again_and_one_refusal_stops_no_other(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def relabel(stack: Stack, drive: str) -> Intervention:
        if drive == "a":
            raise CommandError("run 0002 of drive a is running")
        return Intervention(drive, "0002", "started", f"drive {drive} is labelled again")

    monkeypatch.setattr(excluding, "relabel_drive", relabel)
    stack.labels.write(RunFolder("b", "0001").dataset, b"\n".join(stack.labels.lines(RunFolder("a", "0001").dataset)))
    done = forget("--reviewer", ANN, "--relabel", "--yes")
    assert (done.exit_code, "run 0002 of drive a is running" in done.output) == (1, True)
    assert "drive b is labelled again" in done.output
    assert read_exclusions(stack.labels).reviewers == {ANN}


def test_a_drive_that_would_ask_the_model_again_is_not_labelled_again(stack: Stack) -> None:
    stack.labels.write("catalogue/catalogue.json", b'{"models": {"yolox-nano": "0001"}, "active": ["yolox-nano"]}')
    done = forget("--model", "yolox-nano", "--relabel", "--yes")
    assert (done.exit_code, "because model yolox-nano is active: autolabel models remove" in done.output) == (1, True)


@pytest.mark.parametrize(
    "words", [(), ("a", "--reviewer", "x"), ("a", "--exclude"), ("--model", "m", "--relabel", "--include")]
)
def test_a_request_that_says_two_things_is_refused(words: tuple[str, ...]) -> None:
    assert forget(*words).exit_code == 2
