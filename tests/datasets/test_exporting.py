"""The contents of an export, what is left out, and what is refused."""

from __future__ import annotations

import configparser
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import yaml
from click.testing import CliRunner

from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import VerifyUncertain
from autolabel.triage import class_records
from autolabel_cli.__main__ import main
from autolabel_cli.drives.frame_copies import fetch_frames
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack
from tests.datasets.drives import Labelled, Shelf, as_manifest, boxes_of, key_of
from tests.datasets.readers import read_coco, read_cvat, read_kitti, read_kitti_3d, read_voc, read_yolo
from tests.fakes.clouds import CAR as SOLID
from tests.fakes.clouds import camera_that_sees, cuboid_in_vehicle
from tests.fakes.evidence import evidence_of
from tests.fakes.images import jpeg, png

Export = Callable[..., dict[str, Any]]
Refusal = Callable[..., str]
CAR = Labelled("car", 2, 3, 20, 10)
BUS = Labelled("bus", 30, 5, 30, 40)
VAN = Labelled("van", 1, 1, 9, 9)
COCO = ("--format", "coco")


def names(folder: Path) -> dict[str, list[str]]:
    """The classes of each frame of a COCO export in one split."""
    return {name: [box.name for box in frame.boxes] for name, frame in read_coco(folder)["train"].items()}


def class_map(folder: Path, mapping: object) -> str:
    path = folder / "classes.json"
    path.write_text(json.dumps(mapping))
    return str(path)


def test_a_drive_without_frames_is_refused(shelf: Shelf, refusal: Refusal) -> None:
    shelf.publish("drive-a", [])
    assert "no frame to export" in refusal("drive-a", *COCO)


def test_images_are_the_bytes_that_were_labelled(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    front, rear = key_of(), key_of(camera="rear", extension="jpg")
    lines = [shelf.frame(front, [CAR]), shelf.frame(rear, [])]
    for key, line, body in ((front, lines[0], png()), (rear, lines[1], jpeg())):
        shelf.ingest.write(key.key, body)
        line["provenance"]["etag"] = shelf.ingest.etag(key.key)
    shelf.publish("drive-a", lines)
    export("drive-a", *COCO)
    images = tmp_path / "out" / "images" / "train"
    assert {path.name: path.read_bytes() for path in images.iterdir()} == {
        f"drive-a.front.{front.timestamp}.png": png(),
        f"drive-a.rear.{rear.timestamp}.jpg": jpeg(),
    }


@pytest.mark.parametrize("of_file", [False, True])
def test_the_card_has_the_certificates_of_a_run(shelf: Shelf, export: Export, tmp_path: Path, of_file: bool) -> None:
    policy = VerifyUncertain()
    certificates = [record.certificate() for record in class_records([evidence_of("r", "d", policy)], policy).values()]
    summary = json.dumps(
        {"drive": "drive-a", "run": "0001", "certificates": msgspec.to_builtins(certificates)}
    ).encode()
    lines = [shelf.frame(key_of(), [CAR])]
    shelf.publish("drive-a", lines)
    shelf.labels.write(RunFolder("drive-a", "0001").summary, summary)
    (tmp_path / "summary.json").write_bytes(summary)
    manifest = tmp_path / "dataset.manifest"
    manifest.write_bytes(as_manifest(lines))
    card = export(str(manifest) if of_file else "drive-a", *COCO)
    assert [one["name"] for one in card["drives"][0]["certificates"]] == ["any class", "car"]


@pytest.mark.parametrize("beside", [b"{}", b"no JSON", b'{"drive": "drive-b", "run": "0001", "certificates": []}'])
def test_another_summary_beside_a_manifest_is_not_its_own(
    shelf: Shelf, export: Export, tmp_path: Path, beside: bytes
) -> None:
    (tmp_path / "summary.json").write_bytes(beside)
    (tmp_path / "dataset.manifest").write_bytes(as_manifest([shelf.frame(key_of(), [CAR])]))
    card = export(str(tmp_path / "dataset.manifest"), *COCO)
    assert "certificates" not in card["drives"][0]


@pytest.mark.parametrize("change", ["overwritten", "deleted"])
def test_a_frame_that_changed_is_refused_by_name(shelf: Shelf, refusal: Refusal, change: str) -> None:
    shelf.publish("drive-a", [shelf.frame(key_of(index=i), [CAR]) for i in range(3)])
    if change == "overwritten":
        shelf.ingest.write(key_of(index=1).key, b"others")
    else:
        del shelf.ingest.objects[key_of(index=1).key]
    assert key_of(index=1).key in refusal("drive-a", *COCO)


def test_an_export_without_images_reads_none(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    shelf.publish("drive-a", [shelf.frame(key_of(), [CAR])])
    shelf.ingest.objects.clear()
    export("drive-a", *COCO, "--no-images")
    assert names(tmp_path / "out") == {f"drive-a.front.{key_of().timestamp}": ["car"]}
    assert not (tmp_path / "out" / "images" / "train").exists()


def test_the_latest_published_run_of_a_drive_is_exported(shelf: Shelf, export: Export) -> None:
    shelf.publish("drive-a", [shelf.frame(key_of(), [CAR], run="0001")], run="0001")
    shelf.publish("drive-a", [shelf.frame(key_of(), [BUS], run="0002")], run="0002")
    shelf.publish("drive-a", [], run="0003", outcome="")
    card = export("drive-a", *COCO)
    assert (card["drives"][0]["run"], card["splits"]["train"]["boxes"]["bus"]) == ("0002", 1)


def test_a_run_can_be_chosen(shelf: Shelf, export: Export) -> None:
    shelf.publish("drive-a", [shelf.frame(key_of(), [CAR], run="0001")], run="0001")
    shelf.publish("drive-a", [shelf.frame(key_of(), [BUS], run="0002")], run="0002")
    assert export("drive-a@0001", *COCO)["drives"][0]["run"] == "0001"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("drive-b", "no run of drive 'drive-b'"),
        ("drive-a", "no run of drive 'drive-a' is published"),
        ("drive-a@0001", "run 0001 of drive 'drive-a' is not published"),
        ("drive-a@0007", "no run '0007'; its runs are: 0001"),
        ("drive-a@one", "neither a drive"),
        ("gone/dataset.manifest", "neither a drive"),
    ],
)
def test_only_published_runs_are_exported(shelf: Shelf, refusal: Refusal, source: str, said: str) -> None:
    shelf.publish("drive-a", [], outcome="")
    assert said in refusal(source, *COCO)


