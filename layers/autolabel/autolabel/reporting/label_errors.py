"""Label errors: where confident models contradict a verified label, ranked.

The three kinds are ObjectLab's (Tkachenko, Thyagarajan, Mueller 2023): an object that was overlooked, a box that is
badly located, a class that was swapped. Their measures are ours, as merged candidates with votes tell more than one
model's predictions. Models err too: a rank says where to look first, not who is right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from autolabel.labelling.riders import RIDER
from autolabel.labelling.uncertainty import PEOPLE_IOU
from autolabel.labels.agreement import IGNORE, SAME_OBJECT, corners, share_in
from autolabel.labels.detections import Box, box_iou
from autolabel.labels.manifest import LabelledBox, whole_pixels
from autolabel.labels.taxonomy import current_taxonomy

OVERLOOKED = "overlooked"
BADLY_LOCATED = "badly located"
SWAPPED = "swapped"
# Candidates of less contradict nobody.
LEAST_CONFIDENCE = 0.3
# So many candidates of a frame are looked at, the most confident.
MAX_CANDIDATES = 200
# A candidate that overlaps a box of its group less is of another object.
_NEAR = 0.25
# Candidates of one group overlap by no more, so what does was the box that people were shown.
_SHOWN = 0.7
# A candidate that lies in a region to ignore by more is of what people gave up there.
_IGNORED = 0.25
# One that lies in another box of its group by more may be a part of that object as well as an object of its own.
_COVERED = 0.5
_PART = 0.5
# Who deleted, moved or renamed what models said has looked at it.
_DECIDED = 0.5
LEAST_SUSPICION = 0.05


class Opinion(msgspec.Struct, frozen=True, rename={"iou": "overlap"}):
    """What one model voted for."""

    name: str
    confidence: float
    iou: float


class Candidate(msgspec.Struct, frozen=True):
    """What counts here of a merged detection; `box`: xyxy in pixels."""

    name: str
    box: Box
    confidence: float
    votes: tuple[Opinion, ...] = ()


class Candidates(msgspec.Struct, frozen=True):
    """A frame's candidates, most confident first, and its size in pixels."""

    width: int
    height: int
    items: tuple[Candidate, ...] = ()


class PixelBox(msgspec.Struct, frozen=True):
    """A box in whole pixels with its class."""

    label: str
    left: int
    top: int
    width: int
    height: int

    @property
    def corners(self) -> Box:
        return self.left, self.top, self.left + self.width, self.top + self.height


class LabelIssue(msgspec.Struct, frozen=True, omit_defaults=True):
    """A verified label that may be wrong.

    `suspicion`: 0 to 1; `confidence`: of the models; `models`: the box that they see; `verified`: the box that a person
    left, absent where there is none; `decided`: a person was shown the models' box and changed it.
    """

    kind: str
    suspicion: float
    confidence: float
    models: PixelBox
    verified: PixelBox | None = None
    decided: bool = False


def find_label_issues(
    candidates: Candidates,
    predicted: Iterable[LabelledBox],
    verified: Sequence[LabelledBox],
    labels: Collection[str],
) -> list[LabelIssue]:
    """What confident candidates contradict of a frame's verified label, the most suspicious first.

    `predicted`: what the person was shown; `labels`: the classes that people were asked for.
    """
    objects = [_Object(box, corners(box), []) for box in verified if box.name != IGNORE]
    ignored = [corners(box) for box in verified if box.name == IGNORE]
    frame = _Frame(candidates.width, candidates.height, [(box.name, corners(box)) for box in predicted])
    groups = current_taxonomy().groups
    issues = []
    for candidate in candidates.items[:MAX_CANDIDATES]:
        if candidate.confidence < LEAST_CONFIDENCE:
            break
        if candidate.name not in labels or any(share_in(candidate.box, region) > _IGNORED for region in ignored):
            continue
        # Absent in a taxonomy that is younger than the run.
        group = groups.get(candidate.name)
        near = [(box_iou(candidate.box, one.box), one) for one in objects if groups.get(one.labelled.name) == group]
        iou, nearest = max(near, key=lambda pair: pair[0], default=(0.0, None))
        if nearest is not None and iou >= _NEAR:
            nearest.seen.append(_Seen(iou, candidate))
            continue
        suspicion = candidate.confidence * (1.0 - iou)
        if any(share_in(candidate.box, one.box) > _COVERED for _, one in near):
            suspicion *= _PART
        issues.append(_issue(OVERLOOKED, suspicion, candidate, None, frame))
    for one in objects:
        if one.seen:
            issues += _contradictions(one, frame)
    return sorted((s for s in issues if s.suspicion >= LEAST_SUSPICION), key=lambda s: -s.suspicion)


class _Seen(NamedTuple):
    """A candidate at a verified box, and the IoU of the two."""

    iou: float
    candidate: Candidate


class _Frame(NamedTuple):
    """A frame's size, and the boxes that a person was shown in it, with their classes."""

    width: int
    height: int
    shown: list[tuple[str, Box]]


class _Object(NamedTuple):
    """A verified box and the candidates to which it is the nearest of their group."""

    labelled: LabelledBox
    box: Box
    seen: list[_Seen]


def _contradictions(one: _Object, frame: _Frame) -> Iterator[LabelIssue]:
    best = max(one.seen, key=lambda seen: seen.iou * seen.candidate.confidence)
    if best.iou < PEOPLE_IOU:
        # Models that do not agree in place among themselves say little about a person's.
        agreed = min((vote.iou for vote in best.candidate.votes), default=1.0)
        misplaced = (PEOPLE_IOU - best.iou) / (PEOPLE_IOU - _NEAR)
        yield _issue(BADLY_LOCATED, best.candidate.confidence * misplaced * agreed, best.candidate, one.labelled, frame)
    ballots: defaultdict[str, float] = defaultdict(float)
    for seen in one.seen:
        if seen.iou >= SAME_OBJECT:
            votes = seen.candidate.votes
            total = sum(vote.confidence for vote in votes)
            for vote in votes:
                ballots[vote.name] += seen.candidate.confidence * vote.confidence / total
            if not votes:
                ballots[seen.candidate.name] += seen.candidate.confidence
    # No model knows riders: who rides is a person to them.
    own = {one.labelled.name, *({"person"} if one.labelled.name == RIDER else ())}
    others = {name: ballot for name, ballot in ballots.items() if name not in own}
    if others:
        name = max(others, key=others.__getitem__)
        # The share of the votes, of as many as there could be.
        suspicion = others[name] * others[name] / sum(ballots.values())
        seen = max(one.seen, key=lambda seen: (seen.candidate.name == name, seen.iou))
        yield _issue(SWAPPED, suspicion, msgspec.structs.replace(seen.candidate, name=name), one.labelled, frame)


def _issue(
    kind: str, suspicion: float, candidate: Candidate, verified: LabelledBox | None, frame: _Frame
) -> LabelIssue:
    models = PixelBox(candidate.name, *whole_pixels(candidate.box, frame.width, frame.height))
    theirs = verified and PixelBox(
        verified.name, *(round(side) for side in (verified.left, verified.top, verified.width, verified.height))
    )
    decided = any(name == candidate.name and box_iou(box, candidate.box) > _SHOWN for name, box in frame.shown)
    suspicion = round(min(suspicion, 1.0) * (_DECIDED if decided else 1.0), 4)
    return LabelIssue(kind, suspicion, round(candidate.confidence, 4), models, theirs or None, decided)
