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

    `final`: of a dataset's final labels only. With --intervals, by system and class: `ap50_intervals`, the ends of
    95 %, and `ap50_differences`, the same of the system minus the first.
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
    ap50_intervals: Mapping[str, Mapping[str, tuple[float, float]]] | msgspec.UnsetType = msgspec.UNSET
    ap50_differences: Mapping[str, Mapping[str, tuple[float, float]]] | msgspec.UnsetType = msgspec.UNSET


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
    """The document of `evaluate label-issues`, and of `evaluate sensor-issues`, whose `sequences` are draws.

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


class LimitSavings(msgspec.Struct, frozen=True, rename={"limit": "max_doubt"}):
    """What a limit of uncertainty accepts: frames, and those with an error. `saved`: the share of the review time."""

    limit: float
    frames: int
    faulty: int
    saved: float


class UncertaintyDocument(msgspec.Struct, frozen=True):
    """The document of `evaluate uncertainty`. `faulty`: frames with an error.

    `found`: the share of the errors in the first frames that take a `share` of the review time, by what orders them.
    """

    frames: int
    faulty: int
    errors: int
    limits: tuple[LimitSavings, ...]
    share: float
    found: dict[str, float]
    left_out: dict[str, int]


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


class CameraErrors(msgspec.Struct, frozen=True):
    """The errors of a simulated camera.

    `sides`: the standard deviation of a side's error, as a share of the box's size; `lasting`: the part of its variance
    that stays with an object, and fades with the time constant `lasting_seconds`. `missed`: the share of boxes that are
    missed, in streaks of `streak` frames in the mean. `false_boxes`: a frame, of false objects that last `false_frames`
    in the mean. `other_class`: the share of boxes with a wrong class; `confused`: the share of objects whose boxes have
    one with the chance `confused_boxes` instead.
    """

    sides: float = 0.04
    lasting: float = 0.4
    lasting_seconds: float = 1.0
    missed: float = 0.1
    streak: float = 4.0
    false_boxes: float = 0.4
    false_frames: float = 2.0
    other_class: float = 0.02
    confused: float = 0.03
    confused_boxes: float = 0.6


class BoxShares(msgspec.Struct, frozen=True):
    """Precision and recall of boxes at an IoU of 0.7; None where there is nothing to divide by."""

    precision: float | None
    recall: float | None


class ReviewCell(BoxShares, frozen=True, kw_only=True):
    """The review of all sequences in one way.

    `tracks`: "all", or "confirmed" where objects in fewer than three frames were left out before. `stops`: "regular",
    every `stride` frames, or "uncertain" where the reviewer stops at uncertain places as well. `look`: seconds at each
    of the `looks` stops; `chance`: to notice an error there. `seconds`: of looks and edits. `faster`: than drawing
    every box, and `faster_than_key_boxes`.
    """

    tracks: str
    stops: str
    stride: int
    look: float
    chance: float
    looks: int
    edits: dict[str, int]
    seconds: float
    faster: float
    faster_than_key_boxes: float


class ReviewSpeedDocument(msgspec.Struct, frozen=True):
    """The document of `evaluate review-speed`.

    `boxes`: labelled ones that count; `key_boxes`: the fewest of them from which straight lines give all, at an IoU of
    0.7. `prices`: seconds of each edit; drawing a box costs `draw`. `camera`: the errors of simulated detections, null
    for detections from files. `straight`: straight lines join the boxes of two stops. `uncertain`: the least level of
    uncertain places; `tolerance`: boxes are corrected below this IoU. `unreviewed`: shares without a review, of all and
    of confirmed tracks. `left_out`: numbers of labels and detections by the reason.
    """

    sequences: int
    frames: int
    boxes: int
    key_boxes: int
    rate: float
    seed: int
    straight: bool
    uncertain: float
    tolerance: float
    prices: dict[str, float]
    camera: CameraErrors | None
    unreviewed: dict[str, BoxShares]
    cells: list[ReviewCell]
    left_out: dict[str, int]


class ViewScores(msgspec.Struct, frozen=True):
    """COCO's average precision at an IoU of 0.5 of the merged models, on the frames and on their views."""

    objects: int
    ap50: float | None
    ap50_views: float | None


class ViewsDocument(msgspec.Struct, frozen=True):
    """The document of `evaluate views`.

    `plates`, `heads`: covered regions; `pixels`: the share of all pixels that they have. `read_again`: text that the
    model finds in a view where a plate is covered. `marked`: plates that a person marked, `covered`: of these;
    `covered_least`: the exact lower bound of their share at 95 %. `scores`: by group of classes, of a labelled folder.
    """

    frames: int
    plates: int
    heads: int
    pixels: float
    read_again: int
    marked: int
    covered: int
    covered_least: float | None
    scores: dict[str, ViewScores]
    left_out: dict[str, int]


class MaskScores(msgspec.Struct, frozen=True):
    """The mean IoU and boundary F of masks, and the share of them with an IoU of 0.5 or more; None without objects."""

    objects: int
    iou: float | None
    iou50: float | None
    boundary_f: float | None


class MasksDocument(msgspec.Struct, frozen=True):
    """The document of `evaluate masks`.

    `moved`: by up to which share of its size each side of a box was moved. `tolerance`: pixels between two boundaries
    that count as one. `draft`: whether all masks have the mark. `ap` is COCO's, over IoUs of 0.5 to 0.95, `ap50` and
    `ap75` at one; `ap50_interval`: of 95 %, over draws of the pictures. `scores`: of `all`, by kind of object, of those
    that stand `free`, and of those partly `hidden`. `boxes`: the same figures of masks that fill their boxes.
    """

    model: str
    pictures: int
    seed: int
    moved: float
    tolerance: int
    draft: bool
    ap: float | None
    ap50: float | None
    ap75: float | None
    ap50_interval: tuple[float, float] | None
    seconds_per_box: float
    scores: dict[str, MaskScores]
    boxes: BoxFilling


class BoxFilling(msgspec.Struct, frozen=True):
    """What a mask that fills its box reaches on the same set: the least that a segmenter is for."""

    ap: float | None
    scores: MaskScores


class InducedTurn(msgspec.Struct, frozen=True):
    """A draw of `evaluate calibration`: some frames, whose sensors were turned against each other on purpose.

    Angles are in degrees, about the camera's x, y and z. `induced`: the rotation vector that a right check finds;
    `found`: what it found; `left`: the angle between both; null where nothing was measured. `verdict`: of the check.
    """

    frames: int
    induced: tuple[float, float, float]
    found: tuple[float, float, float] | None
    left: float | None
    uncertainty: float | None
    verdict: str


class CalibrationScores(msgspec.Struct, frozen=True):
    """The document of `evaluate calibration`. `method`: `lidar` or `lanes`. `frames`: that can be used.

    `turned`: draws whose verdict is that; `silent`: those of too little evidence. `worst`: the largest angle left over
    in the other draws; null without any.
    """

    method: str
    frames: int
    induced: float
    turned: int
    silent: int
    worst: float | None
    draws: tuple[InducedTurn, ...]
    left_out: dict[str, int]
