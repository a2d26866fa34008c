"""Makes one label of the answers that several reviewers gave for a frame, and says where they differ.

Boxes of one object are grouped over the reviewers, with at most one box of each. More than half of the reviewers decide
whether an object is there, and more than half of those who drew it decide its class and its track, if boxes have
tracks; its sides are medians. The result depends on the answers alone, and not on the order in which they came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import median
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from autolabel.labels.agreement import WELL_PLACED, corners, same_objects
from autolabel.labels.detections import box_iou
from autolabel.labels.manifest import (
    VERIFIED,
    BoxLabel,
    BoxMetadata,
    CandidateBox,
    LabelledBox,
    ManifestLine,
    join_boxes,
    raw,
)
from autolabel.labels.reviews import MAX_COMMENT, Effort, Marks, Review
from autolabel.verification.sequences import own_id, shown_tracks

# A back-end's line has these in the place of a label: how many reviewers were asked, and what each of them answered.
ASKED = "asked"
ANSWERS = "answers"
# What a reviewer says of an object that others drew.
ABSENT = ""
Place = tuple[str, float, float, float, float]


class Answer(NamedTuple):
    """A reviewer's answer: label and metadata of boxes, in Ground Truth's format, and the review, if it is known."""

    label: msgspec.Raw
    metadata: msgspec.Raw
    review: Review | msgspec.UnsetType = UNSET

    @property
    def worker(self) -> str:
        return self.review.worker if isinstance(self.review, Review) else ""


class Consensus(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far the reviewers of a frame agree.

    `asked`: the number of reviewers that were asked; `workers`: those who answered. `objects`: for each object, the
    class that each of them gave it, in their order, ABSENT where they drew none. `disputed`: boxes about which they
    differ.
    """

    asked: int
    workers: tuple[str, ...]
    objects: tuple[tuple[str, ...], ...] = ()
    disputed: tuple[CandidateBox, ...] = ()

    @property
    def is_short(self) -> bool:
        """Whether fewer reviewers answered than were asked."""
        return len(self.workers) < self.asked


class Consolidated(NamedTuple):
    """The label that the answers lead to, as an answer, and how far they agree."""

    answer: Answer
    consensus: Consensus


def consolidate(line: ManifestLine, answers: Iterable[Answer], asked: int) -> Consolidated:
    """Consolidate the answers for a frame; there is at least one, and each label is a valid one.

    `line`: what the reviewers were shown. Of two answers of one reviewer, the later counts. Of a single answer, the
    label stays to the byte.
    """
    latest = _latest(answers)
    workers = tuple(answer.worker for answer in latest)
    if len(latest) == 1:
        return Consolidated(latest[0], Consensus(asked, workers))
    drawn = [boxes_of(answer) for answer in latest]
    votes = sorted((_Votes(group, drawn) for group in group_objects(drawn)), key=lambda one: one.order)
    _name_tracks(line.source_ref, votes)
    kept = [one for one in votes if one.is_kept]
    consensus = Consensus(
        asked,
        workers,
        tuple(one.classes for one in votes),
        tuple(box for one in votes if one.is_disputed for box in one.candidates()),
    )
    review = _review(latest, [one.marks(latest) for one in kept])
    return Consolidated(Answer(*_label(line, latest, kept), review), consensus)


