"""Differences of two datasets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from autolabel.labels.manifest import BOX_TYPE, PRELABEL, VERIFIED, metadata_of
from autolabel_cli.__main__ import main
from autolabel_cli.datasets.differences import Differences
from autolabel_cli.datasets.sources import Source
from autolabel_cli.errors import CommandError

CLASSES = ("car", "person")
# Places far apart: a box at one of them is the same object, or another one.
PLACES = [(x * 100, 50) for x in range(4)]
Boxes = Mapping[int, str]
Frames = Mapping[int, Boxes]

frames = st.dictionaries(
    st.integers(0, 5), st.dictionaries(st.sampled_from(range(4)), st.sampled_from(CLASSES)), max_size=6
)


def write(folder: Path, found: Frames, order: Sequence[int] | None = None) -> Source:
    folder.mkdir(exist_ok=True)
    lines = [_line(number, found[number]) for number in (sorted(found) if order is None else order)]
    (folder / "dataset.manifest").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Source(path=folder / "dataset.manifest")


def _line(number: int, boxes: Boxes) -> dict[str, object]:
    annotations = [
        {"class_id": CLASSES.index(name), "left": PLACES[at][0], "top": PLACES[at][1], "width": 50, "height": 40}
        for at, name in boxes.items()
    ]
    size = [{"width": 400, "height": 200, "depth": 3}]
    return {
        "source-ref": f"s3://ingest/drives/d1/front/{number:019d}.png",
        "provenance": {"drive": "d1", "run": "0001", "etag": "e", "labelled-by": "person"},
        PRELABEL: {"image_size": size, "annotations": []},
        metadata_of(PRELABEL): {"objects": [], "class-map": {}, "type": BOX_TYPE},
        VERIFIED: {"image_size": size, "annotations": annotations},
        metadata_of(VERIFIED): {
            "objects": [{"confidence": 1}] * len(boxes),
            "class-map": {str(CLASSES.index(name)): name for name in set(boxes.values())},
            "type": BOX_TYPE,
        },
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames, frames)
def test_counts_are_those_of_sets_of_boxes(tmp_path: Path, old: Frames, new: Frames) -> None:
    both = old.keys() & new.keys()
    sources = write(tmp_path / "old", old), write(tmp_path / "new", new)
    if not both:
        with pytest.raises(CommandError, match="no frame in common"):
            Differences(*sources, None)
        return
    found = Differences(*sources, None).document()
    assert (found.frames, found.only_old, found.only_new) == (len(both), len(old) - len(both), len(new) - len(both))
    assert found.unchanged == sum(old[number] == new[number] for number in both)
    counts = dict.fromkeys(("kept", "added", "deleted", "relabelled"), 0)
    for number in both:
        for at in range(len(PLACES)):
            before, after = old[number].get(at), new[number].get(at)
            if before == after:
                counts["kept"] += before is not None
            else:
                counts["added" if before is None else "deleted" if after is None else "relabelled"] += 1
    assert {kind: sum(getattr(of, kind) for of in found.classes.values()) for kind in counts} == counts
    assert len(found.changed) == found.frames - found.unchanged
    assert sum(one.boxes for one in found.relabelled) == counts["relabelled"]


def test_the_page_shows_a_changed_frame_with_its_picture(tmp_path: Path) -> None:
    for name, boxes in (("old", {0: "car"}), ("new", {0: "person", 2: "car"})):
        write(tmp_path / name, {1: boxes})
        picture = tmp_path / name / f"drives/d1/front/{1:019d}.png"
        picture.parent.mkdir(parents=True)
        Image.new("RGB", (400, 200), "red").save(picture)
    sources = [str(tmp_path / name / "dataset.manifest") for name in ("old", "new")]
    done = CliRunner().invoke(main, ["diff", *sources, "--to", str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    assert "car → person: 1 box" in done.output
    assert f"front {1:019d}: 1 added, 1 relabelled" in done.output
    page = (tmp_path / "page.html").read_text()
    assert "data:image/jpeg;base64," in page
    assert "car → person" in page


def test_a_dataset_out_of_order_is_named_with_its_line(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "good", {1: {}, 2: {}}), write(tmp_path / "bad", {1: {}, 2: {}}, order=[2, 1])
    with pytest.raises(CommandError, match=r"bad/dataset\.manifest, line 2 is out of order"):
        Differences(good, bad, None)
