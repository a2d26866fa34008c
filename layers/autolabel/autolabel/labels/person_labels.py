"""Labels that persons made in earlier runs of a drive: what is stored of each, and how a later run reads them.

A person's label belongs to the frame's bytes, the taxonomy and the task, not to the job, attempt or run in which it was
made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from autolabel.contracts.verification import BOXES, SEGMENTS, Task
from autolabel.labels.agreement import pair_boxes
from autolabel.labels.manifest import (
    BACKGROUND,
    BoxLabel,
    BoxMetadata,
    LabelledBox,
    LabelledBy,
    ManifestLine,
    Unsure,
    join_boxes,
    raw,
)
from autolabel.labels.reviews import Review

# A box without its confidence: class, left, top, width, height in pixels.
ShownBox = tuple[str, float, float, float, float]
# Twice as many as the boxes of the most crowded line; a frame that is asked again and again must not grow for ever.
_MOST_SHOWN = 500


class PersonLabel(msgspec.Struct, frozen=True, omit_defaults=True, rename="kebab"):
    """A label that a person made of one frame.

    `etag`, `taxonomy` and `task` say what it is a label of. `classes`: those that its job offered. `label` and
    `metadata`: in Ground Truth's format, or for segments the picture's S3 URI. `run`, `job`, `models`: where it was
    made, and whose pre-label was shown. `shown`: the boxes of that pre-label; empty after a blind look. `final`: False
    if a reviewer was unsure in the first round, or reviewers differed, and there was no second look. `unsure`: an
    earlier reviewer who was unsure. `excluded`: whether an exclusion covered its reviewers when it was collected.
    """

    etag: str
    taxonomy: str
    classes: tuple[str, ...]
    label: msgspec.Raw
    metadata: msgspec.Raw
    labelled_by: LabelledBy
    run: str
    job: str
    task: Task = BOXES
    models: tuple[str, ...] = ()
    shown: tuple[ShownBox, ...] = ()
    review: Review | UnsetType = UNSET
    final: bool = True
    unsure: Unsure | None = None
    excluded: bool = False

    @property
    def boxes(self) -> list[LabelledBox]:
        """Read the label's boxes; raises msgspec.ValidationError if it has another shape."""
        return join_boxes(
            msgspec.json.decode(self.label, type=BoxLabel),
            msgspec.json.decode(self.metadata, type=BoxMetadata),
            "an earlier label",
        )


class FrameLabels(msgspec.Struct, frozen=True):
    """The labels of one frame from earlier runs, the newest first. `position`: `camera/timestamp`."""

    position: str
    labels: tuple[PersonLabel, ...]


class Adopted(NamedTuple):
    """A label as a later run keeps it, and the number of its boxes whose classes that run does not have."""

    label: PersonLabel
    dropped: int


def add_label(labels: Sequence[PersonLabel], older: PersonLabel) -> tuple[PersonLabel, ...]:
    """Add a label to newer ones of the same frame, unless a newer one replaces it.

    A final label replaces all older ones of the same bytes, taxonomy and task. A label that is not final replaces only
    those that are not final either, because the final one counts if no reviewer looks again. What a reviewer was shown
    before stays known: otherwise two answers could be asked for in turns. An excluded label neither replaces others nor
    tells what was shown; it stays known, because the exclusion may be taken back.
    """
    replaced = False
    known: list[PersonLabel] = []
    for newer in labels:
        of_the_same = (newer.etag, newer.taxonomy, newer.task) == (older.etag, older.taxonomy, older.task)
        if of_the_same and not newer.excluded:
            if not older.excluded:
                newer = msgspec.structs.replace(newer, shown=_unite(newer, older))
            replaced = replaced or newer.final or not older.final
        known.append(newer)
    return tuple(known) if replaced else (*known, older)


def _unite(newer: PersonLabel, older: PersonLabel) -> tuple[ShownBox, ...]:
    """Return what either reviewer was shown; after a blind look, nothing of before counts."""
    if newer.labelled_by == LabelledBy.PERSON:
        return newer.shown
    missing = _without_partner([LabelledBox(*box, confidence=0.0) for box in older.shown], newer.shown)
    united = (*newer.shown, *((box.name, box.left, box.top, box.width, box.height) for box in missing))
    return united[:_MOST_SHOWN]


