"""`autolabel calibration` reads a drive, and `evaluate calibration` a KITTI folder; both name what is missing."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from autolabel.contracts.frames import FrameKey, PointCloudKey
from autolabel_cli.__main__ import main
from autolabel_cli.calibration.drive_files import FolderFiles, SensorFile, StackFiles
from autolabel_cli.evaluation.generated_scenes import camera_at, draw_picture, generate_scene
from tests.fakes.bucket import FakeBucket
from tests.fakes.clouds import cloud_file, lidar_drive

CAMERA = camera_at()


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def picture(seed: int) -> bytes:
    body = io.BytesIO()
    Image.fromarray(draw_picture(generate_scene(seed), CAMERA)).save(body, "PNG")
    return body.getvalue()


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """A drive of two good frames, a broken one and one without a cloud."""
    document: dict[str, Any] = {"vehicle": "car", **lidar_drive(CAMERA.projection)}
    document["cameras"]["back"] = {}
    (tmp_path / "drive.json").write_text(json.dumps(document))
    (tmp_path / "front").mkdir()
    (tmp_path / "top").mkdir()
    for number in range(4):
        (tmp_path / f"front/{number * 100_000_000:019d}.png").write_bytes(picture(number) if number else b"no picture")
        if number < 3:
            cloud = tmp_path / f"top/{number * 100_000_000 + 20_000_000:019d}.bin"
            cloud.write_bytes(cloud_file(generate_scene(number).points))
    (tmp_path / "front/notes.txt").write_text("not a frame")
    return tmp_path


def test_each_camera_gets_a_check_by_lanes_and_by_each_lidar(drive: Path) -> None:
    done = run("calibration", drive, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    checks = {(one["camera"], one.get("lidar", one["method"])): one for one in document["checks"]}
    assert checks.keys() == {("back", "lanes"), ("back", "top"), ("front", "lanes"), ("front", "top")}
    assert {one["verdict"] for one in checks.values()} == {"too little evidence"}
    assert checks["back", "top"]["why"] == "no calibration of the camera"
    # The broken picture does not count, and the last one has no cloud near in time.
    assert checks["front", "lanes"]["frames"] == 3
    assert "of 2 frames" in checks["front", "top"]["why"]
    shown = run("calibration", drive)
    assert "front by top: " in shown.output
    assert "too little evidence" in shown.output


@pytest.mark.parametrize(
    ("body", "complaint"), [(None, "drive.json cannot be read"), ("{", "is not JSON"), ("{}", "breaks its schema")]
)
def test_a_folder_without_a_good_document_is_refused(tmp_path: Path, body: str | None, complaint: str) -> None:
    if body is not None:
        (tmp_path / "drive.json").write_text(body)
    done = run("calibration", tmp_path)
    assert done.exit_code == 1
    assert complaint in " ".join(done.output.split())


def test_a_bucket_and_a_folder_list_the_same_files(drive: Path) -> None:
    bucket = FakeBucket("ingest")
    for path in drive.glob("*/*"):
        bucket.write(f"drives/d/{path.parent.name}/{path.name}", path.read_bytes())
    stored = StackFiles.__new__(StackFiles)
    stored.drive, stored._bucket = "d", bucket
    folder = FolderFiles(drive)
    for sensor, after in (("front", 0), ("front", 100_000_000), ("top", 50_000_000), ("none", 0)):
        there = [SensorFile(one.key.removeprefix("drives/d/"), one.time) for one in stored.list(sensor, after)]
        assert there == list(folder.list(sensor, after))
    key = PointCloudKey("d", "top", f"{20_000_000:019d}").key
    assert stored.read(key) == folder.read(key.removeprefix("drives/d/"))
    assert FrameKey("d", "front", f"{0:019d}", "png").key in {one.key for one in stored.list("front")}


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    for name in ("image_2", "label_2", "calib", "velodyne"):
        (tmp_path / name).mkdir()
    rows = {"P2": CAMERA.projection.matrix, "R0_rect": np.eye(3), "Tr_velo_to_cam": np.eye(3, 4)}
    text = "\n".join(f"{name}: {' '.join(map(str, matrix.ravel()))}" for name, matrix in rows.items())
    for number in range(3):
        (tmp_path / f"image_2/{number}.png").write_bytes(picture(number))
        (tmp_path / f"label_2/{number}.txt").write_text("")
        (tmp_path / f"calib/{number}.txt").write_text(text)
        points = np.insert(generate_scene(number).points, 3, 0.5, axis=1)
        points.astype("<f4").tofile(tmp_path / f"velodyne/{number}.bin")
    return tmp_path


def test_few_frames_of_a_kitti_folder_are_too_little_evidence(kitti: Path) -> None:
    (kitti / "velodyne/2.bin").unlink()
    done = run("evaluate", "calibration", kitti, "--induce", "1", "--draws", "2", "--json")
    document = json.loads(done.stdout)
    assert (document["frames"], document["silent"], document["turned"], document["worst"]) == (2, 2, 0, None)
    assert document["left_out"] == {"frames without points": 1}
    assert all(np.linalg.norm(draw["induced"]) == pytest.approx(1, abs=1e-2) for draw in document["draws"])
    assert "2 with too little evidence" in run("evaluate", "calibration", kitti, "--draws", "2").output


def test_pictures_without_lanes_and_broken_calibrations_are_named(kitti: Path) -> None:
    assert "20 are needed" in run("evaluate", "calibration", kitti, "--lanes", "--focal", "600").output
    (kitti / "calib/0.txt").write_text("P2: 1 2 3")
    assert "0.txt has no R0_rect" in run("evaluate", "calibration", kitti).output
    assert run("evaluate", "calibration", kitti, "--focal", "600").exit_code == 2


def test_seeded_errors_across_sensors_are_among_the_first_issues() -> None:
    done = run("evaluate", "sensor-issues", "--scenes", "12", "--draws", "2", "--json")
    document = json.loads(done.stdout)
    assert document["seeded"].keys() <= {"invented", "missing", "renamed"}
    assert sum(document["seeded"].values()) >= 8
    assert document["found"]["all"] >= 0.5
    assert document["issues"] <= 2 * round(0.1 * document["boxes"])


def test_the_issues_of_a_folder_are_listed(kitti: Path) -> None:
    """Without labels, the cars of the scenes are clusters without a box."""
    issues = json.loads(run("evaluate", "sensor-issues", kitti, "--list", "--json").stdout)
    assert {one["kind"] for _, one in issues} == {"cluster without a box"}
    assert [one["suspicion"] for _, one in issues] == sorted((one["suspicion"] for _, one in issues), reverse=True)
    assert "cluster without a box" in run("evaluate", "sensor-issues", kitti, "--list").output
    assert "too few boxes" in run("evaluate", "sensor-issues", kitti).output
