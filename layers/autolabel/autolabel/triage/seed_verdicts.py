"""Judges what reviewers made of seeds, and takes seeds out of their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import repeat
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from autolabel.labels.agreement import SAME_OBJECT, corners, pair_boxes
from autolabel.labels.detections import box_iou
from autolabel.labels.manifest import (
    VERIFIED,
    BoxLabel,
    LabelledBox,
    ManifestLine,
    decode_boxes,
    with_values,
)
from autolabel.labels.reviews import Marks, Review
from autolabel.triage.corrections import OTHER_CLASS, SHIFTED, UNCHANGED
from autolabel.triage.seeds import GivenBox, PlacedBox, Seed, SeedBox, SeedVerdict, Swap, placed_box, replace_boxes

_ADJUSTMENT = "adjustment-status"


class Judged(NamedTuple):
    """A reviewer's label without the seed, and what the reviewer made of the seed."""

    label: msgspec.Raw
    metadata: msgspec.Raw
    review: Review | msgspec.UnsetType
    verdict: SeedVerdict


def judge_label(
    seed: Seed,
    right: ManifestLine,
    label: msgspec.Raw,
    metadata: msgspec.Raw,
    review: Review | msgspec.UnsetType,
    *,
    tracks: bool = False,
    before: Sequence[LabelledBox] = (),
) -> Judged:
    """Say whether a reviewer caught a seed, and take it out of the label if not: what the models had returns.

    `right`: the line of the models. `tracks`: whether the label has the ids of tracks; `before`: what the reviewer left
    in the last frame before two tracks were exchanged. A changed, deleted or redrawn seed is caught, and the reviewer's
    box stands. A seed that is left beside a redrawn box is taken out. Raises msgspec.ValidationError for a label of
    another shape.
    """
    boxes = _boxes(label, metadata)
    span, gives = slice(0, 0), None
    if seed.swap:
        ids, caught = _without_swap(seed.swap, right.prelabel_boxes, boxes, before)
        metadata = _with_tracks(metadata, ids)
    else:
        left = _left_at(seed, boxes)
        rest = [box for index, box in enumerate(boxes) if index != left]
        redrawn = seed.right is not None and _is_redrawn(seed.right, right.prelabel_boxes, rest)
        caught = redrawn or (seed.shown is not None and left is None)
        at = min(seed.at, len(boxes)) if left is None else left
        span = slice(at, at + (left is not None))
        if not caught and seed.right:
            gives = seed.right.as_given(tracks)
            gives = gives if left is None else _with_rest_of(seed, gives, boxes[left], _class_id(label, left))
        if left is not None or gives:
            label, metadata = replace_boxes(label, metadata, span, gives)
    # `Any`: keys that are the back-end's own stay as they are.
    about: dict[str, Any] = msgspec.json.decode(metadata)
    if _ADJUSTMENT in about:
        same = Counter((placed_box(box), box.track) for box in _boxes(label, metadata)) == _shown(right, tracks)
        metadata = with_values(metadata, {_ADJUSTMENT: "unadjusted" if same else "adjusted"})
    worker = review.worker if isinstance(review, Review) else ""
    unsure = isinstance(review, Review) and review.unsure
    verdict = SeedVerdict(
        seed.kind,
        caught,
        seed.right.placed if seed.right else None,
        worker,
        counts=not unsure and about.get("human-annotated") != "no",
        stretch=seed.stretch,
    )
    return Judged(label, metadata, _without_effort(review, span, gives), verdict)


def _boxes(label: msgspec.Raw, metadata: msgspec.Raw) -> list[LabelledBox]:
    return decode_boxes(label, metadata, VERIFIED)


def _class_id(label: msgspec.Raw, at: int) -> int:
    return msgspec.json.decode(label, type=BoxLabel).annotations[at].class_id


def _shown(right: ManifestLine, tracks: bool) -> Counter[tuple[PlacedBox, str]]:
    """Count the boxes of the models with the ids that a label of tracks has of them."""
    ids = right.prelabel_tracks.ids if tracks and right.prelabel_tracks is not UNSET else repeat("")
    return Counter((placed_box(box), id) for box, id in zip(right.prelabel_boxes, ids, strict=False))


