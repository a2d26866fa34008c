"""`evaluate cuboids` reads a folder in KITTI's format, scores lifted boxes, and names what is broken."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pypcd4.pypcd4 import PointCloud

from autolabel.cuboids import Cuboid
from autolabel_cli.__main__ import main
from autolabel_cli.evaluation.cuboids import compare, interval
from tests.fakes.clouds import CAMERA, GROUND, box_of, cloud_of

CARS = [Cuboid(1.0, GROUND, 14.0, 4.1, 1.65, 1.5, 1.3), Cuboid(-3.0, GROUND, 22.0, 3.8, 1.6, 1.5, -0.2)]
# As on KITTI's cars: the LiDAR's x is ahead, y to the left, z up.
TO_CAMERA = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0]])
CALIBRATION = {
    "P2": CAMERA.matrix,
    "R0_rect": np.eye(3),
    "Tr_velo_to_cam": TO_CAMERA,
}
sides = st.floats(0.5, 10)
cuboids = st.builds(
    Cuboid,
    x=st.floats(-3, 3),
    y=st.floats(-1, 1),
    z=st.floats(5, 9),
    length=sides,
    width=sides,
    height=sides,
    yaw=st.floats(-7, 7),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("image_2", "label_2", "calib", "velodyne"):
        (tmp_path / name).mkdir()
    for number, car in enumerate(CARS):
        Image.new("RGB", (CAMERA.width, CAMERA.height)).save(tmp_path / f"image_2/{number}.png")
        solid = (car.height, car.width, car.length, car.x, car.y, car.z, car.yaw)
        numbers = " ".join(f"{n:.6f}" for n in (*box_of(car), *solid))
        far = " ".join(f"{n:.6f}" for n in (500, 160, 560, 200, *solid[:5], 80, 0))
        (tmp_path / f"label_2/{number}.txt").write_text(f"Car 0 0 0 {numbers}\nCar 0 0 0 {far}\n")
        rows = [f"{name}: {' '.join(map(str, matrix.ravel()))}" for name, matrix in CALIBRATION.items()]
        (tmp_path / f"calib/{number}.txt").write_text("\n".join(rows))
        points = cloud_of(car, number) @ TO_CAMERA[:, :3]
        np.insert(points, 3, 0.5, axis=1).astype("<f4").tofile(tmp_path / f"velodyne/{number}.bin")
    return tmp_path


def evaluate(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["evaluate", "cuboids", str(folder), *options])


def test_cars_are_scored_and_what_is_far_does_not_count(folder: Path) -> None:
    (folder / "velodyne/1.bin").unlink()
    document = json.loads(evaluate(folder, "--json").stdout)
    assert document.pop("seconds_per_box") > 0
    assert document["intervals"].keys() == {"iou50", "iou70", "bev70"}
    del document["intervals"]
    assert document == {
        "cars": 1,
        "iou50": 1.0,
        "iou70": 1.0,
        "bev70": 1.0,
        "frames": 1,
        "left_out": {"frames without points": 1},
    }
    shown = evaluate(folder)
    assert "1 frame, 1 car" in shown.output
    assert "frames without points: 1" in shown.output


def test_a_car_without_points_counts_as_wrong(folder: Path) -> None:
    (folder / "velodyne/0.bin").write_bytes(struct.pack("<4f", np.nan, 1, 1, 1) * 100)
    document = json.loads(evaluate(folder, "--json").stdout)
    assert (document["cars"], document["iou50"]) == (2, 0.5)
    assert document["left_out"] == {"cars without a cuboid: no ground": 1}


def test_a_pcd_file_is_read_as_a_bin_file_is(folder: Path) -> None:
    expected = json.loads(evaluate(folder, "--json").stdout)
    for cloud in (folder / "velodyne").glob("*.bin"):
        points = np.fromfile(cloud, "<f4").reshape(-1, 4)
        PointCloud.from_xyzi_points(points).save(cloud.with_suffix(".pcd"))
        cloud.unlink()
    document = json.loads(evaluate(folder, "--json").stdout)
    assert document | {"seconds_per_box": 0} == expected | {"seconds_per_box": 0}


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("velodyne/0.bin", b"12345", "0.bin is not a point cloud"),
        ("velodyne/0.bin", b"", "0.bin is not a point cloud"),
        ("calib/0.txt", b"P2: 1 2 3", "0.txt has no R0_rect"),
        ("calib/0.txt", b"P2: 1\nR0_rect: 1\nTr_velo_to_cam: 1", "P2 needs 12 finite numbers"),
        ("calib/0.txt", b"P2: x\nR0_rect: 1\nTr_velo_to_cam: 1", "is not a calibration"),
        ("label_2/0.txt", b"Car 0 0 0 1 1 90 90 1 1 x 1 1 9 0", "Car of frame 0: could not convert"),
        ("label_2/0.txt", b"Car 0 0 0 1 1 90 90 0 0 0 1 1 9 0", "Car of frame 0 has no size or place"),
    ],
)
def test_a_broken_file_is_named(folder: Path, file: str, content: bytes, complaint: str) -> None:
    (folder / file).write_bytes(content)
    done = evaluate(folder)
    assert done.exit_code == 1
    assert complaint in " ".join(done.output.split())


@given(cuboids, cuboids)
def test_an_iou_is_symmetrical_and_one_only_for_the_same(one: Cuboid, other: Cuboid) -> None:
    assert compare(one, one) == pytest.approx((1, 1), abs=1e-6)
    assert compare(one, other) == pytest.approx(compare(other, one), abs=1e-6)
    solid, ground = compare(one, other)
    assert -1e-9 <= solid <= ground + 1e-9 <= 1 + 2e-9
    assert compare(one, one._replace(yaw=one.yaw + np.pi)) == pytest.approx((1, 1), abs=1e-6)


def test_an_iou_in_numbers() -> None:
    cube = Cuboid(0, 0, 5, 2, 2, 2, 0)
    assert compare(cube, cube._replace(x=1.0)) == pytest.approx((1 / 3, 1 / 3))
    assert compare(cube, cube._replace(y=-1.0)) == pytest.approx((1 / 3, 1))
    # A square that is turned by 45° shares an octagon: 8(√2 - 1) of 4.
    octagon = 8 * (np.sqrt(2) - 1)
    assert compare(cube, cube._replace(yaw=np.pi / 4)).ground == pytest.approx(octagon / (8 - octagon))


def test_an_interval_is_wilsons() -> None:
    # 81 of 263: Newcombe, Statistics in Medicine 17 (1998), table I.
    low, high = interval([1.0] * 81 + [0.0] * 182, 0.7)
    assert (round(low, 4), round(high, 4)) == (0.255, 0.366)
