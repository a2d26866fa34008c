"""Merge the detections of all models of one frame into one set.

Several models vote (`weighted_boxes.py`). Then, as with one model, an object gets one name of its group. A class over
which some models have authority comes from these models alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from autolabel.labelling.model_detections import GROUP_IOU, ModelDetections
from autolabel.labels.detections import Detection, Detections, box_iou, rank
from autolabel.labels.taxonomy import current_taxonomy

# Detections of each model if several are merged, because that work grows with the square. A manifest line has no room
# for more.
MAX_DETECTIONS = 500


def merge_frame(
    found: Sequence[ModelDetections], camera: str, width: int, height: int
) -> tuple[Detections, Counter[str]]:
    """Merge the detections of the models that answered, in a frame of `width` x `height` pixels.

    Returns the merged detections, most confident first, and the counts of dropped ones by reason.
    """
    dropped: Counter[str] = Counter()
    claimed = _claimed(found)
    allowed = _authorised(found, claimed, dropped) if claimed else found
    if len(allowed) > 1:
        # Imported here, so that a run of one model loads no numpy.
        from autolabel.labelling.weighted_boxes import vote_on

        merged = vote_on([_strongest(one, dropped) for one in allowed], claimed, camera, width, height)
    else:
        merged = [d for one in allowed for d in one.detections]
    kept = _suppress_other_names(merged)
    if len(kept) < len(merged):
        dropped["another name for the same object"] = len(merged) - len(kept)
    return Detections(width, height, tuple(kept)), dropped


def _claimed(found: Sequence[ModelDetections]) -> dict[str, set[str]]:
    """Return the classes over which models that answered have authority, each with the ids of these models."""
    claims = {name: {one.model.id for one in found if name in one.model.authority} for name in current_taxonomy().names}
    return {name: models for name, models in claims.items() if models}


def _authorised(
    found: Sequence[ModelDetections], claimed: Mapping[str, set[str]], dropped: Counter[str]
) -> Sequence[ModelDetections]:
    """Drop the detections of classes over which only other models have authority."""
    allowed = []
    for model, detections in found:
        kept = [d for d in detections if model.id in claimed.get(d.name, {model.id})]
        if len(kept) < len(detections):
            dropped[f"{model.id} has no authority over the class"] += len(detections) - len(kept)
        allowed.append(ModelDetections(model, kept))
    return allowed


def _strongest(one: ModelDetections, dropped: Counter[str]) -> ModelDetections:
    if len(one.detections) <= MAX_DETECTIONS:
        return one
    dropped[f"weaker than {MAX_DETECTIONS} others of its model"] += len(one.detections) - MAX_DETECTIONS
    return ModelDetections(one.model, sorted(one.detections, key=rank)[:MAX_DETECTIONS])


def _suppress_other_names(detections: Sequence[Detection]) -> list[Detection]:
    """Drop a detection if a more confident one of its group has the same place and another name."""
    groups = current_taxonomy().groups
    kept: list[Detection] = []
    rivals: dict[str, list[Detection]] = {}
    for detection in sorted(detections, key=rank):
        same = rivals.setdefault(groups[detection.name], [])
        if all(one.name == detection.name or box_iou(one.box, detection.box) <= GROUP_IOU for one in same):
            same.append(detection)
            kept.append(detection)
    return kept
