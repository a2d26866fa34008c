"""Labelling one frame: from what its models found to its pre-label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from autolabel.catalogue import Model
from autolabel.detections import Detection, Detections
from autolabel.regions import EGO_SHARE, Point, covered_share


class FrameLabels(msgspec.Struct, frozen=True):
    """`candidates`: all that the models saw of the taxonomy; `prelabel`: what of it counts; `dropped`: the rest."""

    candidates: Detections
    prelabel: Detections
    dropped: Counter[str]


def label_frame(
    found: Sequence[Detection],
    models: Sequence[Model],
    width: int,
    height: int,
    *,
    labels: frozenset[str],
    ego_mask: Sequence[Point] | None,
) -> FrameLabels:
    """Choose a frame's pre-label from everything that its models found: thresholds, the job's labels, the ego mask."""
    by_id = {model.id: model for model in models}
    dropped: Counter[str] = Counter()
    ordered = sorted(found, key=lambda d: (-d.confidence, d.name, d.box))
    kept = []
    for detection in ordered:
        why = _why_dropped(detection, by_id[detection.models[0]], labels, ego_mask)
        if why:
            dropped[why] += 1
        else:
            kept.append(detection)
    return FrameLabels(Detections(width, height, tuple(ordered)), Detections(width, height, tuple(kept)), dropped)


def _why_dropped(
    detection: Detection, model: Model, labels: frozenset[str], ego_mask: Sequence[Point] | None
) -> str | None:
    if detection.confidence < model.threshold_of(detection.name):
        return "under the threshold"
    if detection.name not in labels:
        return f"{detection.name!r} is no label of the job"
    if ego_mask is not None and covered_share(detection.box, ego_mask) > EGO_SHARE:
        return "on the ego vehicle"
    return None
