"""Edits turn a pre-label into the objects that count."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from autolabel.labels import Box, Detection
from autolabel_cli.evaluation.edits import Edits, count_edits
from autolabel_cli.evaluation.objects import LabelledObject, class_of
from autolabel_cli.models.kitti import LEVELS

LABELLED = ("car", "van", "truck", "train", "bus", "person", "rider")


def _detection(name: str, box: Box, confidence: float = 0.9) -> Detection:
    return Detection(name, box, confidence, confidence, name, ("m.0001",))


def _object(kind: str, box: Box, occluded: int = 0, *, region: bool = False) -> LabelledObject:
    name = class_of(kind)
    return LabelledObject(kind, name, box, 1.0, region or name == "ignore", 0.0, occluded)


CAR: Box = (100.0, 100.0, 200.0, 160.0)
ASIDE: Box = (112.0, 100.0, 212.0, 160.0)
ELSEWHERE: Box = (300.0, 100.0, 400.0, 160.0)
CROWD: Box = (90.0, 90.0, 220.0, 170.0)


@pytest.mark.parametrize(
    ("prelabel", "objects", "edits"),
    [
        ([], [], Edits()),
        ([_detection("car", CAR)], [_object("Car", CAR)], Edits()),
        ([], [_object("Car", CAR)], Edits(add=1)),
        ([_detection("car", CAR)], [], Edits(delete=1)),
        ([_detection("car", ASIDE)], [_object("Car", CAR)], Edits(move=1)),
        ([_detection("truck", ASIDE)], [_object("Car", CAR)], Edits(relabel=1)),
        ([_detection("car", ELSEWHERE)], [_object("Car", CAR)], Edits(add=1, delete=1)),
        ([_detection("car", CAR), _detection("car", ASIDE, 0.99)], [_object("Car", CAR)], Edits(delete=1)),
        ([_detection("car", CAR)], [_object("Car", CAR, occluded=3)], Edits()),
        ([_detection("car", CAR)], [_object("Misc", CAR)], Edits()),
        ([_detection("car", CAR), _detection("car", ASIDE)], [_object("DontCare", CROWD, -1)], Edits()),
        ([_detection("car", CAR)], [_object("car", CROWD, region=True)], Edits()),
        ([_detection("truck", CAR)], [_object("car", CROWD, region=True)], Edits(delete=1)),
        ([_detection("car", CAR)], [_object("kangaroo", CAR)], Edits()),
        ([_detection("car", (100, 100, 200, 120))], [], Edits()),
        ([_detection("traffic light", CAR)], [], Edits()),
    ],
    ids=[
        "nothing at all",
        "a good box",
        "a missed object",
        "a false alarm",
        "a box beside the object",
        "another class, in any place",
        "a box too far away",
        "two boxes on one object: the better one stays",
        "an object that does not count",
        "an object without a class",
        "boxes in an unlabelled region",
        "a box in a crowd of its class",
        "a box in a crowd of another class",
        "an object of an unknown class",
        "a false alarm too low to count",
        "a class that the set does not label",
    ],
)
def test_edits_turn_a_pre_label_into_the_counted_objects(
    prelabel: Sequence[Detection], objects: Sequence[LabelledObject], edits: Edits
) -> None:
    assert count_edits(prelabel, objects, LEVELS["hard"], LABELLED) == edits
