"""Labels that points or another camera contradict are found; right labels and labels without points are left alone."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from autolabel.cuboids import Cuboid
from autolabel.labels import IGNORE, LabelledBox
from autolabel.reporting import CameraLabel, find_sensor_issues
from autolabel_cli.evaluation.generated_scenes import GROUND, Thing, box_of, camera_at, scan

CAMERAS = {"front": camera_at(), "right": camera_at(0.5, 12.0)}
THINGS = (
    Thing("car", Cuboid(1.0, GROUND, 12.0, 4.1, 1.7, 1.5, 1.5), 0),
    Thing("person", Cuboid(5.5, GROUND, 14.0, 0.7, 0.6, 1.75, 0.3), 0),
)
POINTS = scan([one.cuboid for one in THINGS], np.random.default_rng(1))[0]


def labels(**changes: dict[int, LabelledBox | None]) -> list[CameraLabel]:
    """The right boxes of both cameras: the car and the person; with changes by camera and position, None for none."""
    found = []
    for name, camera in CAMERAS.items():
        boxes = dict(enumerate(box_of(thing, camera) for thing in THINGS)) | changes.get(name, {})
        found.append(CameraLabel(name, camera, [box for box in boxes.values() if box]))
    return found


def right(camera: str, at: int = 0) -> LabelledBox:
    box = box_of(THINGS[at], CAMERAS[camera])
    assert box
    return box


def test_right_labels_have_no_issue() -> None:
    assert find_sensor_issues(labels(), POINTS) == []


@pytest.mark.parametrize("name", ["person", "truck"])
def test_an_object_that_two_cameras_name_differently_is_told_in_both(name: str) -> None:
    wrong = msgspec.structs.replace(right("right"), name=name)
    issues = find_sensor_issues(labels(right={0: wrong}), POINTS)
    # A wrong class may lead to a wrong distance as well, where no points are.
    assert {one.at for one in issues} == {0}
    first, second = (one for one in issues if one.kind == "named differently")
    assert {first.camera, second.camera} == {"front", "right"}
    assert {first.name, second.name} == {"car", name}
    assert first.suspicion > 0.7


def test_a_car_without_a_box_in_any_camera_is_a_cluster() -> None:
    issue, *others = find_sensor_issues(labels(front={0: None}, right={0: None}), POINTS)
    assert all(one.kind == issue.kind and one.suspicion < 0.5 for one in others), others
    assert (issue.kind, issue.at) == ("cluster without a box", None)
    box = right(issue.camera)
    # The LiDAR sees two sides of the car, and the box has all.
    np.testing.assert_allclose(issue.box[::2], (box.left, box.left + box.width), atol=20)
    assert issue.suspicion > 0.9


def test_a_box_in_one_camera_or_a_region_explains_a_cluster() -> None:
    assert find_sensor_issues(labels(front={0: None}), POINTS) == []
    region = msgspec.structs.replace(right("front"), name=IGNORE)
    assert find_sensor_issues(labels(front={0: region}, right={0: None}), POINTS) == []


@pytest.mark.parametrize("left", [150.0, 300.0])
def test_a_box_where_the_ground_goes_on_is_without_points(left: float) -> None:
    invented = LabelledBox("car", left, 205.0, 90.0, 75.0, 0.0)
    [issue] = find_sensor_issues(labels(front={2: invented}), POINTS)
    assert (issue.kind, issue.camera, issue.at) == ("without points", "front", 2)
    assert issue.suspicion > 0.9


def test_without_points_or_ground_nothing_is_said() -> None:
    for points in (np.empty((0, 3)), POINTS[:50], POINTS * (1, 1, -1)):
        assert find_sensor_issues(labels(front={0: None}), points) == []
