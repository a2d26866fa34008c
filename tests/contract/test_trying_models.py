"""What `autolabel models test` makes of answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from autolabel.contracts.frames import is_name
from autolabel.contracts.units import model_of_inference_id, parse_answer_key
from autolabel.models.catalogue import Model
from autolabel_cli.__main__ import main
from autolabel_cli.errors import CommandError
from autolabel_cli.models.catalogue import add_model
from autolabel_cli.models.trial import try_model
from autolabel_cli.stack import Stack
from tests.contract.model_account import (
    Account,
)
from tests.fakes.answers import DETECTOR
from tests.fakes.images import png, png_header


def attempt(account: Account, picture: Path, model: Model = DETECTOR) -> Any:
    return try_model(account.stack, model, picture, patience=0.01, tell=lambda text: None)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "street.png"
    path.write_bytes(png_header(640, 360))
    return path


def test_a_trial_asks_under_names_that_no_drive_has_and_leaves_nothing(account: Account, picture: Path) -> None:
    trial = attempt(account, picture)
    assert trial.detections
    asked = account.runtime.asked
    assert asked["InputLocation"].startswith("s3://labels/models/_trials/")
    assert model_of_inference_id(asked["InferenceId"]) is None
    assert parse_answer_key(f"inference/{asked['S3OutputPathExtension']}/{asked['Filename']}") is None
    assert not is_name(asked["S3OutputPathExtension"].split("/")[0])
    assert len(asked["Filename"]) <= 32
    assert list(account.stack.labels.list("")) == []


def test_the_picture_with_boxes_is_not_beside_the_image(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive, here = tmp_path / "drive", tmp_path / "here"
    for folder in (drive, here):
        folder.mkdir()
    (drive / "street.png").write_bytes(png(640, 360))
    add_model(account.stack, DETECTOR)
    monkeypatch.setattr(Stack, "find", lambda _: account.stack)
    monkeypatch.chdir(here)
    done = CliRunner().invoke(main, ["models", "test", "detector", str(drive / "street.png")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert [path.name for path in drive.iterdir()] == ["street.png"]
    assert (here / "street.detector.png").read_bytes() != png(640, 360)


def test_an_answer_that_the_decoder_cannot_read_names_the_decoder_that_can(account: Account, picture: Path) -> None:
    account.runtime.body = b'[{"score": 0.9, "label": "car", "box": {"xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}}]'
    trial = attempt(account, picture)
    assert trial.refused
    assert trial.fitting["hf-object-detection"] == 1
    assert trial.detections == ()


def test_an_answer_that_nobody_can_read_says_so(account: Account, picture: Path) -> None:
    account.runtime.body = b"<html>no model's answer</html>"
    assert attempt(account, picture).fitting == {}


def test_a_model_that_fails_on_the_picture_says_why(account: Account, picture: Path) -> None:
    account.runtime.fails, account.runtime.body = True, b"CUDA out of memory"
    with pytest.raises(CommandError, match="failed on the image: CUDA out of memory"):
        attempt(account, picture)
    assert list(account.stack.labels.list("models/")) == []


def test_a_trial_is_given_up_when_nothing_comes(account: Account, picture: Path) -> None:
    account.runtime.silent = True
    with pytest.raises(CommandError, match=r"did not answer within 0\.01 s.*--wait"):
        attempt(account, picture)
