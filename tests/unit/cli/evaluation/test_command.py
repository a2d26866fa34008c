"""The command runs model servers as its children, says what is missing, and scores datasets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from autolabel_cli import installation
from autolabel_cli.stack import Stack
from tests.datasets.drives import Labelled, Shelf, as_manifest, key_of
from tests.unit.cli.evaluation.conftest import PROJECT, Evaluate
from tests.unit.cli.evaluation.generated import ALL_OF_STUB, Picture, Thing, write_coco, write_kitti

ONE = [Picture("a", 200, 160, ALL_OF_STUB)]


def test_the_servers_of_a_checkout_are_asked(checkout: Path, tmp_path: Path, evaluate: Evaluate) -> None:
    write_coco(tmp_path / "labels", ONE)
    done = evaluate(tmp_path / "labels")
    assert done.exit_code == 0, done.output
    assert "1 frames, coco, level all" in done.output
    assert "stub *" in done.output
    document = json.loads(evaluate(tmp_path / "labels", "--models", "second,second", "--json").stdout)
    assert set(document) == {
        *("frames", "format", "level", "fused", "best_alone", "edits_per_frame", "unknown_classes", "left_out")
    }
    assert document["edits_per_frame"] == {"second": 0.0, "fused": 0.0}
    assert document["best_alone"]["car"]["model"] == "second"


def test_kittis_level_is_hard_unless_another_is_given(checkout: Path, tmp_path: Path, evaluate: Evaluate) -> None:
    low = Thing("car", (0.1, 0.4, 0.3, 0.5))
    write_kitti(tmp_path / "labels", [Picture("a", 200, 160, (low,))])
    counted = {}
    for options in ((), ("--level", "all")):
        document = json.loads(evaluate(tmp_path / "labels", "--models", "stub", "--json", *options).stdout)
        counted[document["level"]] = document["fused"]["vehicle"]["objects"]
    assert counted == {"hard": 0, "all": 1}


@pytest.mark.parametrize(
    ("setting", "value", "complaint"),
    [
        (
            "STUB_STARTUP",
            "fail",
            "the model server of stub did not start: RuntimeError: STUB_STARTUP is fail; run `make",
        ),
        ("STUB_BEHAVIOUR", "error", "a.png with status 500"),
        ("STUB_BEHAVIOUR", "garbage", "the answer of stub to "),
        ("STUB_BEHAVIOUR", "exit", "stub did not answer for "),
        ("STUB_BEHAVIOUR", "refuse", "no frame can be scored: 1 images that stub cannot decode"),
    ],
)
def test_a_model_that_fails_is_named(
    checkout: Path,
    tmp_path: Path,
    evaluate: Evaluate,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    value: str,
    complaint: str,
) -> None:
    write_coco(tmp_path / "labels", ONE)
    monkeypatch.setenv(setting, value)
    done = evaluate(tmp_path / "labels", "--models", "stub")
    assert (done.exit_code, complaint in done.output) == (1, True), done.output


def test_without_a_checkout_the_command_says_what_is_missing(
    tmp_path: Path, evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_coco(tmp_path / "labels", ONE)
    monkeypatch.setattr(installation, "_CHECKOUT", tmp_path / "nowhere")
    done = evaluate(tmp_path / "labels")
    assert done.exit_code == 1
    assert "model servers are not a part of the installed command" in done.output
    assert "make setup" in done.output


def test_an_unknown_model_is_refused_with_the_known_ones(checkout: Path, tmp_path: Path, evaluate: Evaluate) -> None:
    write_coco(tmp_path / "labels", ONE)
    done = evaluate(tmp_path / "labels", "--models", "stubb")
    assert "no model server for 'stubb'; choose from stub, second; did you mean stub?" in done.output
    assert evaluate(tmp_path / "labels", "--models", "stub", "--dataset", "d").exit_code == 2


def test_a_server_ends_with_its_parents_pipe() -> None:
    command = [sys.executable, "-m", "models.servers.stub", "--port", "0", "--until-eof"]
    server = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    server.communicate(timeout=30)
    assert server.returncode == 0


CAR, PERSON = Labelled("car", 20, 20, 60, 40), Labelled("person", 120, 30, 20, 60)


def _dataset(path: Path, count: int) -> Path:
    """Frames with a car and a person; the pre-label has the car only, and a bus that a person deleted."""
    shelf = Shelf()
    lines = []
    for index in range(count):
        line = shelf.frame(key_of(index=index), [CAR, PERSON], size=(200, 160))
        models = shelf.frame(key_of(index=index), prelabels=[CAR, Labelled("bus", 60, 90, 50, 50)], size=(200, 160))
        lines.append(line | {name: models[name] for name in ("prelabel", "prelabel-metadata")})
    path.write_bytes(as_manifest(lines))
    return path


@pytest.mark.parametrize("named", ["as frames", "as in exports", "otherwise"])
def test_a_dataset_is_joined_with_the_images_and_scored(tmp_path: Path, evaluate: Evaluate, named: str) -> None:
    true = (
        Thing("car", (0.1, 0.125, 0.4, 0.375)),
        Thing("person", (0.6, 0.1875, 0.7, 0.5625)),
        Thing("bus", (0, 0, 0, 0)),
    )
    keys = [key_of(index=index) for index in range(2)]
    names = {
        "as frames": [key.timestamp for key in keys],
        "as in exports": [f"{key.drive}.{key.camera}.{key.timestamp}" for key in keys],
        "otherwise": ["a", "b"],
    }[named]
    write_coco(tmp_path / "labels", [Picture(name, 200, 160, true) for name in names])
    source = _dataset(tmp_path / "dataset.manifest", 2)
    done = evaluate(tmp_path / "labels", "--dataset", source, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["frames"] == 2
    assert document["edits_per_frame"] == {"fused": 2.0, "final": 0.0}
    assert document["fused"]["vehicle"]["precision"] == 0.5
    assert document["fused"]["person"]["recall"] == 0.0
    assert document["final"]["person or rider"]["recall"] == 1.0
    assert document["best_alone"] == {}
    assert document["left_out"] == {"boxes without an area in their image": 2}
    assert "final" in evaluate(tmp_path / "labels", "--dataset", source).output


def test_a_published_run_is_scored(tmp_path: Path, evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf()
    monkeypatch.setattr(Stack, "find", lambda name: shelf)
    shelf.publish("drive-a", [shelf.frame(key_of(), [CAR], size=(200, 160))])
    write_coco(tmp_path, [Picture(key_of().timestamp, 200, 160, (Thing("car", (0.1, 0.125, 0.4, 0.375)),))])
    for source in ("drive-a", "drive-a@0001"):
        document = json.loads(evaluate(tmp_path, "--dataset", source, "--json").stdout)
        assert document["edits_per_frame"] == {"fused": 1.0, "final": 0.0}
    assert "no run '0009'" in evaluate(tmp_path, "--dataset", "drive-a@0009").output


def test_images_that_cannot_be_joined_are_told(tmp_path: Path, evaluate: Evaluate) -> None:
    source = _dataset(tmp_path / "dataset.manifest", 2)
    write_coco(tmp_path / "others", [Picture("a", 200, 160, ALL_OF_STUB)])
    done = evaluate(tmp_path / "others", "--dataset", source)
    assert "1 image cannot be joined in order with 2 frames of 1 camera:" in done.output
    pictures = [Picture(key_of(index=index).timestamp, 200, 160, ALL_OF_STUB) for index in (1, 5)]
    write_coco(tmp_path / "some", [*pictures, Picture(key_of().timestamp, 100, 80, ALL_OF_STUB)])
    document = json.loads(evaluate(tmp_path / "some", "--dataset", source, "--json").stdout)
    assert document["frames"] == 1
    assert document["left_out"] == {
        "images that the dataset does not have": 1,
        "images of another size than in the dataset": 1,
    }
