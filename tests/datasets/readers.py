"""Reads exports with other libraries than the one that writes them."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import yaml
from globox import AnnotationSet
from pycocotools.coco import COCO

from autolabel_cli.installation import DATUMARO
from autolabel_cli.models.kitti import REGION_TYPE, read_labelled_folder
from tests.datasets.drives import key_of


class Found(NamedTuple):
    """A box as read: `at` is left, top, right, bottom; `marks`: occluded and truncated, if the format has them."""

    name: str
    at: tuple[float, ...]
    marks: tuple[bool, ...] = ()


class Read(NamedTuple):
    """A frame as read."""

    boxes: list[Found]
    regions: list[tuple[float, ...]]


class CvatBox(NamedTuple):
    """A box of a CVAT track as read."""

    frame: int
    track: int
    found: Found
    outside: bool


Frames = dict[str, dict[str, Read]]


def read_coco(folder: Path) -> Frames:
    found: Frames = {}
    for path in (folder / "annotations").glob("instances_*.json"):
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(path))
        split = found.setdefault(path.stem.removeprefix("instances_"), {})
        for image in coco.dataset["images"]:
            annotations = coco.loadAnns(coco.getAnnIds([image["id"]]))
            at = {a["id"]: _corners(a["bbox"]) for a in annotations}
            names = {a["id"]: coco.cats[a["category_id"]]["name"] for a in annotations}
            crowds = [a["id"] for a in annotations if a["iscrowd"]]
            regions = [at[i] for i in crowds if names[i] == coco.cats[1]["name"]]
            # A region is a crowd of every category.
            assert sorted((names[i], at[i]) for i in crowds) == sorted(
                (c["name"], region) for c in coco.cats.values() for region in regions
            )
            boxes = [Found(names[a["id"]], at[a["id"]]) for a in annotations if not a["iscrowd"]]
            split[Path(image["file_name"]).stem] = Read(boxes, regions)
    return found


def _corners(box: list[float]) -> tuple[float, ...]:
    return box[0], box[1], box[0] + box[2], box[1] + box[3]


def read_kitti(folder: Path) -> Frames:
    found: Frames = {}
    for split in filter(lambda path: path.is_dir() and any((path / "image_2").iterdir()), folder.iterdir()):
        found[split.name] = {
            frame.name: Read(
                [
                    Found(o.type, o.box or (), (o.occlusion > 0, o.truncation > 0))
                    for o in frame.objects
                    if o.type != REGION_TYPE
                ],
                [o.box or () for o in frame.objects if o.type == REGION_TYPE],
            )
            for frame in read_labelled_folder(split)
        }
    return found


def read_yolo(folder: Path) -> Frames:
    data = yaml.safe_load((folder / "data.yaml").read_text())
    found: Frames = {}
    assert "val" in data
    # Without frames of its own, `val` repeats another split.
    for split in [name for name in ("train", "val", "test") if data.get(name) == f"{name}.txt"]:
        listed = (folder / data[split]).read_text().splitlines()
        assert all((folder / path).is_file() for path in listed)
        sets = AnnotationSet.from_yolo_v5(
            folder / "labels" / split, image_folder=folder / "images" / split, image_extension=".png"
        )
        assert sorted(Path(path).name for path in listed) == sorted(sets.image_ids)
        found[split] = {
            Path(a.image_id).stem: Read([Found(data["names"][int(b.label)], b.ltrb) for b in a.boxes], []) for a in sets
        }
    return found


def read_voc(folder: Path) -> Frames:
    """Read VOC, which counts pixels from 1 and gives the last pixel inside a box."""
    found: Frames = {}
    annotations = {Path(a.image_id).stem: a for a in AnnotationSet.from_pascal_voc(folder / "Annotations")}
    for path in (folder / "ImageSets" / "Main").iterdir():
        found[path.stem] = {}
        for name in path.read_text().split():
            # This test wrote the file itself.
            document = ElementTree.parse(folder / "Annotations" / f"{name}.xml").getroot()  # noqa: S314
            read = found[path.stem][name] = Read([], [])
            for box, thing in zip(annotations[name].boxes, document.iter("object"), strict=True):
                left, top, right, bottom = box.ltrb
                if thing.findtext("difficult") == "1":
                    assert box.label == "ignore"
                    read.regions.append((left - 1, top - 1, right, bottom))
                    continue
                marks = thing.findtext("occluded") == "1", thing.findtext("truncated") == "1"
                read.boxes.append(Found(str(box.label), (left - 1, top - 1, right, bottom), marks))
    assert len(annotations) == sum(map(len, found.values()))
    return found


def name_of(video: str, number: int) -> str:
    """The name of a numbered frame, whose drive was made with `key_of`."""
    return f"{video}.{key_of(index=number).timestamp}"


def read_kitti_tracking(folder: Path) -> Frames:
    """Read KITTI tracking by its columns: the object format after the frame and the track."""
    found: Frames = {}
    for sequences in folder.glob("*/evaluate_tracking.seqmap"):
        split = found[sequences.parent.name] = {}
        for video, _, first, count in map(str.split, sequences.read_text().splitlines()):
            for number in range(int(first), int(count)):
                assert (sequences.parent / "image_02" / video / f"{number:06d}.png").is_file()
                split[name_of(video, number)] = Read([], [])
            tracks = set()
            for line in (sequences.parent / "label_02" / f"{video}.txt").read_text().splitlines():
                number, track, name, truncated, occluded, _, *at = line.split()
                frame = split[name_of(video, int(number))]
                corners = tuple(map(float, at[:4]))
                assert len(at) == 11
                assert (name == REGION_TYPE) == (track == "-1")
                if name == REGION_TYPE:
                    frame.regions.append(corners)
                else:
                    assert track not in tracks, "these drives have no tracks, so each object is one of its own"
                    tracks.add(track)
                    frame.boxes.append(Found(name, corners, (occluded != "0", truncated != "0")))
    return found


# Runs in datumaro's environment. Prints, for each file, its frames, and each box with its attributes.
_READ_CVAT = """
import json, sys
from datumaro.components.dataset import Dataset
for path in sys.argv[1:]:
    read = Dataset.import_from(path, "cvat")
    names = [category.name for category in read.categories()[next(iter(read.categories()))]]
    boxes = [
        [item.attributes["frame"], names[box.label], box.points, box.attributes]
        for item in read for box in item.annotations
    ]
    print(json.dumps(boxes, default=float))
