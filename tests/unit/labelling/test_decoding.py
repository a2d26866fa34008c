"""An answer becomes what its model is for: detections on the taxonomy, or regions of views."""

from __future__ import annotations

import msgspec

from autolabel.labelling import decode_regions
from tests.fakes.answers import BLUR, REGIONS, answer


def test_regions_of_a_view_are_those_from_their_threshold_on() -> None:
    model = msgspec.structs.replace(BLUR, thresholds={"plate": 0.5})
    boxes = [(0.0, 0.0, 0.5, 0.25), (0.5, 0.5, 1.0, 1.0), (0.5, 0.0, 1.0, 0.5), (0.0, 0.5, 0.5, 1.0)]
    body = answer(boxes, [0.0, 0.0, 1.0, 1.0], [0.5, 0.4, 0.2, 0.1], REGIONS)
    found = decode_regions([body], model, 200, 100)
    assert [(one.name, one.box) for one in found] == [("plate", (0, 0, 100, 25)), ("head", (100, 0, 200, 50))]
