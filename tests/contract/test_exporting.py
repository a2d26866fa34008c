"""`autolabel export` on AWS: the run that is meant, its dataset and its frames, by conditional reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from autolabel_cli.__main__ import main
from autolabel_cli.errors import CommandError
from autolabel_cli.installation import DATUMARO
from autolabel_cli.stack import Stack
from tests.contract.model_account import Account
from tests.datasets.drives import Labelled, Shelf, key_of

CAR = Labelled("car", 2, 3, 20, 10)


@pytest.fixture
def stack(account: Account, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A drive of two published runs and one under way; the first has 300 frames more than the second."""
    try:
        DATUMARO.python()
    except CommandError as e:
        pytest.skip(e.message)
    shelf = Shelf()
    for run, frames, outcome in (("0001", 310, "published"), ("0002", 10, "published"), ("0003", 0, "")):
        lines = [shelf.frame(key_of(index=i), [CAR], run=run) for i in range(frames)]
        shelf.publish("drive-a", lines, run=run, vehicle=f"car of {run}", outcome=outcome)
    stack = account.stack
    for there, here in ((shelf.ingest, stack.ingest), (shelf.labels, stack.labels)):
        for key, body in there.objects.items():
            here.write(key, body)
    for run in shelf.ledger.runs.values():
        stack.ledger.allocate_run(run)
        if outcome := shelf.ledger.outcome(run.drive, run.run):
            stack.ledger.finish_run(run, outcome, 1.0)
    monkeypatch.setattr(Stack, "find", lambda name: stack)
    return stack


def export(folder: Path, *words: str) -> Any:
    return CliRunner().invoke(main, ["export", *words, "--format", "yolo", "--to", str(folder)], catch_exceptions=False)


@pytest.mark.parametrize(("source", "frames", "run"), [("drive-a", 10, "0002"), ("drive-a@0001", 310, "0001")])
def test_the_run_that_is_meant_is_exported(stack: Stack, tmp_path: Path, source: str, frames: int, run: str) -> None:
    split = ("--split", "train=1", "--split-by", "vehicle")
    assert export(tmp_path / "out", source, *split).exit_code == 0
    card = msgspec.json.decode((tmp_path / "out" / "dataset.json").read_bytes())
    assert [(d["run"], d["frames"], d["vehicle"]) for d in card["drives"]] == [(run, frames, f"car of {run}")]
    images = list((tmp_path / "out" / "images" / "train").iterdir())
    assert len(images) == frames
    assert images[0].read_bytes() == stack.ingest.read(key_of().key)


def test_a_frame_that_was_overwritten_is_refused_by_name(stack: Stack, tmp_path: Path) -> None:
    stack.ingest.write(key_of(index=3).key, b"others")
    ended = export(tmp_path / "out", "drive-a")
    assert (ended.exit_code, key_of(index=3).key in ended.output) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_that_is_gone_is_said_so(stack: Stack, tmp_path: Path) -> None:
    stack.client("s3").delete_object(Bucket="labels", Key="labels/drive-a/0002/dataset.manifest")
    assert (
        "drive-a@0002 is published, but s3://labels/labels/drive-a/0002" in export(tmp_path / "out", "drive-a").output
    )
