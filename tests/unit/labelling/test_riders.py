"""Persons on bicycles and motorcycles are riders."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labelling.riders import MACHINES, name_riders
from autolabel.labels.detections import Box, Detection

BICYCLE: Box = (100.0, 100.0, 160.0, 160.0)
RIDING: Box = (110.0, 40.0, 150.0, 150.0)


def found(name: str, box: Box) -> Detection:
    return Detection(name, box, 0.9, 0.9, name, ("m.0001",))


def names(*detections: Detection) -> list[str]:
    return [d.name for d in name_riders(detections)]


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_a_person_on_a_machine_is_a_rider(machine: str) -> None:
    assert names(found(machine, BICYCLE), found("person", RIDING)) == [machine, "rider"]


@pytest.mark.parametrize(
    "person",
    [
        (300.0, 40.0, 340.0, 150.0),  # beside
        (155.0, 40.0, 195.0, 150.0),  # in front of it
        (110.0, 10.0, 150.0, 105.0),  # far behind: the feet are above the saddle
        (110.0, 130.0, 150.0, 230.0),  # nearer to the camera
        (110.0, 40.0, 150.0, 400.0),  # much nearer
        (110.0, 90.0, 118.0, 115.0),  # a passenger's hand
    ],
    ids=str,
)
def test_a_person_elsewhere_is_a_person(person: Box) -> None:
    assert names(found("bicycle", BICYCLE), found("person", person)) == ["bicycle", "person"]


def test_a_machine_has_one_rider() -> None:
    beside = (130.0, 40.0, 175.0, 150.0)
    assert names(found("person", beside), found("bicycle", BICYCLE), found("person", RIDING)) == [
        "person",
        "bicycle",
        "rider",
    ]


def test_a_person_on_a_car_stays_a_person() -> None:
    assert names(found("car", BICYCLE), found("person", RIDING)) == ["car", "person"]


coordinates = st.floats(0, 1_000)
boxes = st.tuples(coordinates, coordinates, st.floats(1, 300), st.floats(1, 300)).map(
    lambda p: (p[0], p[1], p[0] + p[2], p[1] + p[3])
)


@given(st.lists(st.builds(found, st.sampled_from(["person", "bicycle", "motorcycle", "car"]), boxes), max_size=12))
def test_only_persons_change_and_at_most_one_for_each_machine(detections: list[Detection]) -> None:
    named = name_riders(detections)
    assert [msgspec.structs.replace(d, name="person") if d.name == "rider" else d for d in named] == detections
    assert sum(d.name == "rider" for d in named) <= sum(d.name in MACHINES for d in detections)
