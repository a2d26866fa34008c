"""Carries what third looks decide about a track at the border of two strips to all frames of the track in the job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from autolabel.labels.manifest import BoxLabel, BoxMetadata, raw
from autolabel.verification.settlement import Result


class _Class(NamedTuple):
    """A class of a job: its name, and its id in labels."""

    name: str
    id: str


# In the place of a class, where a look leaves no box of the track.
_ENDED = _Class("", "")


def carry_classes(results: Mapping[str, Result], looks: Iterable[tuple[Result, Result]]) -> dict[str, Result]:
    """Return the results that change, by frame: a contested track gets the class of its third looks.

    `results`: of a job, by frame. `looks`: of each contested frame, the results before and after its third look. The
    track gets the class where it has one of those about which the strips differed. If the looks leave it several
    classes, or end it, what the strips left stays.
    """
    old, new = defaultdict[str, set[str]](set), defaultdict[str, set[_Class]](set)
    for before, after in looks:
        metadata = BoxMetadata() if after.failure else msgspec.json.decode(after.metadata, type=BoxMetadata)
        ids = {name: id for id, name in metadata.class_map.items()}
        drawn = [] if after.failure else after.boxes
        for track in before.contested:
            old[track] |= {box.name for box in before.boxes if box.track == track}
            left = {_Class(box.name, ids[box.name]) for box in drawn if box.track == track}
            new[track] |= left or {_ENDED}
    decided = {track: min(classes) for track, classes in new.items() if len(classes) == 1 and _ENDED not in classes}
    changed = dict[str, Result]()
    for source, result in results.items() if decided else ():
        boxes = [] if result.failure else result.boxes
        if any(box.name in old[box.track] - {decided[box.track].name} for box in boxes if box.track in decided):
            classes = {
                at: decided[box.track]
                for at, box in enumerate(boxes)
                if box.track in decided and box.name in old[box.track]
            }
            changed[source] = _renamed(result, classes)
    return changed


def _renamed(result: Result, classes: Mapping[int, _Class]) -> Result:
    """Give boxes of a label other classes. `classes`: by the index of the box."""
    label = msgspec.json.decode(result.label, type=BoxLabel)
    metadata = msgspec.json.decode(result.metadata, type=dict[str, msgspec.Raw])
    names = msgspec.json.decode(metadata["class-map"], type=dict[str, str])
    for at, one in classes.items():
        label.annotations[at].class_id = int(one.id)
        names[one.id] = one.name
    used = {str(box.class_id) for box in label.annotations}
    changes = {
        "class-map": raw({id: name for id, name in names.items() if id in used}),
        "adjustment-status": raw("adjusted"),
    }
    return msgspec.structs.replace(result, label=raw(label), metadata=raw(metadata | changes))
