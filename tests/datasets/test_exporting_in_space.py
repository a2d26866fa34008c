"""Exports with cuboids have the places of the drive's objects, by readers that know nothing of this project."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from openlabel_checker.core import check_file

from autolabel.contracts.drive import DriveDocument
from autolabel.contracts.frames import PointCloudKey
from autolabel.contracts.run_folder import RunFolder
from autolabel.cuboids import MountedCamera, Rig, project
from autolabel.labels import BoxCuboid
from autolabel_cli.__main__ import main
from autolabel_cli.datasets.samples import quaternion, turned
from tests.datasets.drives import Labelled, Shelf, key_of
from tests.fakes.clouds import CAMERA, cloud_file, lidar_drive

Array = npt.NDArray[np.float64]
DRIVE, SIZE = "drive-a", (CAMERA.width, CAMERA.height)
STEP = 100_000_000
# The camera on the right side looks to the right, and its pictures come 20 ms after those of the front.
LATER = 20_000_000
RIGHT = {
    "frame": "eye",
    "parent": "base_link",
    "translation": [1.0, -0.9, 1.5],
    "rotation": [0.0, 0.5**0.5, -(0.5**0.5), 0.0],
}
# Objects that stand: their class, place in the world, size and heading. Both cameras see the second.
THINGS = {
    "aaaaaaaaaaaa": ("car", (34.0, 3.0, 0.8), (4.2, 1.8, 1.6), 0.3),
    "bbbbbbbbbbbb": ("bus", (14.0, -12.0, 1.6), (11.0, 2.5, 3.2), -1.2),
    "cccccccccccc": ("person", (24.0, 1.0, 0.9), (0.6, 0.6, 1.8), 2.0),
}
SENSORS = lidar_drive(CAMERA)
SENSORS["cameras"]["right"] = {**SENSORS["cameras"]["front"], "extrinsics": RIGHT}
RIG = Rig(msgspec.convert({"vehicle": "v", **SENSORS}, DriveDocument))


def pose(time: int) -> Array:
    """The vehicle in the world: it drives a curve at 10 m/s."""
    seconds = time / 1e9
    place = turned(0.2 * seconds)
    place[:3, 3] = 10 * seconds, seconds**2, 0.1
    return place


def mounted(camera: str) -> MountedCamera:
    found = RIG.camera(camera)
    assert isinstance(found, MountedCamera)
    return found


def lines_of(shelf: Shelf, *, poses: bool = True, frames: int = 3) -> list[dict[str, Any]]:
    """The dataset of a drive past the things: every thing that a camera sees has a box, and a cuboid."""
    lines = []
    for camera, after in (("front", 0), ("right", LATER)):
        for index in range(frames):
            time = STEP * index + after
            key = key_of(DRIVE, camera, time)
            seen, boxes = [], []
            for track, (name, middle, size, yaw) in THINGS.items():
                place = (np.linalg.inv(pose(time)) @ (*middle, 1.0)).tolist()
                cuboid = BoxCuboid(tuple(place[:3]), size, yaw - 0.2 * time / 1e9, 0.2, 90 if camera == "front" else 40)
                (shown,) = project(mounted(camera), np.eye(4), [cuboid])
                if shown:
                    seen.append((f"{track}{camera}", msgspec.structs.replace(cuboid, projections={camera: shown})))
                    at = map(round, (shown.left, shown.top, shown.width, shown.height))
                    boxes.append(Labelled(name, *at))
            flat = Labelled("traffic sign", 3, 3, 9, 9)
            line = shelf.frame(key, [*boxes, flat], size=SIZE)
            line["tracks"] = [*(track for track, _ in seen), ""]
            line["cuboids"] = [*(msgspec.to_builtins(one) for _, one in seen), {"why": "no size of its class"}]
            cloud = PointCloudKey(DRIVE, "top", key_of(index=STEP * index).timestamp)
            stood = {camera: time, "top": STEP * index} if poses else {}
            line["cuboids-metadata"] = {
                **{"frame": "base_link", "clouds": {"top": cloud.timestamp}, "motion": "poses" if poses else "none"},
                "poses": {sensor: pose(when)[:3].tolist() for sensor, when in stood.items()},
            }
            shelf.ingest.write(cloud.key, cloud_file(np.array([[1.0, 2.0, 3.0]])))
            lines.append(line)
    return lines


def publish(shelf: Shelf, lines: list[dict[str, Any]]) -> None:
    shelf.publish(DRIVE, lines)
    about = {"drive": DRIVE, "run": "0001", "sensors": {name: SENSORS[name] for name in ("cameras", "lidars")}}
    shelf.labels.write(RunFolder(DRIVE, "0001").summary, json.dumps(about).encode())


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Runs `autolabel export`, and returns its folder."""

    def run(*words: str, name: str = "out") -> Path:
        folder = tmp_path / name
        ended = CliRunner().invoke(main, ["export", *words, "--to", str(folder)], catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
        return folder

    return run


def tables(folder: Path, split: str = "train") -> dict[str, dict[str, Any]]:
    """The tables of an export by token, after their tokens were followed."""
    found = {path.stem: json.loads(path.read_text()) for path in (folder / f"v1.0-{split}").glob("*.json")}
    by_token = {name: {record["token"]: record for record in records} for name, records in found.items()}
    assert len(by_token) == 13
    for name, records in found.items():
        assert len(records) == len(by_token[name])
        for record in records:
            for column, value in record.items():
                table = (
                    column.removesuffix("_token").removeprefix("first_").removeprefix("last_").removesuffix("_tokens")
                )
                if column.endswith(("_token", "_tokens")):
                    table = "sample_annotation" if table == "annotation" else table
                    assert all(one in by_token[table] for one in ([value] if isinstance(value, str) else value))
            if after := record.get("next"):
                assert by_token[name][after]["prev"] == record["token"]
    return by_token


def test_nuscenes_tables_have_the_things_where_they_stand(shelf: Shelf, write: Callable[..., Path]) -> None:
    publish(shelf, lines_of(shelf))
    folder = write(DRIVE, "--format", "nuscenes")
    found = tables(folder)
    assert len(found["sample"]) == 3
    assert {one["channel"] for one in found["sensor"].values()} == {"CAM_FRONT", "CAM_RIGHT", "LIDAR_TOP"}
    # Each sample has both cameras and the LiDAR. A thing that both cameras see is one, with the most points.
    assert len(found["sample_data"]) == 9
    assert len(found["instance"]) == 3
    names = {"car": "vehicle.car", "bus": "vehicle.bus.rigid", "person": "human.pedestrian.adult"}
    for annotation in found["sample_annotation"].values():
        instance = found["instance"][annotation["instance_token"]]
        category = found["category"][instance["category_token"]]["name"]
        (middle, size, yaw) = next(rest for name, *rest in THINGS.values() if names[name] == category)
        assert np.allclose(annotation["translation"], middle, atol=1e-3)
        assert annotation["size"] == [size[1], size[0], size[2]]
        assert np.allclose(annotation["rotation"], quaternion(turned(yaw)), atol=1e-6)
        assert annotation["num_lidar_pts"] == 90
        assert annotation["visibility_token"] in {"1", "2", "3", "4"}
        assert instance["nbr_annotations"] == 3
    for data in found["sample_data"].values():
        assert (folder / data["filename"]).is_file()
    card = json.loads((folder / "dataset.json").read_text())
    twice = card["left_out"]["boxes"]["the same object in another camera"]
    assert card["left_out"]["boxes"] == {"no cuboid": 6, "the same object in another camera": twice}
    assert twice == 3
    assert card["boxes"] == len(found["sample_annotation"]) == 9
    # A repeated export is the same, byte for byte.
    again = write(DRIVE, "--format", "nuscenes", name="again")
    for path in (folder / "v1.0-train").iterdir():
        assert path.read_bytes() == (again / "v1.0-train" / path.name).read_bytes()


# Runs in the development kit's environment. Prints the boxes of each picture and cloud in its sensor's frame.
_READ = """
import json, sys
from nuscenes import NuScenes
from nuscenes.utils.data_classes import LidarPointCloud
from nuscenes.utils.geometry_utils import BoxVisibility, view_points
kit = NuScenes(version="v1.0-train", dataroot=sys.argv[1], verbose=False)
for sample in kit.sample:
    for channel, token in sample["data"].items():
        path, boxes, intrinsics = kit.get_sample_data(token, box_vis_level=BoxVisibility.ANY)
        if channel.startswith("LIDAR"):
            cloud = LidarPointCloud.from_file(path).points.tolist()
        for box in boxes:
            record = kit.get("sample_annotation", box.token)
            shown = {"channel": channel, "time": kit.get("sample_data", token)["timestamp"], "name": box.name,
                     "corners": box.corners().T.tolist(), "speed": kit.box_velocity(box.token).tolist(),
                     "level": kit.get("visibility", record["visibility_token"])["level"]}
            if intrinsics is not None:
                shown["pixels"] = view_points(box.corners(), intrinsics, normalize=True).T.tolist()
            print(json.dumps(shown))
print(json.dumps({"cloud": cloud, "scenes": [scene["name"] for scene in kit.scene]}))
"""


def test_the_kit_of_nuscenes_sees_the_things_in_the_pictures(shelf: Shelf, write: Callable[..., Path]) -> None:
    python = Path(__file__).parents[2] / ".venv-nuscenes/bin/python"
    if not python.exists():
        pytest.skip("the development kit of nuScenes is not there: make setup-nuscenes")
    publish(shelf, lines_of(shelf))
    folder = write(DRIVE, "--format", "nuscenes")
    ended = subprocess.run([python, "-c", _READ, folder], capture_output=True, check=True, text=True)
    *boxes, rest = map(json.loads, ended.stdout.splitlines())
    assert rest["scenes"] == [DRIVE]
    assert np.shape(rest["cloud"]) == (4, 1)
    compared = 0
    expected = {(one["source-ref"], at): one for one in lines_of(Shelf()) for at in range(len(one["cuboids"]) - 1)}
    for (source, at), line in expected.items():
        camera = line["provenance"]["camera"]
        (shown,) = line["cuboids"][at]["projections"].values()
        if shown.get("truncated"):
            continue
        micros = int(source.rpartition("/")[2].partition(".")[0]) // 1000
        found = [
            (*np.min(box["pixels"], axis=0)[:2], *np.max(box["pixels"], axis=0)[:2])
            for box in boxes
            if (box["channel"], box["time"]) == (f"CAM_{camera.upper()}", micros)
        ]
        sides = shown["left"], shown["top"], shown["left"] + shown["width"], shown["top"] + shown["height"]
        assert min(np.abs(np.subtract(one, sides)).max() for one in found) < 0.2
        compared += 1
    assert compared >= 6
    assert {box["channel"] for box in boxes} == {"CAM_FRONT", "CAM_RIGHT", "LIDAR_TOP"}
    # What stands has no speed.
    assert max(np.abs(box["speed"][:2]).max() for box in boxes) < 0.01


@pytest.mark.parametrize("poses", [True, False])
def test_openlabel_is_valid_and_has_the_boxes_and_cuboids(
    shelf: Shelf, write: Callable[..., Path], poses: bool
) -> None:
    lines = lines_of(shelf, poses=poses)
    publish(shelf, lines)
    (path,) = write(DRIVE, "--format", "openlabel", "--no-images").glob("train/*.json")
    report = check_file(str(path))
    assert [issue for outcome in report.outcomes for issue in outcome.issues] == []
    assert {outcome.status for outcome in report.outcomes} == {"completed"}
    document = json.loads(path.read_text())["openlabel"]
    assert list(document["frames"]) == ["0", "1", "2"]
    found = dict[str, dict[str, Any]]()
    for frame in document["frames"].values():
        properties = frame["frame_properties"]
        assert properties["streams"].keys() == {"front", "right", "top"}
        to_world = np.eye(4)
        if poses:
            to_world = np.reshape(
                properties["transforms"]["vehicle_to_world"]["transform_src_to_dst"]["matrix4x4"], (4, 4)
            )
        for number, thing in frame["objects"].items():
            what = document["objects"][number]
            boxes = {one["name"]: one for one in thing["object_data"]["bbox"]}
            (camera,) = boxes.keys() & {"front", "right"}
            uri = properties["streams"][camera]["uri"]
            place = thing["object_data"].get("cuboid", [{}])[0].get("val")
            found[f"{what['name']}@{uri}"] = {"box": boxes[camera]["val"], "place": place, "to_world": to_world}
            if place and poses:
                _, middle, size, yaw = THINGS[what["name"].removesuffix(camera)]
                assert np.allclose((to_world @ (*place[:3], 1))[:3], middle, atol=1e-3)
                assert place[7:] == list(size)
                heading = np.arctan2(2 * place[6] * place[5], 1 - 2 * place[5] ** 2) + np.arctan2(*to_world[1::-1, 0])
                assert np.isclose(np.cos(heading - yaw), 1, atol=1e-6)
    expected = 0
    for line in lines:
        for at, track in enumerate(filter(None, line["tracks"])):
            box = line["verified"]["annotations"][at]
            name = f"{DRIVE}.{line['provenance']['camera']}.{line['provenance']['timestamp']}"
            one = found[f"{track}@images/{name}.png"]
            middle = box["left"] + box["width"] / 2, box["top"] + box["height"] / 2
            assert one["box"] == [*middle, box["width"], box["height"]]
            assert poses or np.allclose(one["place"][:3], line["cuboids"][at]["center"], atol=1e-3)
            expected += 1
    assert len(found) == expected + 6  # the signs


def test_a_cuboid_has_the_class_that_its_reviewer_gave_it(shelf: Shelf, write: Callable[..., Path]) -> None:
    lines = lines_of(shelf)
    for line in lines:
        for track, cuboid in zip(line["tracks"], line["cuboids"], strict=True):
            if track.startswith("aaaaaaaaaaaa"):
                cuboid["label"] = "truck"
    drawn = {"label": "car", "center": [9.0, 0.0, 0.8], "size": [4.0, 1.8, 1.6], "yaw": 0.0, "origin": "person"}
    lines[0]["added-cuboids"] = [drawn]
    publish(shelf, lines)
    folder = write(DRIVE, "--format", "nuscenes")
    assert json.loads((folder / "dataset.json").read_text())["left_out"]["boxes"]["cuboid without a box"] == 1
    found = tables(folder)
    names = {found["category"][one["category_token"]]["name"] for one in found["instance"].values()}
    assert names == {"vehicle.truck", "vehicle.bus.rigid", "human.pedestrian.adult"}
    (path,) = write(DRIVE, "--format", "openlabel", "--no-images", name="other").glob("train/*.json")
    kinds = {one["type"] for one in json.loads(path.read_text())["openlabel"]["objects"].values()}
    assert kinds == {"truck", "bus", "person", "traffic sign"}


def test_no_box_is_lost_where_a_track_comes_twice_in_a_frame(shelf: Shelf, write: Callable[..., Path]) -> None:
    (line, *_) = lines_of(shelf)
    line["tracks"] = ["aaaaaaaaaaaa"] * len(line["tracks"])
    boxes = line["verified"]["annotations"]
    for box in boxes:
        box["class_id"] = boxes[0]["class_id"]
    publish(shelf, [line])
    (path,) = write(DRIVE, "--format", "openlabel", "--no-images").glob("train/*.json")
    assert len(json.loads(path.read_text())["openlabel"]["frames"]["0"]["objects"]) == len(boxes)
    found = tables(write(DRIVE, "--format", "nuscenes", name="other"))
    assert len(found["sample_annotation"]) == len(boxes) - 1


def test_openlabel_goes_without_calibrations_and_cuboids(shelf: Shelf, write: Callable[..., Path]) -> None:
    shelf.publish(DRIVE, [shelf.frame(key_of(DRIVE), [Labelled("car", 1, 2, 8, 6), Labelled("ignore", 0, 0, 8, 8)])])
    (path,) = write(DRIVE, "--format", "openlabel").glob("train/*.json")
    assert [issue for outcome in check_file(str(path)).outcomes for issue in outcome.issues] == []
    ((thing,),) = (one["objects"].values() for one in json.loads(path.read_text())["openlabel"]["frames"].values())
    assert thing["object_data"].keys() == {"bbox"}


def refused(tmp_path: Path, *words: str) -> str:
    ended = CliRunner().invoke(main, ["export", *words, "--to", str(tmp_path / "out")], catch_exceptions=False)
    assert ended.exit_code != 0
    assert not (tmp_path / "out").exists()
    return " ".join(ended.output.split())


def test_nuscenes_is_refused_without_calibrations(shelf: Shelf, tmp_path: Path) -> None:
    shelf.publish(DRIVE, [shelf.frame(key_of(DRIVE), [])])
    said = refused(tmp_path, DRIVE, "--format", "nuscenes")
    assert "drive-a has no calibrated camera" in said
    assert "--format openlabel" in said


def test_a_missing_point_cloud_is_named(shelf: Shelf, tmp_path: Path, write: Callable[..., Path]) -> None:
    publish(shelf, lines_of(shelf))
    for key in [key for key in shelf.ingest.objects if key.endswith(".bin")]:
        del shelf.ingest.objects[key]
    assert f"drives/{DRIVE}/top/" in refused(tmp_path, DRIVE, "--format", "nuscenes")
    assert write(DRIVE, "--format", "nuscenes", "--no-images").is_dir()


def test_frames_without_a_pose_are_a_scene_of_their_own(shelf: Shelf, write: Callable[..., Path]) -> None:
    lines = lines_of(shelf)
    lines[0]["cuboids-metadata"]["poses"] = {}
    publish(shelf, lines)
    found = tables(write(DRIVE, "--format", "nuscenes"))
    assert {scene["name"]: scene["nbr_samples"] for scene in found["scene"].values()} == {
        "drive-a": 3,
        "drive-a.without-poses": 1,
    }
    assert len(tables(write(DRIVE, "--format", "nuscenes", "--sample-tolerance", "10", name="near"))["sample"]) == 6
