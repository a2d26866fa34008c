"""Other libraries than the one that writes an export read the dataset's boxes from it, to the pixel."""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from autolabel_cli.__main__ import main
from autolabel_cli.models.kitti import CLASSES
from autolabel_cli.stack import Stack
from tests.datasets.drives import TAXONOMY, Labelled, Shelf, key_of
from tests.datasets.readers import READERS

Drives = dict[str, list[dict[str, Any]]]
# By drive, camera and index: a frame's width and height, and its boxes.
Frames = dict[tuple[str, str, int], tuple[tuple[int, int], list[Labelled]]]
HOSTILE = {
    "car": 'a "car"',
    "van": "#1: {van}",
    "truck": "Straßenbahn 電車",
    "trailer": "null",
    "bus": "- [bus]",
    "motorcycle": "background",
    "person": "a:b:c",
    "rider": "<rider> & 'co'",
    "traffic light": "1",
    "traffic sign": "nan",
    "bicycle": None,
}
KITTI_MAP = {ours: theirs for theirs, ours in CLASSES.items()} | {
    name: None for name in TAXONOMY if name not in {*CLASSES.values(), "ignore"}
}
# Some of these pairs are the same when they are joined by a character that names may have.
NAMES = [("a", "b_c"), ("a_b", "c"), ("a-b", "c"), ("a", "b-c"), ("images", "labels"), ("labels", "images")]


@st.composite
def labelled_boxes(draw: st.DrawFn, width: int, height: int) -> list[Labelled]:
    boxes = []
    for _ in range(draw(st.integers(0, 6))):
        left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
        name, marks = draw(st.sampled_from(TAXONOMY)), draw(st.tuples(st.booleans(), st.booleans()))
        boxes.append(Labelled(name, left, top, right - left, bottom - top, *marks))
    return boxes


@st.composite
def datasets(draw: st.DrawFn) -> Frames:
    frames: Frames = {}
    for (drive, camera), index in itertools.product(draw(st.lists(st.sampled_from(NAMES), min_size=1)), range(3)):
        width, height = draw(st.integers(1, 9_000)), draw(st.integers(1, 5_000))
        frames[drive, camera, index] = (width, height), draw(labelled_boxes(width, height))
    return frames


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("form", READERS)
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    # Each example starts a process, so shrinking would take minutes.
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(frames=datasets())
def test_every_box_comes_back_to_the_pixel(
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    frames: dict[tuple[str, str, int], tuple[tuple[int, int], list[Labelled]]],
) -> None:
    shelf = Shelf()
    monkeypatch.setattr(Stack, "find", lambda name: shelf)
    classes: dict[str, str | None] = KITTI_MAP if form.startswith("kitti") else HOSTILE
    expected = {}
    drives: Drives = {}
    for (drive, camera, index), (size, boxes) in frames.items():
        key = key_of(drive, camera, index)
        drives.setdefault(drive, []).append(shelf.frame(key, boxes, size=size))
        expected[f"{drive}.{camera}.{key.timestamp}"] = boxes
    for drive, lines in drives.items():
        shelf.publish(drive, lines)
    with tempfile.TemporaryDirectory() as folder:
        mapping, out = Path(folder, "classes.json"), Path(folder, "out")
        mapping.write_text(json.dumps(classes))
        words = ["export", *drives, "--format", form, "--classes", str(mapping), "--to", str(out)]
        ended = CliRunner().invoke(main, [*words, "--split", "train=0.5,val=0.3,test=0.2"], catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
        read = READERS[form](out)
    found = {name: frame for split in read.values() for name, frame in split.items()}
    assert sum(map(len, read.values())) == len(expected)
    assert found.keys() == expected.keys()
    for drive in drives:
        assert len({split for split, named in read.items() for name in named if name.startswith(f"{drive}.")}) == 1
    for name, boxes in expected.items():
        objects = [b for b in boxes if b.name != "ignore" and classes.get(b.name, b.name) is not None]
        regions = [at(b) for b in boxes if b.name == "ignore"]
        told = form not in ("coco", "yolo")
        assert [(f.name, whole(f.at), f.marks) for f in found[name].boxes] == [
            (classes.get(b.name, b.name), at(b), (b.occluded, b.truncated) if told else ()) for b in objects
        ]
        assert sorted(map(whole, found[name].regions)) == ([] if form == "yolo" else sorted(regions))


def at(box: Labelled) -> tuple[float, ...]:
    return box.left, box.top, box.left + box.width, box.top + box.height


def whole(corners: tuple[float, ...]) -> tuple[float, ...]:
    """Corners in whole pixels; YOLO's are shares of the frame with six digits."""
    assert all(abs(corner - round(corner)) < 0.02 for corner in corners)
    return tuple(round(corner) for corner in corners)
