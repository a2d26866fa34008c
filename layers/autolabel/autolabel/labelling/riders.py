"""Riders: a person on a bicycle or motorcycle, which models that only know persons cannot name."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from autolabel.labels.detections import Box, Detection

RIDER = "rider"
MACHINES = frozenset({"bicycle", "motorcycle"})
# Who rides sits in the middle of the machine: so much of the narrower of the two is above the other.
_SHARED_WIDTH = 0.5
# Feet are on pedals or on the ground beside the wheels, as a share of the machine's height below its lower edge.
_FEET_BELOW = 0.15
# A saddle is at half a machine's height: a person ends under its upper edge by so much of the machine's height.
_SEAT = 0.15
# A person on a machine is seen from half to four times as high as the machine.
_HEIGHTS = (0.5, 4.0)
# A manifest's line has room for some 300 boxes; a frame of more goes to people without any, whatever their names.
_MAX_PAIRS = 100_000


def name_riders(detections: Sequence[Detection]) -> list[Detection]:
    """The detections with every person who sits on a bicycle or motorcycle as a rider; boxes stay as they are.

    A machine takes the person who fits it best, and a person one machine: who walks behind a parked bicycle that has
    its rider stays a person.
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
    """How well a person sits on a machine, 0 to 1 (both xyxy in pixels): the shared width, 0 when it is no rider."""
    px1, py1, px2, py2 = person
    mx1, my1, mx2, my2 = machine
    height = my2 - my1
    if not _HEIGHTS[0] <= (py2 - py1) / height <= _HEIGHTS[1]:
        return 0.0
    # Above the machine, and down to its saddle: neither standing far behind it nor lying under it.
    if not (py1 < my1 + height / 2 and my1 + _SEAT * height <= py2 <= my2 + _FEET_BELOW * height):
        return 0.0
    shared = (min(px2, mx2) - max(px1, mx1)) / min(px2 - px1, mx2 - mx1)
    return shared if shared >= _SHARED_WIDTH else 0.0
