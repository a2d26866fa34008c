"""Labelling one frame: from what its models found to its pre-label."""

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

# A candidate of less is noise to whoever looks for what was missed.
LEAST_CANDIDATE = 0.05


class FrameLabels(msgspec.Struct, frozen=True):
    """`candidates`: all that the models saw of the taxonomy, merged; `prelabel`: what of it counts; `dropped`: the rest
    by why, with what the merge left out; `ghosts`: candidates that only their threshold keeps from counting, most
    confident first, of at least LEAST_GHOST."""

    merged: Detections
    prelabel: Detections
    dropped: Counter[str]
    candidates: tuple[Detection, ...] = ()


def label_frame(
    seen: Sequence[ModelDetections],
    camera: str,
    width: int,
    height: int,
    *,
    labels: frozenset[str],
    ego_mask: Sequence[Point] | None,
) -> FrameLabels:
    """Choose a frame's pre-label from what its models saw: merge, thresholds, the ego mask, riders, the job's labels.

    `seen`: of every model that answered; `width`, `height`: pixels of the frame.
    """
    models = {one.model.id: one.model for one in seen}
    merged, dropped = merge_frame(seen, camera, width, height)
    kept, candidates = [], []
    for detection in merged:
        if detection.confidence < _threshold(detection, models):
            dropped["under the threshold"] += 1
            named = detection.confidence >= LEAST_CANDIDATE and detection.name in labels
            if named and not _is_on_ego(detection, ego_mask):
                candidates.append(detection)
        elif _is_on_ego(detection, ego_mask):
            dropped["on the ego vehicle"] += 1
        else:
            kept.append(detection)
    counted = []
    # Where people are offered no rider, who rides is a person.
    for detection in name_riders(kept) if RIDER in labels else kept:
        if detection.name in labels:
            counted.append(detection)
        else:
            dropped[f"{detection.name!r} is no label of the job"] += 1
    return FrameLabels(merged, Detections(width, height, tuple(counted)), dropped, tuple(candidates))


def _is_on_ego(detection: Detection, ego_mask: Sequence[Point] | None) -> bool:
    return ego_mask is not None and covered_share(detection.box, ego_mask) > EGO_SHARE


def _threshold(detection: Detection, models: Mapping[str, Model]) -> float:
    """The least confidence that counts: the mean of the thresholds of those whose votes made it, by their weight."""
    asked = [models[model] for model in (*detection.models, *detection.missed)]
    total = sum(model.weight for model in asked)
    return sum(model.weight * model.threshold_of(detection.name) for model in asked) / total
