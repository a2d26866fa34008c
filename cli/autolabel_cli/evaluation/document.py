"""Defines the documents of `autolabel evaluate … --json`."""

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
    """The document of `evaluate boxes`. Scores are by class, edits by system.

    `final`: of a dataset's final labels only.
    """

    frames: int
    format: str
    level: str
    fused: Mapping[str, Scores]
    best_alone: dict[str, BestAlone]
    edits_per_frame: dict[str, float]
    unknown_classes: dict[str, int]
    left_out: dict[str, int]
    final: Mapping[str, Scores] | msgspec.UnsetType = msgspec.UNSET


class TrackScores(msgspec.Struct, frozen=True):
    """Scores of tracks over all sequences; None where there is nothing to divide by.

    `hota`, `idf1`, `mota`, `precision`, `recall`: at most 1. `switches`: places where a labelled object goes on in
    another track; `fragments`: places where it loses its track and finds one again.
    """

    hota: float | None
    idf1: float | None
    mota: float | None
    switches: int
    fragments: int
    precision: float | None
    recall: float | None


class TracksDocument(TrackScores, frozen=True, kw_only=True):
    """The document of `evaluate tracks`. The scores beside `all` are of confirmed tracks; `rate`: frames a second.

    `left_out`: numbers of labels and detections by the reason.
    """

    all: TrackScores
    sequences: int
    frames: int
    rate: float
    min_score: float
    left_out: dict[str, int]


class IssuesDocument(msgspec.Struct, frozen=True):
    """The document of `evaluate label-issues`.

    `seeded`: errors by kind; `found`: the share of them among the first label issues, by kind and in `all`, where the
    number of these issues is a `share` of the `boxes`. `right`: the share of these issues that are seeded errors.
    """

    sequences: int
    frames: int
    boxes: int
    share: float
    issues: int
    seeded: dict[str, int]
    found: dict[str, float]
    right: float


class Steadiness(msgspec.Struct, frozen=True):
    """How steady boxes are over time; None where there is nothing to divide by.

    `boxes`: in a frame; `ends`: objects that appear or disappear in a frame, but for the first and the last one.
    `gaps`: gaps of one frame. `jitter`: the standard deviation of a side from the middle of its neighbours in time, as
    that of noise in each box, as a share of the box's size.
    """

    boxes: float | None
    ends: float | None
    gaps: int
    jitter: float | None


class SteadinessDocument(msgspec.Struct, frozen=True):
    """The document of `evaluate steadiness`: of the boxes as the models gave them, and of confirmed tracks."""

    frames: int
    raw: Steadiness
    tracks: Steadiness


class CuboidsDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The document of `evaluate cuboids`: shares of the cars by the IoU of their cuboid with the labelled one.

    `iou50` and `iou70`: in space, of 0.5 and 0.7 and more; `bev70`: on the ground, seen from above. A car without a
    cuboid counts as wrong. `intervals`: of 95 % for each share. `left_out`: numbers by the reason.
    """

    cars: int
    iou50: float
    iou70: float
    bev70: float
    seconds_per_box: float
    frames: int
    intervals: dict[str, tuple[float, float]]
    left_out: dict[str, int]
