"""Choose the pre-label of one frame from the detections of its models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from autolabel.labelling.ego_mask import EGO_SHARE, Point, covered_share
from autolabel.labelling.fusion import merge_frame
from autolabel.labelling.model_detections import ModelDetections
from autolabel.labelling.riders import RIDER, name_riders
from autolabel.labels.detections import Detection, Detections
from autolabel.models.catalogue import Model

# Candidates with less confidence are noise for a reviewer who looks for missed objects.
LEAST_CANDIDATE = 0.05


class FrameLabels(msgspec.Struct, frozen=True):
    """The labels of one frame.

    `merged`: all detections on the taxonomy, merged. `prelabel`: those that count. `dropped`: counts of the others by
    reason, also of those that the merge dropped. `candidates`: detections that only their threshold keeps out of the
    pre-label, with at least LEAST_CANDIDATE, most confident first; `thresholds`: theirs, in the same order.
    """

    merged: Detections
    prelabel: Detections
    dropped: Counter[str]
    candidates: tuple[Detection, ...] = ()
    thresholds: tuple[float, ...] = ()


def label_frame(
    found: Sequence[ModelDetections],
    camera: str,
    width: int,
    height: int,
    *,
    labels: frozenset[str],
    ego_mask: Sequence[Point] | None,
) -> FrameLabels:
    """Choose a frame's pre-label: merge detections, then apply thresholds, the ego mask, riders and the job labels.

    `found`: the detections of every model that answered; `width`, `height`: of the frame, in pixels.
    """
    models = {one.model.id: one.model for one in found}
    merged, dropped = merge_frame(found, camera, width, height)
    kept, candidates, thresholds = [], [], []
    for detection in merged:
        threshold = _threshold(detection, models)
        if detection.confidence < threshold:
            dropped["under the threshold"] += 1
            named = detection.confidence >= LEAST_CANDIDATE and detection.name in labels
            if named and not _is_on_ego(detection, ego_mask):
                candidates.append(detection)
                thresholds.append(threshold)
        elif _is_on_ego(detection, ego_mask):
            dropped["on the ego vehicle"] += 1
        else:
            kept.append(detection)
    counted = []
    # If riders are not among the job labels, a person on a bicycle stays a person.
    for detection in name_riders(kept) if RIDER in labels else kept:
        if detection.name in labels:
            counted.append(detection)
        else:
            dropped[f"{detection.name!r} is no label of the job"] += 1
    prelabel = Detections(width, height, tuple(counted))
    return FrameLabels(merged, prelabel, dropped, tuple(candidates), tuple(thresholds))


def _is_on_ego(detection: Detection, ego_mask: Sequence[Point] | None) -> bool:
    return ego_mask is not None and covered_share(detection.box, ego_mask) > EGO_SHARE


def _threshold(detection: Detection, models: Mapping[str, Model]) -> float:
    """Return the threshold: the weighted mean of the thresholds of all models that voted, for or against it."""
    asked = [models[model] for model in (*detection.models, *detection.missed)]
    total = sum(model.weight for model in asked)
    return sum(model.weight * model.threshold_of(detection.name) for model in asked) / total
