"""Other merges to compare with: non-maximum suppression across models, and weighted boxes fusion as published."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ensemble_boxes import nms, weighted_boxes_fusion

from autolabel.labelling.model_detections import ModelDetections
from autolabel.labels.detections import Detection, Detections, repair_box
from autolabel.labels.taxonomy import current_taxonomy
from tools.quality.precision import Floats

# The values of ensemble-boxes' examples.
_NMS_IOU = 0.5
_WBF_IOU = 0.55
_NAMES = current_taxonomy().names


def merge_by_suppression(found: Sequence[ModelDetections], width: int, height: int) -> Detections:
    """Merge by non-maximum suppression within each class, over the detections of all models."""
    boxes, scores, labels = _inputs(found, width, height)
    return _outputs(nms(boxes, scores, labels, iou_thr=_NMS_IOU), width, height)


def merge_by_boxes(found: Sequence[ModelDetections], width: int, height: int) -> Detections:
    """Merge by weighted boxes fusion, all models as if independent, with the weights of the catalogue."""
    boxes, scores, labels = _inputs(found, width, height)
    weights = [model.weight for model, _ in found]
    return _outputs(weighted_boxes_fusion(boxes, scores, labels, weights=weights, iou_thr=_WBF_IOU), width, height)


def _inputs(
    found: Sequence[ModelDetections], width: int, height: int
) -> tuple[list[list[list[float]]], list[list[float]], list[list[int]]]:
    size = np.array([width, height, width, height], float)
    boxes = [[(np.array(d.box) / size).tolist() for d in detections] for _, detections in found]
    scores = [[d.confidence for d in detections] for _, detections in found]
    labels = [[_NAMES.index(d.name) for d in detections] for _, detections in found]
    return boxes, scores, labels


def _outputs(merged: tuple[Floats, Floats, Floats], width: int, height: int) -> Detections:
    items = []
    for box, score, label in zip(*merged, strict=True):
        x1, y1, x2, y2 = (float(v) * side for v, side in zip(box, (width, height, width, height), strict=True))
        repaired = repair_box((x1, y1, x2, y2), width, height)
        if repaired is not None:
            score = min(1.0, float(score))
            name = _NAMES[int(label)]
            items.append(Detection(name, repaired, score, score, name, ("baseline",)))
    items.sort(key=lambda d: -d.confidence)
    return Detections(width, height, tuple(items))