def _left_at(seed: Seed, boxes: Sequence[LabelledBox]) -> int | None:
    """Return the index of the seed in a label; None if it is not there any more.

    A seed changes one thing, and is left as long as that stays: the place of a shifted box, the class of a renamed one,
    both of an invented one.
    """
    if seed.shown is None:
        return None
    place, least = corners(seed.shown.labelled), SAME_OBJECT if seed.kind == OTHER_CLASS else UNCHANGED
    likes = [
        (box_iou(corners(box), place), -i)
        for i, box in enumerate(boxes)
        if seed.kind == SHIFTED or box.name == seed.shown.name
    ]
    most, minus = max(likes, default=(0.0, 0))
    return -minus if most >= least else None


def _with_rest_of(seed: Seed, gives: GivenBox, left: LabelledBox, class_id: int) -> GivenBox:
    """Keep what a reviewer made of a box beside the seed: its track, and the place or the class."""
    gives = gives._replace(track=left.track)
    if seed.kind == OTHER_CLASS and placed_box(left)[1:] != gives.placed[1:]:
        return gives._replace(left=left.left, top=left.top, width=left.width, height=left.height)
    if seed.kind == SHIFTED and left.name != gives.name:
        return gives._replace(class_id=class_id, name=left.name)
    return gives


def _is_redrawn(own: SeedBox, shown: Sequence[LabelledBox], left: Sequence[LabelledBox]) -> bool:
    """Check whether a label has a box for the models' box, or a region to ignore over it."""
    for predicted, verified, _ in pair_boxes(shown, left):
        if predicted is not None and placed_box(predicted) == own.placed:
            return verified is not None
    return True


def _without_swap(
    swap: Swap, right: Sequence[LabelledBox], boxes: Sequence[LabelledBox], before: Sequence[LabelledBox]
) -> tuple[list[str], bool]:
    """Return the ids of a label's boxes without the exchange of two tracks, and whether the reviewer undid it.

    The ids alone do not say it: a reviewer may make the tracks right before the exchange, or after it. So an object
    has the wrong track if it has that of the other object before.
    """
    shown_before = [LabelledBox(*box, 0.0) for box in swap.boxes_before]
    held = [_track_of(box, shown_before, before) or id for box, id in zip(swap.boxes_before, swap.tracks, strict=True)]
    now = [_track_of(box, right, boxes) if box else "" for box in swap.boxes]
    is_wrong = [bool(id) and id == other for id, other in zip(now, reversed(held), strict=True)]
    renamed = {id: own for id, own, wrong in zip(now, held, is_wrong, strict=True) if wrong}
    others = {box.track for box in boxes} - renamed.keys()
    # An object has one box in a frame.
    renamed = {id: own for id, own in renamed.items() if own not in others}
    left = [id in renamed for id in now if id]
    return [renamed.get(box.track, box.track) for box in boxes], not (left and all(left))


def _track_of(box: PlacedBox, shown: Sequence[LabelledBox], left: Sequence[LabelledBox]) -> str:
    """Return the track that a reviewer gave a shown box; empty if there is no box in its place."""
    for predicted, verified, _ in pair_boxes(shown, left):
        if predicted is not None and placed_box(predicted) == box:
            return verified.track if verified else ""
    return ""


def _with_tracks(metadata: msgspec.Raw, ids: Sequence[str]) -> msgspec.Raw:
    """Replace the ids of a label's boxes; other keys of the back-end stay as they are."""
    # `Any`: as above.
    objects: list[dict[str, Any]] = msgspec.json.decode(metadata).get("objects", [])
    return with_values(metadata, {"objects": [one | {"object-id": id} for one, id in zip(objects, ids, strict=True)]})


def _without_effort(
    review: Review | msgspec.UnsetType, span: slice, gives: GivenBox | None
) -> Review | msgspec.UnsetType:
    """Take out of a review what is about the seed: effort, which it has changed, and the marks of its box."""
    if not isinstance(review, Review):
        return review
    marks = list(review.boxes)
    if len(marks) > span.start:
        marks[span] = [Marks()] if gives else []
    return msgspec.structs.replace(review, seconds=None, keys=None, clicks=None, edits={}, boxes=tuple(marks))