class _Votes:
    """What the reviewers say of one object. `boxes`: by reviewer, the box that they drew; `place`: of the result.

    `tracks`: how many gave it each track; empty without tracks. `track`: of the result.
    """

    def __init__(self, group: Mapping[int, int], drawn: Sequence[Sequence[LabelledBox]]) -> None:
        self._reviewers = len(drawn)
        self._indexes = group
        self.boxes = {reviewer: drawn[reviewer][index] for reviewer, index in group.items()}
        self.classes = tuple(self.boxes[r].name if r in self.boxes else ABSENT for r in range(len(drawn)))
        self._counts = Counter(box.name for box in self.boxes.values())
        name = max(self._counts, key=lambda one: (self._counts[one], one))
        self._agreeing = {reviewer: box for reviewer, box in self.boxes.items() if box.name == name}
        self.place = (name, *_median_sides(list(self._agreeing.values())))
        self.tracks = Counter(box.track for box in self.boxes.values() if box.track)
        self.track = ""

    @property
    def order(self) -> tuple[float, Place]:
        """Where the object comes in the label: as in the answers."""
        return median(self._indexes.values()), self.place

    @property
    def is_kept(self) -> bool:
        return 2 * len(self.boxes) > self._reviewers

    @property
    def is_disputed(self) -> bool:
        """Whether no majority decides on the object, its class or its track, or its sides differ."""
        if not self.is_kept:
            return 2 * len(self.boxes) == self._reviewers
        if 2 * len(self._agreeing) <= len(self.boxes) or 2 * self.tracks[self.track] <= self.tracks.total() > 0:
            return True
        return any(
            box_iou(corners(one), corners(other)) < WELL_PLACED
            for one, other in combinations(self._agreeing.values(), 2)
        )

    @property
    def confidence(self) -> float:
        """The share of the reviewers who gave the object its class."""
        return round(len(self._agreeing) / self._reviewers, 2)

    def candidates(self) -> list[CandidateBox]:
        """The reviewers' boxes that are not the label's, for the person who decides.

        In a strip, a box beside that of the label would be an object of one frame, which this person had to delete. So
        of an object with a track there is one box, which is shown (`new`) only if the label does not have it.
        """
        places = {_place(box) for box in self.boxes.values()} - ({self.place} if self.is_kept else set())
        if self.track:
            places = {self.place}
        found = []
        for name, *sides in sorted(places):
            left, top, width, height = map(round, sides)
            share = round(self._counts[name] / self._reviewers, 2)
            new = not (self.track and self.is_kept)
            box = CandidateBox(name, left, top, width, height, share, new=new, disputed=True, track=self.track)
            found.append(box)
        return found

    def marks(self, answers: Sequence[Answer]) -> Marks:
        """The marks that more than half of those who agree on the object set."""
        given = [_marks(answers[reviewer], self._indexes[reviewer]) for reviewer in self._agreeing]
        return Marks(2 * sum(m.occluded for m in given) > len(given), 2 * sum(m.truncated for m in given) > len(given))


def _latest(answers: Iterable[Answer]) -> list[Answer]:
    """Return the latest answer of each reviewer, in the order of their names. Those without a name stay apart."""
    ordered = sorted(
        answers, key=lambda one: (one.worker, _created(one), bytes(one.label), bytes(one.metadata), _text(one.review))
    )
    return [
        one
        for one, following in zip(ordered, [*ordered[1:], None], strict=True)
        if not one.worker or following is None or following.worker != one.worker
    ]


def _name_tracks(frame: str, votes: Sequence[_Votes]) -> None:
    """Give each object the track that most reviewers gave it. In a frame, a track has one object: the surest one."""
    used = set[str]()
    ranked = sorted(enumerate(votes), key=lambda of: (not of[1].is_kept, -max(of[1].tracks.values(), default=0), of[0]))
    for place, one in ranked:
        free = sorted(one.tracks.keys() - used, key=lambda id: (-one.tracks[id], id))
        one.track = free[0] if free else own_id(frame, place, "track") if one.tracks else ""
        used.add(one.track)


def group_objects(drawn: Sequence[Sequence[LabelledBox]]) -> list[dict[int, int]]:
    """Group the boxes of one object. Each group has, by reviewer, the index of the box in their answer.

    The most similar boxes come first, those of one class before others, because a rider and the bicycle overlap.
    """
    pairs = sorted(
        (one[i].name != other[k].name, -iou, a, i, b, k)
        for (a, one), (b, other) in combinations(enumerate(drawn), 2)
        for i, k, iou in same_objects(one, other)
    )
    groups = {(reviewer, i): {reviewer: i} for reviewer, boxes in enumerate(drawn) for i in range(len(boxes))}
    for *_, a, i, b, k in pairs:
        one, other = groups[a, i], groups[b, k]
        if one.keys().isdisjoint(other):
            one |= other
            groups |= dict.fromkeys(other.items(), one)
    return list({id(group): group for group in groups.values()}.values())


