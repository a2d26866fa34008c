"""Calibrations become cameras, whose boxes are lifted; poses tell where the vehicle is; lenses are taken out."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.drive import DriveDocument
from autolabel.contracts.logs import EgoPose
from autolabel.cuboids import Cuboid, MountedCamera, NotLifted, Rig, lift_boxes, read_poses
from autolabel.labels import LabelledBox
from tests.fakes.clouds import CAMERA, GROUND, VEHICLE, box_of, cloud_of, in_vehicle, lidar_drive

SECOND = 1_000_000_000
CAR = Cuboid(1.0, GROUND, 14.0, 4.1, 1.65, 1.5, 1.3)
# A wide lens, in the order of OpenCV: k1, k2, p1, p2, k3.
LENS = (-0.28, 0.07, 0.0006, -0.0004, -0.006)


def mounted(**intrinsics: Any) -> MountedCamera:
    fields = lidar_drive(CAMERA)
    fields["cameras"]["front"]["intrinsics"] |= intrinsics
    rig = Rig(msgspec.convert({"vehicle": "car", **fields}, DriveDocument))
    camera = rig.camera("front")
    assert not isinstance(camera, NotLifted), camera
    return camera


def bent(pixels: np.ndarray[Any, Any], lens: tuple[float, ...]) -> np.ndarray[Any, Any]:
    """Where a lens shows what is at ideal pixels (n, 2): OpenCV's formula."""
    k1, k2, p1, p2, k3 = lens
    focal, center = CAMERA.matrix[[0, 1], [0, 1]], CAMERA.matrix[:2, 2]
    x, y = ((pixels - center) / focal).T
    square = x * x + y * y
    radial = 1 + k1 * square + k2 * square**2 + k3 * square**3
    moved = [
        x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x),
        y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
    ]
    return np.stack(moved, axis=1) * focal + center


def test_points_of_the_vehicle_are_seen_where_the_camera_has_them() -> None:
    camera = mounted()
    points = np.array([[0.5, -0.2, 7.0], [-3.0, 1.0, 20.0]])
    seen = in_vehicle(points) @ camera.to_camera[:3, :3].T + camera.to_camera[:3, 3]
    assert np.allclose(seen, points)
    assert np.allclose(camera.projection.pixels(seen), CAMERA.pixels(points))
    assert camera.ideal((1.0, 2.0, 3.0, 4.0)) == (1.0, 2.0, 3.0, 4.0)


def test_boxes_that_the_points_do_not_explain_and_too_many_have_no_cuboid() -> None:
    camera, points = mounted(), in_vehicle(cloud_of(CAR))
    left, top, right, bottom = box_of(CAR)
    good = LabelledBox("car", left, top, right - left, bottom - top, 0.9)
    # As high and narrow as a lamp post.
    wrong = LabelledBox("car", left + 60, 20, right - left - 120, bottom - 20, 0.9)
    one, other = lift_boxes(camera, points, [good, wrong])
    assert (one.why, other.why) == ("", "poor fit")
    unknown = LabelledBox("traffic light", 1, 1, 2, 2, 0.9)
    assert [lifted.why for lifted in lift_boxes(camera, points, [unknown] * 100 + [good])] == [
        *["no size of its class"] * 100,
        "too many boxes",
    ]


def test_a_box_that_stands_where_a_model_had_it_is_lifted_as_a_models() -> None:
    camera, points = mounted(), in_vehicle(cloud_of(CAR))
    left, top, right, bottom = box_of(CAR)
    box = LabelledBox("car", left + 9, top, right - left, bottom - top, 1.0)
    (drawn,) = lift_boxes(camera, points, [box])
    (kept,) = lift_boxes(camera, points, [box], [msgspec.structs.replace(box, confidence=0.7)])
    (changed,) = lift_boxes(camera, points, [box], [msgspec.structs.replace(box, left=left)])
    assert changed == drawn
    assert kept != drawn


