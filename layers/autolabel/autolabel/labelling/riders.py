"""Find riders: persons on a bicycle or motorcycle. Most models only know persons and cannot name riders."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from autolabel.labels.detections import Box, Detection

RIDER = "rider"
MACHINES = frozenset({"bicycle", "motorcycle"})
# A rider sits in the middle of the machine: at least this share of the narrower box's width is shared with the other.
_SHARED_WIDTH = 0.5
# Feet are on pedals, or on the ground beside the wheels: at most this share of the machine's height below its box.
_FEET_BELOW = 0.15
# A saddle is at about half of a machine's height: a rider's box ends at least this share of the machine's height below
# its upper edge.
_SEAT = 0.15
# A rider's box is half to four times as high as the machine's.
_HEIGHTS = (0.5, 4.0)
# A manifest line has room for about 300 boxes. A frame with more goes to reviewers without boxes: names do not matter.
_MAX_PAIRS = 100_000


def name_riders(detections: Sequence[Detection]) -> list[Detection]:
    """Rename every person who sits on a bicycle or motorcycle to rider. Boxes stay as they are.

    Each machine gets the person who fits it best, and each person one machine. So a person who walks behind a bicycle
    with a rider stays a person.
    """
    machines = [index for index, d in enumerate(detections) if d.name in MACHINES]
    persons = [index for index, d in enumerate(detections) if d.name == "person"]
    if len(machines) * len(persons) > _MAX_PAIRS:
        return list(detections)
    pairs = sorted(
        (-fit, person, machine)
        for machine in machines
        for person in persons
        if (fit := _fit(detections[person].box, detections[machine].box))
    )
    riders: set[int] = set()
    ridden: set[int] = set()
    for _, person, machine in pairs:
        if person not in riders and machine not in ridden:
            riders.add(person)
            ridden.add(machine)
    return [msgspec.structs.replace(d, name=RIDER) if i in riders else d for i, d in enumerate(detections)]


def _fit(person: Box, machine: Box) -> float:
    """Return how well a person sits on a machine (both xyxy, pixels): the shared width, 0 to 1; 0 for a non-rider."""
    px1, py1, px2, py2 = person
    mx1, my1, mx2, my2 = machine
    height = my2 - my1
    if not _HEIGHTS[0] <= (py2 - py1) / height <= _HEIGHTS[1]:
        return 0.0
    # The person begins above the machine's middle and ends between saddle and feet: not far behind, not below it.
    if not (py1 < my1 + height / 2 and my1 + _SEAT * height <= py2 <= my2 + _FEET_BELOW * height):
        return 0.0
    shared = (min(px2, mx2) - max(px1, mx1)) / min(px2 - px1, mx2 - mx1)
    return shared if shared >= _SHARED_WIDTH else 0.0