def shown_boxes(line: ManifestLine) -> tuple[ShownBox, ...]:
    """Return the boxes that a reviewer was shown with a job's line: the pre-label, and the marked contradictions."""
    boxes = [(box.name, box.left, box.top, box.width, box.height) for box in line.prelabel_boxes]
    if line.uncertainty is not UNSET:
        boxes += [(c.label, c.left, c.top, c.width, c.height) for c in line.uncertainty.candidates if c.new]
    return tuple(boxes)


def contradictions(
    prelabel: Iterable[LabelledBox], label: Sequence[LabelledBox], shown: Iterable[ShownBox]
) -> list[LabelledBox]:
    """Find the boxes of a new pre-label that contradict a person's label with something that the person was not shown.

    Such a box has no partner in the label, or one of another class, and no partner of its class in the shown boxes.
    """
    pairs = pair_boxes(list(prelabel), label)
    against = [
        pair.predicted
        for pair in pairs
        if pair.predicted is not None and (pair.verified is None or pair.verified.name != pair.predicted.name)
    ]
    return _without_partner(against, shown)


def _without_partner(boxes: Sequence[LabelledBox], shown: Iterable[ShownBox]) -> list[LabelledBox]:
    """Return the boxes that have no partner of their class among the shown ones."""
    known = [LabelledBox(*box, confidence=0.0) for box in shown]
    alone = []
    for name in dict.fromkeys(box.name for box in boxes):
        found = pair_boxes([box for box in boxes if box.name == name], [box for box in known if box.name == name])
        alone += [pair.predicted for pair in found if pair.predicted is not None and pair.verified is None]
    return alone


def adopt(label: PersonLabel, classes: Sequence[str]) -> Adopted:
    """Make the label one of a job with other classes: boxes of classes that it does not have are left out.

    `classes`: in the order of the class ids. Raises msgspec.ValidationError if the label's boxes have another shape.
    """
    if label.classes == tuple(classes) or label.task == SEGMENTS:
        return Adopted(label, 0)
    boxes = label.boxes
    kept = [i for i, box in enumerate(boxes) if box.name in classes]
    # `Any`: keys that are the back-end's own stay as they are.
    value: dict[str, Any] = msgspec.json.decode(label.label)
    metadata: dict[str, Any] = msgspec.json.decode(label.metadata)
    ids = {name: i for i, name in enumerate(classes)}
    value["annotations"] = [{**value["annotations"][i], "class_id": ids[boxes[i].name]} for i in kept]
    metadata["objects"] = [metadata["objects"][i] for i in kept]
    metadata["class-map"] = {str(ids[name]): name for name in classes if any(boxes[i].name == name for i in kept)}
    review = label.review
    if isinstance(review, Review) and review.boxes:
        # Marks are in the order of the boxes, and may be fewer.
        marks = tuple(review.boxes[i] for i in kept if i < len(review.boxes))
        review = msgspec.structs.replace(review, boxes=marks)
    return Adopted(
        msgspec.structs.replace(label, label=raw(value), metadata=raw(metadata), classes=tuple(classes), review=review),
        len(boxes) - len(kept),
    )


def segment_classes(label: PersonLabel) -> frozenset[str]:
    """Return the classes that a label of segments names, without the background.

    Raises msgspec.ValidationError if it names none as Ground Truth does.
    """
    names = msgspec.json.decode(label.metadata, type=_ColorMap).internal_color_map.values()
    return frozenset(one.class_name for one in names) - {BACKGROUND}


class _Meaning(msgspec.Struct, rename="kebab"):
    class_name: str


class _ColorMap(msgspec.Struct, rename="kebab"):
    internal_color_map: dict[str, _Meaning]


def offered_all(label: PersonLabel, classes: Collection[str]) -> bool:
    """Check whether the label's job offered every one of these classes."""
    return set(classes) <= set(label.classes)
