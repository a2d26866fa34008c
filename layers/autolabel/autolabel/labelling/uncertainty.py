"""Compute uncertainty: how likely it is that a person would change a frame's pre-label, and why.

Each object and each candidate below the threshold has a level from 0 (sure) to 1: its own uncertainty, or the strongest
disagreement of the models about it if that is more. A frame's level is the chance that anything in it is wrong, if its
objects are wrong independently of each other. In a crowded frame this is more than the level of the worst object.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from autolabel.labels.detections import Detection
from autolabel.labels.manifest import CandidateBox, ShownUncertainty, whole_pixels

if TYPE_CHECKING:
    # Programs that only read recorded uncertainty do not load the models.
    from autolabel.labelling.prelabel import FrameLabels
    from autolabel.models.catalogue import Model

# Candidates below it add no uncertainty: detectors find a little of everything everywhere.
FLOOR = 0.15
# The mean IoU of the boxes that two people draw of one object (Papadopoulos et al., ICCV 2017).
PEOPLE_IOU = 0.88
MAX_CANDIDATES = 30

UNSURE = "low confidence"
PLACE = "models disagree in place"
NAME = "models disagree in class"
MISSED = "a model within reach did not see it"
CANDIDATE = "a candidate under the threshold"
FAILED = "a model failed on the frame"


class Uncertainty(msgspec.Struct, frozen=True):
    """The uncertainty of one frame. Levels are from 0 (sure) to 1.

    `level`: of the frame. `boxes`: of the pre-label's boxes, in their order. `candidates`: those below the threshold,
    most confident first; their levels are their confidences. `failed`: the share of the models that did not answer.
    `why`: the kinds of uncertainty of at least FLOOR, the strongest first.
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
    """A frame's uncertainty as triage needs it. `level` is None without a pre-label.

    `claims`: the classes of its boxes, and of its candidates of at least FLOOR.
    """

    level: float | None = None
    boxes: tuple[float, ...] = ()
    candidates: tuple[float, ...] = ()
    failed: float = 0.0
    claims: tuple[str, ...] = ()

    @property
    def own_level(self) -> float:
        """The frame's level before a map."""
        return frame_level(self.boxes, self.candidates, self.failed)


def frame_uncertainty(labels: FrameLabels, models: Sequence[Model], failed: int) -> Uncertainty:
    """Compute a frame's uncertainty. `models`: all that were asked; `failed`: how many of them did not answer."""
    networks = {model.id: model.view_of for model in models}
    strongest: dict[str, float] = {}
    boxes = []
    for detection in labels.prelabel:
        levels = _uncertainties(detection, networks)
        boxes.append(round(max(levels.values()), 2))
        for why, level in levels.items():
            strongest[why] = max(level, strongest.get(why, 0.0))
    failed_share = round(failed / len(models), 2) if failed else 0.0
    uncertainty = Uncertainty(0.0, tuple(boxes), labels.candidates[:MAX_CANDIDATES], failed_share, ())
    strongest[CANDIDATE] = max(uncertainty.candidate_levels, default=0.0)
    strongest[FAILED] = failed_share
    return msgspec.structs.replace(
        uncertainty,
        level=frame_level(uncertainty.boxes, uncertainty.candidate_levels, failed_share),
        why=tuple(sorted((why for why, of in strongest.items() if of >= FLOOR), key=lambda w: (-strongest[w], w))),
    )


def frame_level(
    boxes: Iterable[float], candidates: Iterable[float], failed: float = 0.0, floor: float = FLOOR
) -> float:
    """Compute a frame's level from the levels of its boxes and candidates, and the share of failed models.

    Candidates below `floor` do not count.
    """
    right = math.prod(
        1.0 - level for level in (*boxes, *(candidate for candidate in candidates if candidate >= floor), failed)
    )
    # Crowded frames are near 1: with two digits, many frames at the head of the review queue would be equal.
    return round(1.0 - right, 4)


def as_record(uncertainty: Uncertainty, names: Iterable[str]) -> FrameUncertainty:
    """Return the uncertainty as triage needs it; `names`: the classes of the pre-label's boxes."""
    nearly = (
        candidate.name
        for candidate, level in zip(uncertainty.candidates, uncertainty.candidate_levels, strict=True)
        if level >= FLOOR
    )
    claimed = tuple(sorted({*names, *nearly}))
    return FrameUncertainty(
        uncertainty.level, uncertainty.boxes, uncertainty.candidate_levels, uncertainty.failed, claimed
    )


def as_attribute(uncertainty: Uncertainty, thresholds: Iterable[float], width: int, height: int) -> ShownUncertainty:
    """Return the uncertainty as an attribute of a manifest line.

    `thresholds`: of all candidates of the frame, in their order; `width`, `height`: of the frame, in pixels.
    """
    candidates = tuple(
        CandidateBox(candidate.name, *whole_pixels(candidate.box, width, height), level, threshold=round(threshold, 2))
        for candidate, level, threshold in zip(
            uncertainty.candidates, uncertainty.candidate_levels, thresholds, strict=False
        )
    )
    return ShownUncertainty(uncertainty.level, uncertainty.boxes, uncertainty.why, candidates)


def _uncertainties(detection: Detection, networks: dict[str, str]) -> dict[str, float]:
    """Return the levels of a box of the pre-label, by kind."""
    levels = {UNSURE: 1.0 - detection.confidence}
    if detection.votes:
        # How far the worst box's IoU is below the IoU of two people's boxes.
        least = min(vote.iou for vote in detection.votes)
        levels[PLACE] = max(0.0, 1.0 - least / PEOPLE_IOU)
        levels[NAME] = _other_names(detection)
    if detection.missed:
        found = {networks[model] for model in detection.models}
        # Views of one network are one opinion: tiles are there to find what the whole image misses.
        missed = {networks[model] for model in detection.missed} - found
        levels[MISSED] = len(missed) / (len(missed) + len(found))
    return levels


def _other_names(detection: Detection) -> float:
    """Return the share of the votes, by confidence, for other names."""
    ballots: dict[str, float] = {}
    for vote in detection.votes:
        ballots[vote.name] = ballots.get(vote.name, 0.0) + vote.confidence
    # No model votes for a rider that was renamed afterwards: then the name with most votes is its own.
    own = ballots.get(detection.name) or max(ballots.values())
    total = sum(ballots.values())
    return 1.0 - own / total if total else 0.0
