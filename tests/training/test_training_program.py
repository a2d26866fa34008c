"""The training program by the container contract, with a tiny network and pictures of coloured squares."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from models.servers.coco import NAMES
from models.servers.grid import decode_grid
from models.training.classes import ClassesRefused, channel_of, extend_classes

ROOT = Path(__file__).resolve().parents[2]
TRAINER = ROOT / ".venv-train" / "bin" / "python"
SIDE = 64
KNOWN = {"car": "car", "person": "person"}
# BGR on grey: what a single pooled pixel can tell.
COLOURS = {"car": (230, 20, 20), "trailer": (20, 20, 230)}
# Trains in several folders, since torch takes seconds to load; its status is the number of successes.
MANY = """
import pathlib, sys
from models.training.__main__ import main
sys.exit(sum(main(pathlib.Path(base)) == 0 for base in sys.argv[1:]))
"""
with_torch = pytest.mark.skipif(not TRAINER.exists(), reason="torch is not installed: `make setup-train`")


def test_a_class_that_the_model_lacks_takes_an_unused_output() -> None:
    names = ("car", "dog", "cat", "cow")
    assert extend_classes({"car": "car"}, ["car", "van", "trailer"], names) == {
        "car": "car",
        "cow": "trailer",
        "cat": "van",
    }
    assert channel_of({"car": "car", "cow": "car", "cat": "van"}, names) == {"car": 0, "van": 2}
    with pytest.raises(ClassesRefused, match="1 unused outputs for 2 new classes"):
        extend_classes({"car": "car", "dog": "rider", "cat": "bus"}, ["van", "trailer"], names)
    with pytest.raises(ClassesRefused, match="names horse, which the network has no output for"):
        extend_classes({"horse": "car"}, [], names)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "model.onnx"
    subprocess.run([TRAINER, "-m", "tests.training.tiny_network", path], cwd=ROOT, check=True)
    return path


def prepare(base: Path, network: Path, **hyperparameters: str) -> None:
    """Fill the folders of a container with labelled frames; the model begins from `network`."""
    frames, labels, start = (base / "input" / "data" / name for name in ("frames", "labels", "start"))
    for folder in (frames / "d" / "front", labels, start, base / "input" / "config"):
        folder.mkdir(parents=True)
    luck, lines = np.random.default_rng(1), []
    for number in range(24):
        image = np.full((SIDE, SIDE, 3), 128, np.uint8)
        boxes = []
        for name, across in (("car", 0), ("trailer", 32)):
            left, top = (int(each) for each in 8 * luck.integers(0, 3, 2))
            image[top : top + 16, across + left : across + left + 16] = COLOURS[name]
            boxes.append([name, across + left, top, across + left + 16, top + 16])
        cv2.imwrite(str(frames / "d" / "front" / f"{number}.png"), image)
        lines.append(json.dumps({"frame": f"d/front/{number}.png", "boxes": boxes, "regions": []}))
    (labels / "labels.jsonl").write_text("\n".join(lines) + "\n")
    with tarfile.open(start / "model.tar.gz", "w:gz") as archive:
        archive.add(network, "model.onnx")
    asked = {"classes": json.dumps(KNOWN), "steps": "60", "rate": "0.05", **hyperparameters}
    (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(asked))


def run(base: Path) -> subprocess.CompletedProcess[str]:
    environment: Mapping[str, str] = {**os.environ, "SAGEMAKER_BASE_DIR": str(base)}
    return subprocess.run([TRAINER, "-m", "models.training"], cwd=ROOT, env=environment, capture_output=True, text=True)


@with_torch
def test_the_trained_network_is_the_same_file_with_other_numbers_and_knows_the_new_class(
    tmp_path: Path, network: Path
) -> None:
    prepare(tmp_path, network)
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "step 60 of 60" in done.stdout
    classes = json.loads((tmp_path / "model" / "classes.json").read_text())
    assert classes == {**KNOWN, NAMES[-1]: "trailer"}
    path = tmp_path / "model" / "model.onnx"
    assert abs(path.stat().st_size - network.stat().st_size) < 200
    session = onnxruntime.InferenceSession(str(path))
    image = np.full((SIDE, SIDE, 3), 128, np.float32)
    image[8:24, 40:56] = COLOURS["trailer"]
    (raw,) = session.run(None, {"images": np.ascontiguousarray(image.transpose(2, 0, 1)[None])})
    boxes, scores = decode_grid(raw[0], SIDE)
    cell, output = np.unravel_index(scores.argmax(), scores.shape)
    assert output == len(NAMES) - 1
    # A cell of 8 pixels cannot tell which quarter of the square it shows.
    assert np.abs(boxes[cell] - [40, 8, 56, 24]).max() < 9
    # An output that nothing trained stays unlikely.
    assert scores[cell, NAMES.index("dog")] < scores[cell, output] / 2


@with_torch
def test_a_repeated_training_leaves_the_same_bytes(tmp_path: Path, network: Path) -> None:
    for name in ("a", "b"):
        prepare(tmp_path / name, network, steps="5")
    both = [tmp_path / name for name in ("a", "b")]
    assert subprocess.run([TRAINER, "-c", MANY, *both], cwd=ROOT).returncode == 2
    first, second = ((tmp_path / name / "model" / "model.onnx").read_bytes() for name in ("a", "b"))
    assert first == second


WRONG = {
    "line": ("input/data/labels/labels.jsonl", b"{}\n", "labels.jsonl, line 1 is not a labelled frame"),
    "empty": ("input/data/labels/labels.jsonl", b"", "has no object in 0 frames"),
    "outside": (
        "input/data/labels/labels.jsonl",
        b'{"frame": "../../config/hyperparameters.json", "boxes": [["car", 0, 0, 9, 9]]}',
        "outside of its channel",
    ),
    "box": (
        "input/data/labels/labels.jsonl",
        b'{"frame": "d/front/0.png", "boxes": [["car", 9, 0, 9, 9]]}',
        "a box is empty or not finite",
    ),
    "picture": ("input/data/frames/d/front/0.png", b"no picture", "0.png cannot be read"),
    "archive": ("input/data/start/model.tar.gz", b"no archive", "has no model.onnx that can be unpacked"),
    "classes": ("input/config/hyperparameters.json", b'{"classes": "[1]"}', "classes is not a JSON object"),
    "rate": ("input/config/hyperparameters.json", b'{"classes": "{}", "rate": "nan"}', "rate is not above 0"),
    "steps": ("input/config/hyperparameters.json", b'{"classes": "{}", "steps": "no"}', "steps is not a number: 'no'"),
}


@with_torch
def test_failures_are_told_by_status_and_file(tmp_path: Path, network: Path) -> None:
    for name, (place, body, _) in WRONG.items():
        prepare(tmp_path / name, network, steps="1")
        (tmp_path / name / place).write_bytes(body)
    done = subprocess.run([TRAINER, "-c", MANY, *(tmp_path / name for name in WRONG)], cwd=ROOT, capture_output=True)
    assert done.returncode == 0
    for name, (_, _, said) in WRONG.items():
        assert said in (tmp_path / name / "output" / "failure").read_text()
        assert not (tmp_path / name / "model" / "model.onnx").exists()