def test_frames_without_a_final_label_are_counted_and_left_out(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    skipped = {"labelled-by": "nobody", "verification": "skipped"}
    lines = [
        shelf.frame(key_of(index=0), [CAR]),
        shelf.frame(key_of(index=1), prelabels=[BUS], triage="accepted"),
        shelf.frame(key_of(index=2), prelabels=[VAN], **skipped),
        shelf.frame(key_of(index=3), prelabels=[], **skipped),
        shelf.frame(key_of(index=4), prelabels=[], failures=["inference-failed"], **skipped),
        shelf.frame(key_of(index=5), [CAR], **skipped),
    ]
    lines[5]["verified-metadata"] = {"failure-reason": "skipped"}
    shelf.publish("drive-a", lines)
    card = export("drive-a", *COCO)
    assert [boxes for _, boxes in sorted(names(tmp_path / "out").items())] == [["car"], ["bus"]]
    assert card["left_out"]["frames"] == {"no final label": 3, "nobody labelled it": 1}
    assert card["labelled_by"] == {"model and person": 1, "model": 1}
    assert card["triage"] == {"everything": 1, "accepted": 1}
    card = export("drive-a", *COCO, "--labels", "all", folder=tmp_path / "all")
    assert [boxes for _, boxes in sorted(names(tmp_path / "all").items())] == [["car"], ["bus"], ["van"], [], []]
    assert card["left_out"]["frames"] == {"nobody labelled it": 1}


def test_a_scripts_labels_are_exported_with_a_warning(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    lines = [shelf.frame(key_of(index=0), [CAR]), shelf.frame(key_of(index=1), [BUS], **{"labelled-by": "script"})]
    shelf.publish("drive-a", lines)
    card = export("drive-a", *COCO)
    assert [boxes for _, boxes in sorted(names(tmp_path / "out").items())] == [["car"], ["bus"]]
    assert card["labelled_by"] == {"model and person": 1, "script": 1}


def test_verified_boxes_replace_pre_labels(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    line = shelf.frame(key_of(), [CAR])
    line["prelabel"], line["prelabel-metadata"] = (
        shelf.frame(key_of(), [BUS, VAN])[n] for n in ("verified", "verified-metadata")
    )
    shelf.publish("drive-a", [line])
    export("drive-a", *COCO)
    assert list(names(tmp_path / "out").values()) == [["car"]]


def test_marks_that_do_not_match_the_boxes_are_ignored(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    line = shelf.frame(key_of(), [CAR._replace(occluded=True), BUS])
    line["review"]["boxes"].append({"occluded": True})
    shelf.publish("drive-a", [line])
    export("drive-a", "--format", "voc")
    [frame] = read_voc(tmp_path / "out")["train"].values()
    assert [box.marks for box in frame.boxes] == [(False, False), (False, False)]


def test_boxes_are_clipped_to_the_frame(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    boxes = [Labelled("car", -1, -1, 30, 20), Labelled("car", 40, 30, 25, 19), Labelled("car", 64, 3, 1, 5)]
    shelf.publish("drive-a", [shelf.frame(key_of(), boxes, size=(64, 48))])
    card = export("drive-a", "--format", "voc")
    [frame] = read_voc(tmp_path / "out")["train"].values()
    assert [box.at for box in frame.boxes] == [(0, 0, 29, 19), (40, 30, 64, 48)]
    assert card["left_out"]["boxes"] == {"outside the frame": 1}


def test_a_class_map_renames_merges_drops_and_ignores(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    person = Labelled("person", 5, 5, 5, 5)
    shelf.publish("drive-a", [shelf.frame(key_of(), [CAR, VAN, BUS, person, Labelled("ignore", 0, 0, 8, 8)])])
    mapping = {"car": "vehicle", "van": "vehicle", "bus": None, "person": "ignore"}
    card = export("drive-a", *COCO, "--classes", class_map(tmp_path, mapping))
    [frame] = read_coco(tmp_path / "out")["train"].values()
    assert [box.name for box in frame.boxes] == ["vehicle", "vehicle"]
    assert sorted(frame.regions) == [(0, 0, 8, 8), (5, 5, 10, 10)]
    assert card["classes"][:3] == ["vehicle", "truck", "trailer"]
    assert card["left_out"]["boxes"] == {"class bus": 1}
    assert card["splits"]["train"]["regions"] == 2
    assert card["class_map"] == mapping


def test_class_indices_do_not_depend_on_the_drive(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    for drive, boxes in (("drive-a", [CAR]), ("drive-b", [BUS])):
        shelf.publish(drive, [shelf.frame(key_of(drive), boxes)])
    first, second = (export(drive, *COCO, folder=tmp_path / drive) for drive in ("drive-a", "drive-b"))
    assert first["classes"] == second["classes"]


@pytest.mark.parametrize(
    ("form", "mapping", "said"),
    [
        ("coco", {"cars": "car"}, "unknown class 'cars'; did you mean car"),
        ("coco", {"cars": "car"}, "known are car, van, truck"),
        ("coco", ["car"], "give a JSON object"),
        ("coco", {"car": 1}, "give a JSON object"),
        ("coco", {"car": " car"}, "cannot name a class"),
        ("coco", {"car": "a\nb"}, "cannot name a class"),
        ("coco", {"car": ""}, "cannot name a class"),
        ("kitti", {"car": "a b", "van": "a_b"}, "would both be 'a_b'"),
        ("kitti", {"car": "DontCare"}, "map the class to 'ignore'"),
    ],
)
def test_a_wrong_class_map_is_refused(
    shelf: Shelf, refusal: Refusal, tmp_path: Path, form: str, mapping: object, said: str
) -> None:
    shelf.publish("drive-a", [shelf.frame(key_of(), [CAR])])
    assert said in refusal("drive-a", "--format", form, "--classes", class_map(tmp_path, mapping))


def test_an_unknown_class_is_refused_with_the_known_ones(shelf: Shelf, refusal: Refusal) -> None:
    line = shelf.frame(key_of(), [CAR])
    line["verified-metadata"]["class-map"] = {"0": "tram"}
    shelf.publish("drive-a", [line])
    said = refusal("drive-a", *COCO)
    assert "drive-a@0001, line 1 has the unknown class 'tram'; known are car, van" in said


def test_kitti_exports_use_kitti_names_without_spaces(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    boxes = [CAR, Labelled("person", 1, 1, 2, 2), Labelled("rider", 1, 1, 2, 2), Labelled("train", 1, 1, 2, 2)]
    shelf.publish("drive-a", [shelf.frame(key_of(), boxes)])
    card = export("drive-a", "--format", "kitti")
    [frame] = read_kitti(tmp_path / "out")["train"].values()
    assert [box.name for box in frame.boxes] == ["Car", "Pedestrian", "Cyclist", "Tram"]
    assert "traffic_light" in card["classes"]


# The matrix from the vehicle's frame to that of the camera in tests.fakes.clouds.
TO_CAMERA = [[0.0, -1.0, 0.0, 0.1], [0.0, 0.0, -1.0, 1.65], [1.0, 0.0, 0.0, -1.5]]


def in_pixels(thing: dict[str, Any], projection: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The box (xyxy) of an object's cuboid in the picture, by the formula of KITTI's development kit."""
    high, wide, long = thing["dimensions"]
    cos, sin = np.cos(thing["rotation_y"]), np.sin(thing["rotation_y"])
    along = np.array([1, 1, -1, -1, 1, 1, -1, -1]) * long / 2
    across = np.array([1, -1, -1, 1, 1, -1, -1, 1]) * wide / 2
    up = np.array([0, 0, 0, 0, -1, -1, -1, -1]) * high
    turned = np.stack([cos * along + sin * across, up, -sin * along + cos * across], axis=1) + thing["location"]
    pixels = turned @ projection[:, :3].T + projection[:, 3]
    pixels = pixels[:, :2] / pixels[:, 2:]
    return np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])


@pytest.mark.parametrize("backwards", [0.0, np.pi])
def test_kitti_exports_have_cuboids_in_the_cameras_frame(
    shelf: Shelf, export: Export, tmp_path: Path, backwards: float
) -> None:
    middle, _ = cuboid_in_vehicle(SOLID)
    yaw = float(np.arctan2(-np.cos(SOLID.yaw), -np.sin(SOLID.yaw)))
    shown = (2.0, 3.0, 22.0, 13.0)
    projection = camera_that_sees(SOLID, shown, 64, 48).matrix
    line = shelf.frame(key_of(), [CAR, BUS, Labelled("ignore", 0, 0, 8, 8)])
    line["cuboids"] = [
        {"center": middle.tolist(), "size": list(SOLID[3:6]), "yaw": yaw - backwards, "cost": 0.2, "points": 9},
        {"why": "too few points"},
        {"why": "no size of its class"},
    ]
    line["cuboids-metadata"] = {"frame": "base_link", "camera": TO_CAMERA}
    shelf.publish("drive-a", [line])
    export("drive-a", "--format", "kitti")
    car, bus, region = read_kitti_3d(tmp_path / "out/train")
    assert np.allclose(car["location"], SOLID[:3], atol=0.006)
    assert np.allclose(car["dimensions"], (SOLID.height, SOLID.width, SOLID.length), atol=0.006)
    # Two decimals of a metre are a part of a pixel in this small picture.
    assert np.allclose(in_pixels(car, projection), shown, atol=0.1)
    assert np.allclose(car["box"], shown)
    sight = np.arctan2(SOLID.x, SOLID.z)
    assert np.isclose(np.cos(car["rotation_y"] - sight - car["alpha"]), 1, atol=1e-3)
    assert np.isclose(np.sign(np.cos(car["rotation_y"] - SOLID.yaw)), -1 if backwards else 1)
    for thing in (bus, region):
        assert (thing["alpha"], thing["dimensions"], thing["rotation_y"]) == (-10, [-1, -1, -1], -10)
        assert thing["location"] == [-1000] * 3


def test_kitti_tracking_has_the_same_cuboids(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    middle, yaw = cuboid_in_vehicle(SOLID)
    line = shelf.frame(key_of(), [CAR])
    line["cuboids"] = [{"center": middle.tolist(), "size": list(SOLID[3:6]), "yaw": yaw, "cost": 0.2, "points": 9}]
    line["cuboids-metadata"] = {"camera": TO_CAMERA}
    shelf.publish("drive-a", [line])
    export("drive-a", "--format", "kitti-tracking")
    (row,) = (tmp_path / "out/train/label_02/drive-a.front.txt").read_text().splitlines()
    numbers = list(map(float, row.split()[10:]))
    assert np.allclose(numbers[:6], (SOLID.height, SOLID.width, SOLID.length, *SOLID[:3]), atol=0.006)


def test_yolo_exports_have_no_regions_and_no_empty_splits(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    shelf.publish("drive-a", [shelf.frame(key_of(), [CAR, Labelled("ignore", 0, 0, 8, 8)])])
    split = tmp_path / "splits.json"
    split.write_text('{"train": ["drive-a"], "val": ["drive-b"]}')
    card = export("drive-a", "--format", "yolo", "--split-file", str(split))
    assert yolo_lists(tmp_path / "out") == {"train": "train.txt", "val": "train.txt"}
    assert read_yolo(tmp_path / "out").keys() == {"train"}
    assert card["left_out"]["boxes"] == {"ignored, for which YOLO has no notion": 1}


def yolo_lists(folder: Path) -> dict[str, str]:
    """The list of frames that data.yaml names for each split."""
    data = yaml.safe_load((folder / "data.yaml").read_text())
    return {name: path for name, path in data.items() if name != "names"}


def test_yolo_exports_always_have_val(shelf: Shelf, tmp_path: Path, library: None) -> None:
    for drive in ("drive-a", "drive-b", "drive-c"):
        shelf.publish(drive, [shelf.frame(key_of(drive), [CAR])])
    lists = {
        "none": {"train": ["drive-a", "drive-b", "drive-c"]},
        "only test": {"test": ["drive-a", "drive-b", "drive-c"]},
        "all": {"train": ["drive-a"], "val": ["drive-b"], "test": ["drive-c"]},
    }
    found, said = {}, {}
    for case, drives in lists.items():
        split = tmp_path / "splits.json"
        split.write_text(json.dumps(drives))
        words = ["export", "drive-a", "drive-b", "drive-c", "--format", "yolo", "--split-file", str(split)]
        ended = CliRunner().invoke(main, [*words, "--to", str(tmp_path / case)], catch_exceptions=False)
        found[case], said[case] = yolo_lists(tmp_path / case), ended.stderr
    assert found == {
        "none": {"train": "train.txt", "val": "train.txt"},
        "only test": {"val": "test.txt", "test": "test.txt"},
        "all": {"train": "train.txt", "val": "val.txt", "test": "test.txt"},
    }
    assert "no frame is in val, so data.yaml names those of train as val" in said["none"]
    assert "names those of test as val" in said["only test"]
    assert said["all"] == ""


def test_coco_objects_say_who_labelled_them_from_which_file_and_how_sure_the_models_were(
    shelf: Shelf, export: Export, tmp_path: Path
) -> None:
    # A reviewer kept the car, and drew the van; no reviewer saw the other frame.
    seen = shelf.frame(key_of(index=0), [CAR._replace(occluded=True), VAN])
    seen["prelabel"], seen["prelabel-metadata"] = boxes_of([CAR, BUS], 64, 48)
    accepted = shelf.frame(key_of(index=1), prelabels=[BUS], triage="accepted")
    for line, scores in ((seen, (0.9, 0.4)), (accepted, (0.75,))):
        line["prelabel-metadata"]["objects"] = [{"confidence": score} for score in scores]
    shelf.publish("drive-a", [seen, accepted])
    export("drive-a", *COCO)
    document = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())
    sources = [shelf.ingest.uri(key_of(index=i).key) for i in (0, 1)]
    assert [(a.get("score"), a["attributes"]) for a in document["annotations"]] == [
        (0.9, {"occluded": 1, "labelled-by": "model and person", "source-ref": sources[0]}),
        (None, {"labelled-by": "model and person", "source-ref": sources[0]}),
        (0.75, {"labelled-by": "model", "source-ref": sources[1]}),
    ]


def test_coco_has_videos_and_the_tracks_of_their_objects(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    lines = [shelf.frame(key_of(index=index), [CAR, VAN]) for index in range(3)]
    for line, tracks in zip(lines, (["a1", "b2"], ["a1", ""], ["b2"]), strict=True):
        line["tracks"] = tracks
    other = key_of(drive="drive-b")
    shelf.publish("drive-a", lines)
    shelf.publish("drive-b", [shelf.frame(other, [CAR])])
    export("drive-a", "drive-b", *COCO)
    document = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())
    names = {video["id"]: video["name"] for video in document["videos"]}
    front = f"drive-a.{key_of().camera}"
    assert [(names[image["video_id"]], image["frame_id"]) for image in document["images"]] == [
        (front, 0),
        (front, 1),
        (front, 2),
        (f"drive-b.{other.camera}", 0),
    ]
    # The third line has ids for one box, and two boxes.
    found = [(a["image_id"], a.get("track_id"), a["attributes"].get("track")) for a in document["annotations"]]
    assert found == [
        (1, 1, "a1"), (1, 2, "b2"), (2, 1, "a1"), (2, None, None), (3, None, None), (3, None, None), (4, None, None)
    ]  # fmt: skip


def test_mot_has_a_folder_for_each_video_with_its_tracks(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    lines = [shelf.frame(key_of(index=100_000_000 * index), [CAR, VAN]) for index in range(3)]
    for line, tracks in zip(lines, (["a1", ""], ["a1", "b2"], ["a1", "b2"]), strict=True):
        line["tracks"] = tracks
    ignored = shelf.frame(key_of(camera="rear"), [Labelled("ignore", 1, 1, 9, 9)])
    shelf.publish("drive-a", [*lines, ignored])
    export("drive-a", "--format", "mot")
    folder = tmp_path / "out" / "train" / "drive-a.front"
    rows = [line.split(",") for line in (folder / "gt" / "gt.txt").read_text().splitlines()]
    # Frame, track, left, top, width, height; the van of the first frame is in no track.
    assert [[float(value) for value in row[:6]] for row in rows] == [
        [1, 1, 2, 3, 20, 10],
        [1, 2, 1, 1, 9, 9],
        [2, 1, 2, 3, 20, 10],
        [2, 3, 1, 1, 9, 9],
        [3, 1, 2, 3, 20, 10],
        [3, 3, 1, 1, 9, 9],
    ]
    labels = (folder / "gt" / "labels.txt").read_text().splitlines()
    assert [labels[int(row[7]) - 1] for row in rows[:2]] == ["car", "van"]
    assert {float(row[6]) for row in rows} == {1.0}
    info = configparser.ConfigParser()
    info.read(folder / "seqinfo.ini")
    assert (info["Sequence"]["frameRate"], info["Sequence"]["seqLength"]) == ("10", "3")
    assert sorted(path.name for path in (folder / "img1").iterdir()) == [f"00000{n}.png" for n in (1, 2, 3)]
    (region,) = (tmp_path / "out/train/drive-a.rear/gt/gt.txt").read_text().splitlines()
    assert float(region.split(",")[6]) == 0


def tracked(shelf: Shelf) -> None:
    """Publish a drive: a van that becomes a bus, and a car that is not seen in the second frame."""
    boxes = ([CAR, VAN], [VAN], [CAR, BUS], [CAR])
    ids = (["a1", "b2"], ["b2"], ["a1", "b2"], ["a1"])
    lines = []
    for index, (seen, tracks) in enumerate(zip(boxes, ids, strict=True)):
        lines.append({**shelf.frame(key_of(index=index), seen), "tracks": tracks})
    shelf.publish("drive-a", lines)


def test_kitti_tracking_has_one_number_for_each_track(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    tracked(shelf)
    export("drive-a", "--format", "kitti-tracking")
    rows = [row.split() for row in (tmp_path / "out/train/label_02/drive-a.front.txt").read_text().splitlines()]
    assert [(int(row[0]), int(row[1]), row[2], float(row[6])) for row in rows] == [
        (0, 0, "Car", 2),
        (0, 1, "Van", 1),
        (1, 1, "Van", 1),
        (2, 0, "Car", 2),
        (2, 1, "bus", 30),
        (3, 0, "Car", 2),
    ]


def test_cvat_tracks_end_where_their_object_is_not_seen(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    tracked(shelf)
    export("drive-a", "--format", "cvat-video")
    boxes = read_cvat(tmp_path / "out")["train"]["drive-a.front"]
    tracks: dict[int, list[tuple[int, str, bool]]] = {}
    for box in boxes:
        tracks.setdefault(box.track, []).append((box.frame, box.found.name, box.outside))
    # A CVAT track has one class, so the van and the bus are two; the last box of the car is in the last frame.
    assert tracks == {
        0: [(0, "car", False), (1, "car", True), (2, "car", False), (3, "car", False)],
        1: [(0, "van", False), (1, "van", False), (2, "van", True)],
        2: [(2, "bus", False), (3, "bus", True)],
    }


def test_images_say_their_source_files_in_coco_and_voc(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    names = ["Straße <1>.png", None, "clip.mp4, frame 7"]
    shelf.publish(
        "drive-a",
        [
            shelf.frame(key_of(index=index), [CAR] * (index < 2), **({"source": name} if name else {}))
            for index, name in enumerate(names)
        ],
    )
    export("drive-a", "--format", "coco", folder=tmp_path / "coco")
    export("drive-a", "--format", "voc", folder=tmp_path / "voc")
    images = json.loads((tmp_path / "coco/annotations/instances_train.json").read_bytes())["images"]
    assert [image.get("source_file") for image in images] == names
    written = sorted((tmp_path / "voc/Annotations").iterdir())
    documents = [ElementTree.parse(path) for path in written]  # noqa: S314  # of our own making
    assert [document.findtext("source/image") for document in documents] == [name or "Unknown" for name in names]


def test_a_broken_pre_label_does_not_keep_a_verified_frame_from_an_export(
    shelf: Shelf, export: Export, tmp_path: Path
) -> None:
    line = shelf.frame(key_of(), [CAR])
    line["prelabel-metadata"] = 3
    shelf.publish("drive-a", [line])
    export("drive-a", *COCO)
    assert list(names(tmp_path / "out").values()) == [["car"]]


def test_the_card_counts_drives_frames_and_boxes(shelf: Shelf, export: Export) -> None:
    shelf.publish("drive-a", [shelf.frame(key_of(index=i), [CAR, CAR, BUS][: i + 1]) for i in range(3)])
    shelf.publish("drive-b", [shelf.frame(key_of("drive-b"), [], **{"labelled-by": "person"})])
    card = export("drive-a", "drive-b", *COCO)
    assert (card["frames"], card["boxes"], card["version"]) == (4, 6, "0.1.0")
    assert card["labelled_by"] == {"model and person": 3, "person": 1}
    assert card["splits"]["train"] | {"boxes": None} == {"drives": 2, "frames": 4, "regions": 0, "boxes": None}
    assert {name: n for name, n in card["splits"]["train"]["boxes"].items() if n} == {"car": 5, "bus": 1}
    assert [(d["drive"], d["run"], d["frames"], d["models"], d["taxonomy"]) for d in card["drives"]] == [
        ("drive-a", "0001", 3, ["yolox-nano.0001"], "2026.1"),
        ("drive-b", "0001", 1, ["yolox-nano.0001"], "2026.1"),
    ]


def test_files_are_exported_like_drives(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    path = tmp_path / "dataset.manifest"
    path.write_bytes(as_manifest([shelf.frame(key_of(), [CAR])]))
    export(str(path), *COCO)
    assert list((tmp_path / "out" / "images" / "train").iterdir())
    assert list(names(tmp_path / "out").values()) == [["car"]]


def test_labels_of_a_file_need_no_stack(export: Export, tmp_path: Path) -> None:
    path = tmp_path / "dataset.manifest"
    path.write_bytes(as_manifest([Shelf().frame(key_of(), [CAR])]))
    assert export(str(path), *COCO, "--no-images")["boxes"] == 1


def beside(shelf: Shelf, folder: Path, count: int = 3) -> Path:
    """A dataset with its frames, as `autolabel fetch --images` leaves them."""
    path = folder / "dataset.manifest"
    path.write_bytes(as_manifest([shelf.frame(key_of(index=i), [CAR]) for i in range(count)]))
    assert fetch_frames(folder, shelf.ingest, lambda _: None) == count
    return path


@pytest.mark.parametrize("form", ["coco", "kitti", "yolo", "voc"])
def test_a_file_with_its_frames_needs_no_stack(export: Export, tmp_path: Path, form: str) -> None:
    shelf = Shelf()
    path = beside(shelf, tmp_path)
    export(str(path), "--format", form)
    images = [p.read_bytes() for p in (tmp_path / "out").rglob("*.png")]
    assert images == [shelf.ingest.read(key_of().key)] * 3


def test_a_frame_missing_beside_a_file_is_refused(shelf: Shelf, refusal: Refusal, tmp_path: Path) -> None:
    path = beside(shelf, tmp_path)
    (tmp_path / key_of(index=1).key).unlink()
    said = refusal(str(path), *COCO)
    assert f"{tmp_path / key_of(index=1).key} is missing" in said
    assert "fetch it again with --images" in said


def test_a_file_without_frames_and_stack_says_where_they_come_from(
    refusal: Refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str) -> Stack:
        raise CommandError(f"cannot read stack {name!r}: no credentials")

    monkeypatch.setattr(Stack, "find", find)
    path = tmp_path / "dataset.manifest"
    path.write_bytes(as_manifest([Shelf().frame(key_of(), [CAR])]))
    said = refusal(str(path), *COCO)
    assert f"no credentials; {path} has no frames beside it: `autolabel fetch DRIVE --to FOLDER --images`" in said
    assert "no frames beside it" not in refusal("drive-a", str(path), *COCO)


def test_images_of_another_stack_are_refused(shelf: Shelf, refusal: Refusal, tmp_path: Path) -> None:
    line = shelf.frame(key_of(), [CAR])
    line["source-ref"] = f"s3://elsewhere/{key_of().key}"
    path = tmp_path / "dataset.manifest"
    path.write_bytes(as_manifest([line]))
    assert "is in bucket 'elsewhere'" in refusal(str(path), *COCO)


def test_a_drive_given_twice_is_refused(shelf: Shelf, refusal: Refusal, tmp_path: Path) -> None:
    lines = [shelf.frame(key_of(), [CAR])]
    shelf.publish("drive-a", lines)
    shelf.publish("drive-a", lines, run="0002")
    path = tmp_path / "dataset.manifest"
    path.write_bytes(as_manifest(lines))
    assert "give only one of them" in refusal("drive-a", str(path), *COCO)
    assert "give only one of them" in refusal("drive-a@0001", "drive-a@0002", *COCO)


def test_a_frame_given_twice_is_refused(shelf: Shelf, refusal: Refusal, tmp_path: Path) -> None:
    path = tmp_path / "dataset.manifest"
    path.write_bytes(as_manifest([shelf.frame(key_of(), [CAR])] * 2))
    assert f"{path}, line 2: frame {key_of().key} comes twice" in refusal(str(path), *COCO)


FRAME = {"source-ref": f"s3://ingest/{key_of(index=1).key}"}
ORIGIN = {"drive": "drive-a", "run": "0001", "etag": ""}
SQUARE = {"image_size": [{"width": 5, "height": 5}], "annotations": []}


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 10_000,
        {"source-ref": "s3://ingest/drives/a/../../x.png", "provenance": ORIGIN},
        {"source-ref": 1, "provenance": ORIGIN},
        FRAME,
        FRAME | {"provenance": ORIGIN | {"drive": "drive-b"}},
        FRAME | {"provenance": ORIGIN, "verified": 1, "verified-metadata": 2},
        FRAME | {"provenance": ORIGIN, "verified": SQUARE | {"image_size": []}, "verified-metadata": {}},
        FRAME | {"provenance": ORIGIN, "verified": SQUARE, "verified-metadata": {"objects": [{}]}},
        FRAME | {"provenance": ORIGIN, "verified": SQUARE, "verified-metadata": {}, "review": {"boxes": 3}},
        FRAME
        | {
            "provenance": ORIGIN,
            "verified": SQUARE | {"image_size": [{"width": 0, "height": 5}]},
            "verified-metadata": {},
        },
    ],
)
def test_a_broken_line_is_refused_with_its_number(
    shelf: Shelf, refusal: Refusal, tmp_path: Path, line: bytes | dict[str, Any]
) -> None:
    path = tmp_path / "dataset.manifest"
    body = line if isinstance(line, bytes) else json.dumps(line).encode()
    path.write_bytes(as_manifest([shelf.frame(key_of(), [CAR])]) + body + b"\n")
    assert f"{path}, line 2" in refusal(str(path), *COCO)


def test_existing_files_are_not_overwritten(shelf: Shelf, refusal: Refusal, tmp_path: Path) -> None:
    shelf.publish("drive-a", [shelf.frame(key_of(), [CAR])])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert "give a folder that is empty or new" in refusal("drive-a", *COCO)


def test_an_empty_folder_is_filled(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    shelf.publish("drive-a", [shelf.frame(key_of(), [CAR])])
    (tmp_path / "out").mkdir()
    assert export("drive-a", *COCO)["frames"] == 1


def test_without_the_library_the_error_says_how_to_install_it(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOLABEL_DATUMARO", str(tmp_path / "none"))
    ended = CliRunner().invoke(main, ["export", "drive-a", *COCO, "--to", str(tmp_path / "out")])
    assert (ended.exit_code, "make setup-export" in ended.output) == (1, True)


def test_the_error_of_the_library_is_shown(
    shelf: Shelf, refusal: Refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.publish("drive-a", [shelf.frame(key_of(), [CAR])])
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho broken >&2\necho to pieces >&2\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setenv("AUTOLABEL_DATUMARO", str(python))
    assert "datumaro failed: to pieces" in refusal("drive-a", *COCO)


def test_two_ways_to_split_at_once_are_refused(shelf: Shelf, refusal: Refusal) -> None:
    assert "--split or --split-file" in refusal("drive-a", *COCO, "--split", "train=1", "--split-file", "x")
    assert "give both" in refusal("drive-a", *COCO, "--split-by", "vehicle")


def test_a_drive_may_have_regions_only(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    shelf.publish("drive-a", [shelf.frame(key_of(), [Labelled("ignore", 3, 4, 5, 6)])])
    export("drive-a", "--format", "kitti")
    [frame] = read_kitti(tmp_path / "out")["train"].values()
    assert (frame.boxes, frame.regions) == ([], [(3, 4, 8, 10)])


def test_drives_and_cameras_with_similar_names_keep_their_own_files(
    shelf: Shelf, export: Export, tmp_path: Path
) -> None:
    for drive, camera, box in (("a", "b_c", CAR), ("a_b", "c", BUS), ("a-b", "c", VAN)):
        shelf.publish(drive, [shelf.frame(key_of(drive, camera), [box])])
    export("a", "a_b", "a-b", *COCO)
    assert sorted(names(tmp_path / "out").values()) == [["bus"], ["car"], ["van"]]
    assert len(list((tmp_path / "out" / "images" / "train").iterdir())) == 3