"""


def read_cvat(folder: Path) -> dict[str, dict[str, list[CvatBox]]]:
    """Read CVAT's files of each split and video with datumaro's importer."""
    paths = [path.parent for path in folder.rglob("annotations.xml")]
    command = [*DATUMARO.python(), "-c", _READ_CVAT, *map(str, paths)]
    output = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    found: dict[str, dict[str, list[CvatBox]]] = {}
    for path, boxes in zip(paths, map(json.loads, output.splitlines()), strict=True):
        assert all(attributes["keyframe"] for *_, attributes in boxes)
        found.setdefault(path.parent.name, {})[path.name] = [
            CvatBox(number, a["track_id"], Found(name, tuple(at), (a["occluded"], a["truncated"])), a["outside"])
            for number, name, at, a in boxes
        ]
    return found


# Runs in datumaro's environment. Prints the objects of a folder with what KITTI knows of them in space.
_READ_KITTI_3D = """
import json, sys
from datumaro.components.dataset import Dataset
for item in Dataset.import_from(sys.argv[1], "kitti3d"):
    for box in item.annotations:
        print(json.dumps({"id": item.id, "box": box.points, **box.attributes}))
"""


def read_kitti_3d(folder: Path) -> list[dict[str, Any]]:
    """Read the objects of a split in KITTI's format with datumaro's importer, in their order."""
    # The importer asks for a calibration of each frame, and does not read it.
    (folder / "calib").mkdir()
    command = [*DATUMARO.python(), "-c", _READ_KITTI_3D, str(folder)]
    output = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def read_cvat_frames(folder: Path) -> Frames:
    """Read CVAT's files as frames; what is outside is not in a frame."""
    found: Frames = {}
    for split, videos in read_cvat(folder).items():
        for video, boxes in videos.items():
            for number in range(len(list((folder / split / video / "images").glob("frame_*.png")))):
                read = found.setdefault(split, {})[name_of(video, number)] = Read([], [])
                for box in (box for box in boxes if box.frame == number and not box.outside):
                    if box.found.name == "ignore":
                        read.regions.append(box.found.at)
                    else:
                        read.boxes.append(box.found)
    return found


READERS = {
    "coco": read_coco,
    "kitti": read_kitti,
    "yolo": read_yolo,
    "voc": read_voc,
    "kitti-tracking": read_kitti_tracking,
    "cvat-video": read_cvat_frames,
}
