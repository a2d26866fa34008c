"""Finds and ranks label issues: verified labels that confident models contradict. Those by time are in time_errors.py.

The three kinds are ObjectLab's (Tkachenko, Thyagarajan, Mueller 2023): an object that was overlooked, a box that is
badly located, a class that was swapped. The measures are our own, because candidates with votes say more than the
predictions of one model. Models can be wrong too: the rank says where to look first, not which side is right.
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
# Candidates of a lower confidence are not compared with the verified label.
LEAST_CONFIDENCE = 0.3
# At most this many candidates of a frame are compared, the most confident ones.
MAX_CANDIDATES = 200
# Below this IoU with a box of its group, a candidate is another object.
_NEAR = 0.25
# Two candidates of one group never have a higher IoU, so a shown box above it was this candidate.
_SHOWN = 0.7
# A verified box with a higher IoU with a shown one is that box.
_LEFT = 0.95
# If a larger share of a candidate is in a region to ignore, the reviewer left it out on purpose.
_IGNORED = 0.25
# If a larger share of a candidate is inside another box of its group, it may be a part of that object: half as
# suspicious.
_COVERED = 0.5
_PART = 0.5
# A reviewer who deleted, moved or relabelled the models' box has looked at it: half as suspicious.
_DECIDED = 0.5
LEAST_SUSPICION = 0.05


class Opinion(msgspec.Struct, frozen=True, rename={"iou": "overlap"}):
    """The vote of one model. `iou`: of its box with the merged box."""

    name: str
    confidence: float
    iou: float


class Candidate(msgspec.Struct, frozen=True):
    """The fields of a merged detection that this module reads. `box`: xyxy in pixels."""

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

    @classmethod
    def of(cls, box: LabelledBox) -> PixelBox:
        return cls(box.name, *(round(side) for side in (box.left, box.top, box.width, box.height)))

    @property
    def corners(self) -> Box:
        return self.left, self.top, self.left + self.width, self.top + self.height


class LabelIssue(msgspec.Struct, frozen=True, omit_defaults=True):
    """A verified label that may be wrong.

    `suspicion`: 1 minus the label quality score, 0 to 1; `verified`: the verified box, absent if there is none. Where
    models contradict it, `confidence`: of the models; `models`: their box; `decided`: a reviewer was shown the models'
    box and changed it. Where neighbouring frames contradict it, `expected`: the box that they lead to, absent for a
    single box.
    """

    kind: str
    suspicion: float
    confidence: float = 0.0
    models: PixelBox | None = None
    verified: PixelBox | None = None
    decided: bool = False
    expected: PixelBox | None = None


def find_label_issues(
    candidates: Candidates,
    predicted: Iterable[LabelledBox],
    verified: Sequence[LabelledBox],
    labels: Collection[str],
) -> list[LabelIssue]:
    """Find the label issues of a frame, the most suspicious first.

    `predicted`: the boxes that the reviewer was shown; `labels`: the job labels, which reviewers can choose.
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
        # None if the current taxonomy, which may be newer than the run, no longer has the class.
        group = groups.get(candidate.name)
        near = [(box_iou(candidate.box, one.box), one) for one in objects if groups.get(one.labelled.name) == group]
        iou, nearest = max(near, key=lambda pair: pair[0], default=(0.0, None))
        if nearest is not None and iou >= _NEAR:
            nearest.matches.append(_Match(iou, candidate))
            continue
        suspicion = candidate.confidence * (1.0 - iou)
        if any(share_in(candidate.box, one.box) > _COVERED for _, one in near):
            suspicion *= _PART
        issues.append(_issue(OVERLOOKED, suspicion, candidate, None, frame))
    for one in objects:
        if one.matches:
            issues += _contradictions(one, frame)
    return sorted((s for s in issues if s.suspicion >= LEAST_SUSPICION), key=lambda s: -s.suspicion)


class _Match(NamedTuple):
    """A candidate near a verified box, and the IoU of the two."""

    iou: float
    candidate: Candidate


class _Frame(NamedTuple):
    """A frame's size, and the boxes that the reviewer was shown, with their classes."""

    width: int
    height: int
    shown: list[tuple[str, Box]]


class _Object(NamedTuple):
    """A verified box, and the candidates whose nearest box of their group it is."""

    labelled: LabelledBox
    box: Box
    matches: list[_Match]


def _contradictions(one: _Object, frame: _Frame) -> Iterator[LabelIssue]:
    best = max(one.matches, key=lambda match: match.iou * match.candidate.confidence)
    if best.iou < PEOPLE_IOU:
        # Models that do not agree on the location among themselves say little about a reviewer's box.
        agreed = min((vote.iou for vote in best.candidate.votes), default=1.0)
        misplaced = (PEOPLE_IOU - best.iou) / (PEOPLE_IOU - _NEAR)
        yield _issue(BADLY_LOCATED, best.candidate.confidence * misplaced * agreed, best.candidate, one.labelled, frame)
    ballots: defaultdict[str, float] = defaultdict(float)
    for match in one.matches:
        if match.iou >= SAME_OBJECT:
            votes = match.candidate.votes
            total = sum(vote.confidence for vote in votes)
            for vote in votes:
                ballots[vote.name] += match.candidate.confidence * vote.confidence / total
            if not votes:
                ballots[match.candidate.name] += match.candidate.confidence
    # Models do not know the class rider: to them a rider is a person.
    own = {one.labelled.name, *({"person"} if one.labelled.name == RIDER else ())}
    others = {name: ballot for name, ballot in ballots.items() if name not in own}
    if others:
        name = max(others, key=others.__getitem__)
        # The weight of the votes for the other class, times its share of all votes.
        suspicion = others[name] * others[name] / sum(ballots.values())
        match = max(one.matches, key=lambda match: (match.candidate.name == name, match.iou))
        yield _issue(SWAPPED, suspicion, msgspec.structs.replace(match.candidate, name=name), one.labelled, frame)


def _issue(
    kind: str, suspicion: float, candidate: Candidate, verified: LabelledBox | None, frame: _Frame
) -> LabelIssue:
    models = PixelBox(candidate.name, *whole_pixels(candidate.box, frame.width, frame.height))
    theirs = verified and PixelBox.of(verified)
    shown = [(n, box) for n, box in frame.shown if n == candidate.name and box_iou(box, candidate.box) > _SHOWN]
    # A shown box that the reviewer left is not one that they decided against: Link may have moved it before.
    left = verified and any(n == verified.name and box_iou(box, corners(verified)) > _LEFT for n, box in shown)
    decided = bool(shown) and not left
    suspicion = round(min(suspicion, 1.0) * (_DECIDED if decided else 1.0), 4)
    return LabelIssue(kind, suspicion, round(candidate.confidence, 4), models, theirs or None, decided)
