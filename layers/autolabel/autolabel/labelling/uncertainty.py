"""Doubt: how likely it is that a person would change a frame's pre-label, and why.

Each object and each candidate under the threshold has a level from 0 (sure) to 1: its own uncertainty or the strongest
disagreement of the models about it, whichever is more. A frame's level is the chance that anything in it is wrong if
its objects go wrong independently: of the many objects of a crowded frame, one is sooner wrong than the worst alone
tells.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from autolabel.labels.detections import Detection
from autolabel.labels.manifest import CandidateBox, ShownUncertainty, whole_pixels

if TYPE_CHECKING:
    # Who only reads what was in doubt does not pay for the models.
    from autolabel.labelling.prelabel import FrameLabels
    from autolabel.models.catalogue import Model

# Changes whenever the same answers would come to other levels.
UNCERTAINTY_VERSION = "2026.1"
# Candidates under it are no doubt: detectors see a little of everything everywhere.
FLOOR = 0.15
# Boxes that two people draw of one object overlap so far in the mean (Papadopoulos et al., ICCV 2017).
PEOPLE_IOU = 0.88
MAX_CANDIDATES = 30

UNSURE = "low confidence"
PLACE = "models disagree in place"
NAME = "models disagree in class"
MISSED = "a model within reach did not see it"
CANDIDATE = "a candidate under the threshold"
FAILED = "a model failed on the frame"


class Uncertainty(msgspec.Struct, frozen=True):
    """The doubt about one frame, levels from 0 (sure) to 1.

    `level`: of the frame. `boxes`: of the pre-label's boxes, in their order. `ghosts`: candidates under the threshold,
    most confident first, whose levels are their confidences. `failed`: the share of the models that did not answer.
    `why`: the kinds of doubt of at least FLOOR, the strongest first.
    """

    level: float
    boxes: tuple[float, ...]
    candidates: tuple[Detection, ...]
    failed: float
    why: tuple[str, ...]

    @property
    def candidate_levels(self) -> tuple[float, ...]:
        return tuple(round(candidate.confidence, 2) for candidate in self.candidates)


class FrameUncertainty(msgspec.Struct, frozen=True, omit_defaults=True, rename={"candidates": "ghosts"}):
    """What triage needs to know of a frame: its doubt in figures, and the classes of its boxes and of its candidates
    that are in doubt. `level` is None where there is no pre-label."""

    level: float | None = None
    boxes: tuple[float, ...] = ()
    candidates: tuple[float, ...] = ()
    failed: float = 0.0
    claims: tuple[str, ...] = ()


def frame_uncertainty(labels: FrameLabels, models: Sequence[Model], failed: int) -> Uncertainty:
    """The doubt about a frame's labels. `models`: all that were asked; `failed`: how many of them did not answer."""
    networks = {model.id: model.view_of for model in models}
    strongest: dict[str, float] = {}
    boxes = []
    for detection in labels.prelabel:
        levels = _uncertainties(detection, networks)
        boxes.append(round(max(levels.values()), 2))
        for why, level in levels.items():
            strongest[why] = max(level, strongest.get(why, 0.0))
    silent = round(failed / len(models), 2) if failed else 0.0
    uncertainty = Uncertainty(0.0, tuple(boxes), labels.candidates[:MAX_CANDIDATES], silent, ())
    strongest[CANDIDATE] = max(uncertainty.candidate_levels, default=0.0)
    strongest[FAILED] = silent
    return msgspec.structs.replace(
        uncertainty,
        level=frame_level(uncertainty.boxes, uncertainty.candidate_levels, silent),
        why=tuple(sorted((why for why, of in strongest.items() if of >= FLOOR), key=lambda w: (-strongest[w], w))),
    )


def frame_level(
    boxes: Iterable[float], candidates: Iterable[float], failed: float = 0.0, floor: float = FLOOR
) -> float:
    """A frame's level from those of its boxes, its candidates under the threshold, and the share of failed models."""
    right = math.prod(
        1.0 - level for level in (*boxes, *(candidate for candidate in candidates if candidate >= floor), failed)
    )
    # A crowded frame is near 1: two digits would make a heap of the head of the queue.
    return round(1.0 - right, 4)


def as_record(uncertainty: Uncertainty, names: Iterable[str]) -> FrameUncertainty:
    """The doubt in figures; `names`: the classes of the pre-label's boxes."""
    nearly = (
        candidate.name
        for candidate, level in zip(uncertainty.candidates, uncertainty.candidate_levels, strict=True)
        if level >= FLOOR
    )
    claimed = tuple(sorted({*names, *nearly}))
    return FrameUncertainty(
        uncertainty.level, uncertainty.boxes, uncertainty.candidate_levels, uncertainty.failed, claimed
    )


def as_attribute(uncertainty: Uncertainty, width: int, height: int) -> ShownUncertainty:
    """The doubt as an attribute of a manifest's line; `width`, `height`: pixels of the frame."""
    candidates = tuple(
        CandidateBox(candidate.name, *whole_pixels(candidate.box, width, height), level)
        for candidate, level in zip(uncertainty.candidates, uncertainty.candidate_levels, strict=True)
    )
    return ShownUncertainty(uncertainty.level, uncertainty.boxes, uncertainty.why, candidates)


def _uncertainties(detection: Detection, networks: dict[str, str]) -> dict[str, float]:
    """The levels of a box that counts, by why."""
    levels = {UNSURE: 1.0 - detection.confidence}
    if detection.votes:
        # What the least alike of the boxes lacks of the likeness of two people's.
        least = min(vote.iou for vote in detection.votes)
        levels[PLACE] = max(0.0, 1.0 - least / PEOPLE_IOU)
        levels[NAME] = _other_names(detection)
    if detection.missed:
        saw = {networks[model] for model in detection.models}
        # Views of one network are one opinion: the whole image misses what tiles are there to find.
        silent = {networks[model] for model in detection.missed} - saw
        levels[MISSED] = len(silent) / (len(silent) + len(saw))
    return levels


def _other_names(detection: Detection) -> float:
    """The share of the votes, by confidence, for another name."""
    ballots: dict[str, float] = {}
    for vote in detection.votes:
        ballots[vote.name] = ballots.get(vote.name, 0.0) + vote.confidence
    # Who was named a rider afterwards has none: then it is the name with the most.
    own = ballots.get(detection.name) or max(ballots.values())
    total = sum(ballots.values())
    return 1.0 - own / total if total else 0.0
