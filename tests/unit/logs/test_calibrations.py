"""A log tells its cameras' intrinsics by their first calibrations, and places sensors by its static transforms."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.FrameTransforms_pb2 import FrameTransforms
from foxglove_schemas_protobuf.Quaternion_pb2 import Quaternion
from foxglove_schemas_protobuf.Vector3_pb2 import Vector3
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.logs import CameraIntrinsics, LogDocument, Transform
from autolabel.logs import Calibrations, choose_sensors, inspect_log, read_calibrations
from autolabel.logs.transforms import TransformTree, rotate
from tests.fakes.counting import Counting
from tests.fakes.logs import LIDAR, START, STEP, Sent, bag_log, drive, mcap_log, ros_cloud, sqlite_log
from tests.unit.logs.test_point_clouds import foxglove_cloud

INFO: dict[str, Any] = {
    "width": 24,
    "height": 16,
    "distortion_model": "plumb_bob",
    "D": [0.1, -0.2, 0.0, 0.0, 0.5],
    "K": [500.0, 0.0, 12.0, 0.0, 501.0, 8.0, 0.0, 0.0, 1.0],
    "R": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    "P": [500.0, 0.0, 12.0, 0.0, 0.0, 501.0, 8.0, 0.0, 0.0, 0.0, 1.0, 0.0],
}


FOUND = msgspec.convert(INFO, CameraIntrinsics)


def calibrated(*infos: dict[str, Any], topic: str = "/camera/rear/camera_info") -> list[Sent]:
    return [*drive(2), *(Sent(topic, START, START + n * STEP, info=info) for n, info in enumerate(infos))]


def read(body: bytes, document: LogDocument | None = None) -> Calibrations:
    source = Counting(body)
    index = inspect_log(source, "log")
    return read_calibrations(source, index, choose_sensors(index, document=document))


@pytest.mark.parametrize(
    "write",
    [mcap_log, bag_log, lambda sent: mcap_log(sent, "protobuf"), lambda sent: mcap_log(sent, "ros1", chunk_size=1)],
    ids=["cdr", "bag", "protobuf", "ros1"],
)
@pytest.mark.parametrize("topic", ["/camera/rear/camera_info", "camera/rear/calibration"])
def test_a_camera_has_the_intrinsics_of_its_first_calibration(write: Any, topic: str) -> None:
    assert read(write(calibrated(INFO, {**INFO, "width": 7}, topic=topic))) == ({"camera-rear": FOUND}, {}, ())


def test_calibrations_of_other_topics_and_uncalibrated_cameras_count_for_nothing() -> None:
    assert read(mcap_log(calibrated(INFO, topic="/camera/left/camera_info"))) == ({}, {}, ())
    assert read(mcap_log(calibrated({**INFO, "K": [0.0] * 9}))) == ({}, {}, ())
    assert read(mcap_log(drive(1))) == ({}, {}, ())


@pytest.mark.parametrize("distortion", [[math.nan], [0.0] * 1_000], ids=["not finite", "long"])
def test_a_calibration_that_no_document_can_hold_is_refused(distortion: list[float]) -> None:
    found = read(mcap_log(calibrated({**INFO, "D": distortion})))
    assert found.intrinsics == {}
    assert [said.partition(",")[0] for said in found.refused] == ["camera-rear: no intrinsics"]


def transforms(*found: Transform, topic: str = "/tf_static", encoding: str = "cdr") -> list[Sent]:
    """Messages that place frames, one for each transform."""
    sent = []
    for at, one in enumerate(found):
        translation, rotation = (
            dict(zip("xyz", one.translation, strict=True)),
            dict(zip("xyzw", one.rotation, strict=True)),
        )
        made: Any = (
            "tf2_msgs/msg/TFMessage",
            {
                "transforms": [
                    {
                        "header": {"frame_id": one.parent},
                        "child_frame_id": one.frame,
                        "transform": {"translation": translation, "rotation": rotation},
                    }
                ]
            },
        )
        if encoding == "protobuf":
            made = FrameTransform(
                parent_frame_id=one.parent,
                child_frame_id=one.frame,
                translation=Vector3(**translation),
                rotation=Quaternion(**rotation),
            )
            made = FrameTransforms(transforms=[made]) if at % 2 else made
        # A topic of protobuf has messages of one type.
        sent.append(Sent(topic if at % 2 else f"/base{topic}", 0, START + at, made=made))
    return sent


def placed(*found: Transform, body: Any = mcap_log, **more: Any) -> Calibrations:
    """Read a log with cameras in the frame `camera`, a LiDAR in `velodyne`, and these transforms."""
    sent = [*drive(1), Sent(LIDAR, START, START, made=ros_cloud(1), frame="velodyne")]
    sent = [one for one in sent if one.topic != LIDAR or one.made]
    return read(body([*sent, *transforms(*found, **more)]), LogDocument(lidars={LIDAR: "top"}))


# The camera looks ahead: its z is the vehicle's x.
OPTICAL = (-0.5, 0.5, -0.5, 0.5)
MAST = Transform("mast", "base_link", (1.0, 0.0, 1.5), (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5)))
CAMERA = Transform("camera", "/mast", (0.5, 0.0, 0.0), OPTICAL)
VELODYNE = Transform("velodyne", "base_link", (0.0, 0.0, 2.0), (0.0, 0.0, 0.0, 1.0))


@pytest.mark.parametrize("write", [mcap_log, bag_log, sqlite_log, lambda sent: mcap_log(sent, "ros1")])
def test_sensors_are_placed_in_the_vehicle_by_chains_of_static_transforms(write: Any) -> None:
    found = placed(VELODYNE, MAST, CAMERA, MAST, body=write)
    assert found.refused == ()
    assert found.extrinsics["top"] == VELODYNE
    camera = found.extrinsics["camera-front"]
    assert (camera.frame, camera.parent) == ("camera", "base_link")
    # The mast looks to the left.
    assert camera.translation == pytest.approx((1.0, 0.5, 1.5))
    assert rotate(camera.rotation, (0.0, 0.0, 1.0)) == pytest.approx((0.0, 1.0, 0.0))
    assert found.extrinsics["camera-rear"] == camera


def test_foxglove_transforms_place_sensors() -> None:
    sent = [*drive(1), *transforms(CAMERA, MAST, encoding="protobuf")]
    found = read(mcap_log([one for one in sent if one.topic != LIDAR], "protobuf"))
    # The messages of the cameras name no frame.
    assert [said.partition(", ")[0] for said in found.refused] == [
        "camera-front: no extrinsics",
        "camera-rear: no extrinsics",
    ]
    clouds = [Sent(LIDAR, START, START, made=foxglove_cloud(1)), *transforms(LIDAR_PLACE, encoding="protobuf")]
    assert read(mcap_log(clouds, "protobuf"), LogDocument(lidars={LIDAR: "top"})).extrinsics == {"top": LIDAR_PLACE}


LIDAR_PLACE = Transform("lidar", "roof", (0.0, 0.25, 0.0), (0.0, 0.0, 0.0, 1.0))


def moved(**fields: Any) -> Transform:
    return msgspec.structs.replace(VELODYNE, **fields)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ([], "no static transform has its frame 'velodyne'"),
        ([VELODYNE, moved(parent="roof")], "two parents, 'base_link' and 'roof'"),
        ([VELODYNE, moved(translation=(0.0, 0.0, 2.1))], "has two places"),
        ([moved(rotation=(0.0, 0.0, 0.0, 2.0))], "quaternion of length 1"),
        ([moved(translation=(math.nan, 0.0, 0.0))], "must be finite"),
        ([moved(parent="roof")], "lead from its frame 'velodyne' to"),
        ([moved(parent="a"), moved(frame="a", parent="velodyne")], "have a loop at 'velodyne'"),
    ],
    ids=["missing", "two parents", "two places", "not a rotation", "not finite", "apart", "loop"],
)
def test_what_does_not_place_a_sensor_is_said_and_nothing_is_guessed(found: list[Transform], why: str) -> None:
    calibrations = placed(*found, CAMERA, MAST)
    (said,) = calibrations.refused
    assert said.startswith("top: no extrinsics, ")
    assert why in said
    assert set(calibrations.extrinsics) == {"camera-front", "camera-rear"}


def test_transforms_of_other_topics_place_nothing() -> None:
    assert placed(VELODYNE, CAMERA, MAST, topic="/tf").extrinsics == {}


@given(st.data())
def test_a_tree_of_transforms_is_composed_as_matrices_are(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 7))
    numbers = st.floats(-10, 10)
    matrices, found = [np.eye(4)], []
    names = ["root", *(f"frame{number}" for number in range(1, count))]
    names[data.draw(st.integers(0, count - 1))] = "base_link"
    for number in range(1, count):
        parent = data.draw(st.integers(0, number - 1))
        quaternion = np.array(data.draw(st.tuples(*[numbers] * 4).filter(lambda of: math.hypot(*of) > 0.1)))
        quaternion /= np.linalg.norm(quaternion)
        translation = np.array(data.draw(st.tuples(*[numbers] * 3)))
        found.append(Transform(names[number], names[parent], tuple(translation.tolist()), tuple(quaternion.tolist())))
        matrices.append(matrices[parent] @ matrix(found[-1]))
    tree = TransformTree()
    for one in data.draw(st.permutations(found)):
        tree.add(one)
    for name, whole in zip(names, matrices, strict=True):
        placed = tree.place(name)
        assert (placed.frame, placed.parent) == (name, "base_link")
        expected = np.linalg.inv(matrices[names.index("base_link")]) @ whole
        np.testing.assert_allclose(matrix(placed), expected, atol=1e-9)


def matrix(of: Transform) -> np.ndarray:
    """Write a transform as a matrix, by the textbook's formula of the rotation."""
    x, y, z, w = of.rotation
    made = np.eye(4)
    made[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    made[:3, 3] = of.translation
    return made
