"""A folder that cannot be evaluated is refused by the file that is wrong; files that fit nowhere are counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.formats import read_labels
from tests.fakes.images import png
from tests.unit.cli.evaluation.generated import ALL_OF_STUB, WRITERS, Picture, write_coco, write_kitti, write_yolo

ONE = [Picture("a", 100, 80, ALL_OF_STUB)]


def _coco(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def break_it(folder: Path) -> None:
        path = folder / "annotations" / "instances_all.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return break_it


def _text(place: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / place).write_text(text)


BREAKS: list[tuple[str, Callable[[Path], object], str]] = [
    ("kitti", _text("label_2/a.txt", "Car 0 0 0\n"), r"label_2/a\.txt, line 1 has 4 fields"),
    ("kitti", lambda f: (f / "label_2/a.txt").write_bytes(b"\xff\xfe"), r"label_2/a\.txt is not UTF-8"),
    ("yolo", _text("labels/a.txt", "0 0.5 0.5\n"), r"labels/a\.txt, line 1 has 3 fields"),
    ("yolo", _text("labels/a.txt", "\n0 0.5 0.5 x 0.1\n"), r"labels/a\.txt, line 2: could not convert"),
    ("yolo", _text("labels/a.txt", "0 50 40 20 20\n"), r"labels/a\.txt, line 1: .* are not shares of the image"),
    ("yolo", _text("labels/a.txt", "0 nan 0.5 0.1 0.1\n"), r"labels/a\.txt, line 1: .* are not shares of the image"),
    ("yolo", _text("labels/a.txt", "7 0.5 0.5 0.1 0.1\n"), r"labels/a\.txt, line 1 has class 7, which data.yaml"),
    ("yolo", _text("labels/a.txt", "0.5 0.5 0.5 0.1 0.1\n"), r"labels/a\.txt, line 1 has class 0.5, which"),
    ("yolo", _text("data.yaml", "names: [car\n"), r"data\.yaml is not YAML"),
    ("yolo", _text("data.yaml", "nc: 3\n"), r"data\.yaml needs `names`"),
    ("yolo", _text("data.yaml", "names: [zebra, yak, gnu]\n"), r"labels no class of the taxonomy .*, but .*gnu"),
    ("coco", _text("annotations/instances_all.json", "{"), r"instances_all\.json is not a COCO document"),
    ("coco", _text("annotations/instances_all.json", "[]"), r"instances_all\.json is not a COCO document"),
    (
        "coco",
        _coco(lambda d: d["annotations"][0].update(category_id=99)),
        r"annotation 1 has category 99, which is not",
    ),
    ("coco", _coco(lambda d: d["annotations"][0].update(bbox=[1, 2, -3, 4])), r"bbox \[1.0, 2.0, -3.0, 4.0\] of ann"),
    ("coco", _coco(lambda d: d["annotations"][0].pop("bbox")), r"instances_all\.json is not a COCO .*`bbox`"),
    ("coco", _coco(lambda d: d["images"].append(d["images"][0] | {"id": 5})), r"both label images/a\.png"),
]


@pytest.mark.parametrize(("form", "break_it", "complaint"), BREAKS, ids=[f"{b[0]}-{i}" for i, b in enumerate(BREAKS)])
def test_a_broken_label_is_refused_by_its_file(
    tmp_path: Path, form: str, break_it: Callable[[Path], object], complaint: str
) -> None:
    WRITERS[form](tmp_path, ONE)
    break_it(tmp_path)
    with pytest.raises(CommandError, match=complaint):
        read_labels(tmp_path, None)


def test_a_folder_that_is_not_there_or_has_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nowhere is not a folder: give"):
        read_labels(tmp_path / "nowhere", None)
    with pytest.raises(CommandError, match=r"has no \.png, \.jpg or \.jpeg file"):
        read_labels(tmp_path, None)


def test_a_folder_of_no_format_or_of_two_asks_for_one(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(CommandError, match=r"it needs image_2/ and label_2/ \(KITTI\), annotations/\*\.json"):
        read_labels(tmp_path, None)
    with pytest.raises(CommandError, match=r"has no data\.yaml with `names`"):
        read_labels(tmp_path, "yolo")
    with pytest.raises(CommandError, match=r"has no JSON document with images, annotations and categories"):
        read_labels(tmp_path, "coco")
    with pytest.raises(CommandError, match=r"has no labelled frame: see --format"):
        read_labels(tmp_path, "kitti")
    write_coco(tmp_path, ONE)
    write_yolo(tmp_path, ONE)
    with pytest.raises(CommandError, match=r"has labels of coco and yolo: give one of them with --format"):
        read_labels(tmp_path, None)
    assert len(read_labels(tmp_path, "yolo")[1].frames) == 1


@pytest.mark.parametrize("form", WRITERS)
def test_files_that_fit_nowhere_are_counted(tmp_path: Path, form: str) -> None:
    WRITERS[form](tmp_path, [*ONE, Picture("unlabelled", 50, 50, None), Picture("gone", 60, 60, ALL_OF_STUB)])
    for path in tmp_path.rglob("gone.png"):
        path.unlink()
    next(tmp_path.rglob("a.png")).with_name("b.png").write_bytes(b"not an image")
    for labels in tmp_path.rglob("a.txt"):
        labels.with_name("b.txt").write_text("")
    left_out = read_labels(tmp_path, None)[1].left_out
    # Only COCO's document names images: b.png is not in it.
    refused = {"images refused as not-an-image": 1} if form != "coco" else {}
    assert left_out == {"images without labels": 1 + (form == "coco"), "labels without an image": 1, **refused}


def test_an_image_of_another_size_than_its_label_says_is_left_out(tmp_path: Path) -> None:
    write_coco(tmp_path, [*ONE, Picture("b", 100, 80, ALL_OF_STUB)])
    (tmp_path / "images" / "b.png").write_bytes(png(50, 40))
    assert read_labels(tmp_path, None)[1].left_out == {"images of another size than their labels say": 1}


def test_other_json_and_hidden_files_do_not_matter(tmp_path: Path) -> None:
    write_coco(tmp_path, ONE)
    (tmp_path / "dataset.json").write_text('{"images": true}')
    (tmp_path / "annotations" / "captions_all.json").write_text('{"images": [], "annotations": [{"caption": "x"}]}')
    (tmp_path / ".hidden.png").write_bytes(b"")
    assert len(read_labels(tmp_path, None)[1].frames) == 1


def test_images_of_one_name_are_told_apart_by_split(tmp_path: Path) -> None:
    write_coco(tmp_path, ONE)
    (tmp_path / "images" / "train").mkdir()
    (tmp_path / "images" / "a.png").rename(tmp_path / "images" / "train" / "a.png")
    (tmp_path / "images" / "val").mkdir()
    (tmp_path / "images" / "val" / "a.png").write_bytes(png(100, 80))
    document = tmp_path / "annotations" / "instances_all.json"
    document.rename(document.with_name("instances_val.json"))
    assert [str(frame.name) for frame in read_labels(tmp_path, None)[1].frames] == ["images/val/a.png"]
    document.with_name("instances_val.json").rename(document)
    with pytest.raises(CommandError, match=r"names a\.png, which can be images/train/a\.png or images/val/a\.png"):
        read_labels(tmp_path, None)


def test_labels_beside_their_images_and_outlines_are_read(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: {0: Car, 3: Stop-Sign}\n")
    (tmp_path / "a.png").write_bytes(png(100, 100))
    (tmp_path / "a.TXT").write_text("3 0.1 0.1 0.5 0.2 0.3 0.6\n")
    labels = read_labels(tmp_path, None)[1]
    [thing] = labels.frames[0].objects()
    assert thing.name == "traffic sign"
    assert thing.box == pytest.approx((10, 10, 50, 60))
    assert labels.labelled == {"car", "traffic sign"}


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    write_kitti(tmp_path, ONE)
    (tmp_path / "again").symlink_to(tmp_path)
    assert len(read_labels(tmp_path, None)[1].frames) == 1