def _label(line: ManifestLine, answers: Sequence[Answer], kept: Sequence[_Votes]) -> tuple[msgspec.Raw, msgspec.Raw]:
    newest = max(answers, key=lambda one: (_created(one), one.worker))
    metadata = [_metadata(answer) for answer in answers]
    ids = {
        one.class_map[str(drawn.class_id)]: drawn.class_id
        for answer, one in zip(answers, metadata, strict=True)
        for drawn in msgspec.json.decode(answer.label, type=BoxLabel).annotations
    }
    shown = Counter((_place(box), "") for box in line.prelabel_boxes)
    if any(one.track for one in kept):
        shown = Counter((_place(box), id) for box, id, _ in shown_tracks(line))
    label = {
        "image_size": msgspec.json.decode(newest.label)["image_size"],
        "annotations": [
            {
                "class_id": ids[one.place[0]],
                **{
                    side: int(value) if value == int(value) else value
                    for side, value in zip(("left", "top", "width", "height"), one.place[1:], strict=True)
                },
            }
            for one in kept
        ],
    }
    return raw(label), raw(
        {
            **msgspec.json.decode(newest.metadata),
            "objects": [
                {"confidence": one.confidence, **({"object-id": one.track} if one.track else {})} for one in kept
            ],
            "class-map": {str(ids[name]): name for name in dict.fromkeys(one.place[0] for one in kept)},
            "adjustment-status": "unadjusted"
            if Counter((one.place, one.track) for one in kept) == shown
            else "adjusted",
            "human-annotated": "no" if any(one.human_annotated == "no" for one in metadata) else "yes",
        }
    )


def _review(answers: Sequence[Answer], marks: Sequence[Marks]) -> Review | msgspec.UnsetType:
    """Add up the reviews of the answers. `marks`: of the boxes of the label."""
    reviews = [answer.review for answer in answers if isinstance(answer.review, Review)]
    if not reviews:
        return UNSET
    edits: dict[str, Effort] = {}
    for review in reviews:
        for kind, effort in review.edits.items():
            before = edits.get(kind, Effort())
            edits[kind] = Effort(before.count + effort.count, before.seconds + effort.seconds)
    comments = dict.fromkeys(review.comment for review in reviews if review.comment)
    return Review(
        seconds=_sum(review.seconds for review in reviews),
        keys=_sum(review.keys for review in reviews),
        clicks=_sum(review.clicks for review in reviews),
        edits=edits,
        unsure=any(review.unsure for review in reviews),
        comment="; ".join(comments)[:MAX_COMMENT],
        boxes=tuple(marks) if any(mark != Marks() for mark in marks) else (),
        workers=tuple(review.worker for review in reviews),
        strip=max(review.strip for review in reviews),
    )


class _Metadata(BoxMetadata, rename="kebab"):
    human_annotated: Any = None
    creation_date: Any = None


def _metadata(answer: Answer) -> _Metadata:
    return msgspec.json.decode(answer.metadata, type=_Metadata)


def _created(answer: Answer) -> str:
    return str(_metadata(answer).creation_date)


def _text(review: Review | msgspec.UnsetType) -> bytes:
    return msgspec.json.encode(review, order="deterministic") if isinstance(review, Review) else b""


def boxes_of(answer: Answer) -> list[LabelledBox]:
    return join_boxes(msgspec.json.decode(answer.label, type=BoxLabel), _metadata(answer), VERIFIED)


def _place(box: LabelledBox) -> Place:
    return box.name, box.left, box.top, box.width, box.height


def _median_sides(boxes: Sequence[LabelledBox]) -> tuple[float, float, float, float]:
    """Return left, top, width and height of the median sides, in whole pixels unless all boxes are the same."""
    if len({_place(box) for box in boxes}) == 1:
        return boxes[0].left, boxes[0].top, boxes[0].width, boxes[0].height
    left, top, right, bottom = (float(round(median(sides))) for sides in zip(*map(corners, boxes), strict=True))
    return left, top, right - left, bottom - top


def _marks(answer: Answer, index: int) -> Marks:
    marks = answer.review.boxes if isinstance(answer.review, Review) else ()
    return marks[index] if index < len(marks) else Marks()


def _sum(values: Iterable[Any]) -> Any:
    """Add up the known values; None if none is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