def test_rectified_pictures_have_their_own_matrix_and_turn() -> None:
    turn = np.array([[np.cos(0.02), 0, np.sin(0.02)], [0, 1, 0], [-np.sin(0.02), 0, np.cos(0.02)]])
    moved = CAMERA.matrix.copy()
    moved[0, 3] = 45.0
    camera = mounted(R=turn.ravel().tolist(), P=moved.ravel().tolist())
    points = np.array([[0.5, -0.2, 7.0]])
    seen = in_vehicle(points) @ camera.to_camera[:3, :3].T + camera.to_camera[:3, 3]
    assert np.allclose(seen, points @ turn.T)
    assert np.allclose(camera.projection.matrix, moved)


@given(st.floats(200, 1000), st.floats(60, 300), st.floats(10, 150), st.floats(10, 60))
def test_a_box_of_a_lens_is_where_it_would_be_without(left: float, top: float, width: float, height: float) -> None:
    camera = mounted(D=list(LENS))
    ideal = np.array([left, top, left + width, top + height])
    middle, half = (ideal[:2] + ideal[2:]) / 2, (ideal[2:] - ideal[:2]) / 2
    sides = bent(middle + half * np.array([[-1, 0], [0, -1], [1, 0], [0, 1]]), LENS)
    found = camera.ideal((sides[0, 0], sides[1, 1], sides[2, 0], sides[3, 1]))
    # Sides bend, so what is 0 beside their middles is not quite.
    assert np.allclose(np.array(found) + np.tile(camera.corner, 2), ideal, atol=2.5)
    # Points are projected to the same picture as boxes.
    point = np.array([[0.5, -0.2, 7.0]])
    assert np.allclose(camera.projection.pixels(point) + camera.corner, CAMERA.pixels(point))
    # The corner of the stored picture is the corner of the ideal one, so a box that is cut is cut in both.
    whole = camera.ideal((0.0, 0.0, camera.width, camera.height))
    assert np.allclose(whole, (0, 0, camera.projection.width, camera.projection.height), atol=1)


def line(at: int, x: float, angle: float, **fields: Any) -> bytes:
    turn = (0.0, 0.0, float(np.sin(angle / 2)), float(np.cos(angle / 2)))
    pose = {"topic": "/odom", "child": VEHICLE, **fields}
    return msgspec.json.encode(EgoPose("odometry", timestamp=at, position=(x, 2.0, 0.0), orientation=turn, **pose))


@given(st.integers(0, 2 * SECOND), st.floats(-30, 30), st.floats(-1, 1))
def test_poses_between_two_are_on_the_way(at: int, speed: float, turning: float) -> None:
    steps = range(0, 2 * SECOND + 1, SECOND // 10)
    lines = [line(step, speed * step / SECOND, turning * step / SECOND) for step in steps]
    # A frame that is not the vehicle's, a pose without an orientation, another topic with fewer, damage, and disorder.
    others = [
        line(5, 99.0, 0.0, child="arm"),
        msgspec.json.encode(EgoPose("pose", position=(9.0, 9.0, 9.0))),
        b"{",
        b"\xff",
    ]
    others += [line(SECOND, 99.0, 0.0, topic="/another"), line(7, 1e300, 0.0), line(2**63, 9.0, 0.0)]
    place = read_poses([*others, *reversed(lines)], VEHICLE).at(at)
    assert place is not None
    assert np.allclose(place[:3, 3], (speed * at / SECOND, 2.0, 0.0), atol=1e-6)
    assert np.isclose(np.arctan2(place[1, 0], place[0, 0]), turning * at / SECOND, atol=1e-3)


@pytest.mark.parametrize("at", [-1, 3 * SECOND, 10 * SECOND])
def test_nothing_is_known_before_after_and_in_a_long_gap(at: int) -> None:
    poses = read_poses([line(0, 0.0, 0.0), line(SECOND, 1.0, 0.0), line(5 * SECOND, 5.0, 0.0)], VEHICLE)
    assert poses.at(at) is None
    assert read_poses([], VEHICLE).at(at) is None
