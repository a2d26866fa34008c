"""The intrinsics of a camera are those of its first calibration in the log."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from autolabel.contracts.logs import CameraIntrinsics
from autolabel.logs import Intrinsics, choose_cameras, inspect_log, read_intrinsics
from tests.fakes.counting import Counting
from tests.fakes.logs import START, STEP, Sent, bag_log, drive, mcap_log

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


def intrinsics(body: bytes) -> Intrinsics:
    source = Counting(body)
    index = inspect_log(source, "log")
    return read_intrinsics(source, index, choose_cameras(index))


@pytest.mark.parametrize(
    "write",
    [mcap_log, bag_log, lambda sent: mcap_log(sent, "protobuf"), lambda sent: mcap_log(sent, "ros1", chunk_size=1)],
    ids=["cdr", "bag", "protobuf", "ros1"],
)
@pytest.mark.parametrize("topic", ["/camera/rear/camera_info", "camera/rear/calibration"])
def test_a_camera_has_the_intrinsics_of_its_first_calibration(write: Any, topic: str) -> None:
    assert intrinsics(write(calibrated(INFO, {**INFO, "width": 7}, topic=topic))) == ({"camera-rear": FOUND}, {})


def test_calibrations_of_other_topics_and_uncalibrated_cameras_count_for_nothing() -> None:
    assert intrinsics(mcap_log(calibrated(INFO, topic="/camera/left/camera_info"))) == ({}, {})
    assert intrinsics(mcap_log(calibrated({**INFO, "K": [0.0] * 9}))) == ({}, {})
    assert intrinsics(mcap_log(drive(1))) == ({}, {})


@pytest.mark.parametrize("distortion", [[math.nan], [0.0] * 1_000], ids=["not finite", "long"])
def test_a_calibration_that_no_document_can_hold_is_refused(distortion: list[float]) -> None:
    found, refused = intrinsics(mcap_log(calibrated({**INFO, "D": distortion})))
    assert found == {}
    assert refused.keys() == {"camera-rear"}
