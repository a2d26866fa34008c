"""Defines the document of `autolabel evaluate boxes --json`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Scores(msgspec.Struct, frozen=True):
    """Scores of a class, 0 to 1; None where there is nothing to divide by.

    `ap50` and `ap70`: COCO's average precision at an IoU of 0.5 and 0.7, of all candidates. `precision` and `recall`:
    of the pre-labels, at an IoU of 0.5.
    """

    objects: int
    ap50: float | None
    ap70: float | None
    precision: float | None
    recall: float | None


class BestAlone(Scores, frozen=True, kw_only=True):
    """Scores of the model that is best at a class alone."""

    model: str


class EvaluationDocument(msgspec.Struct, frozen=True):
    """The document of --json. Scores are by class, edits by system. `final`: of a dataset's final labels only."""

    frames: int
    format: str
    level: str
    fused: Mapping[str, Scores]
    best_alone: dict[str, BestAlone]
    edits_per_frame: dict[str, float]
    unknown_classes: dict[str, int]
    left_out: dict[str, int]
    final: Mapping[str, Scores] | msgspec.UnsetType = msgspec.UNSET
