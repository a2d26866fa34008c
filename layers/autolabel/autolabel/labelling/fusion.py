"""Fusion: what several models saw of one frame, merged into one set of detections.

What several models saw is put to the vote (`voting.py`); then, as with one model, an object has one name of its
confusable group, and classes over which models have authority come from them alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from autolabel.labelling.model_detections import GROUP_IOU, ModelDetections
from autolabel.labels.detections import Detection, Detections, box_iou, rank
from autolabel.labels.taxonomy import current_taxonomy

# Changes whenever the same answers would come to other labels.
FUSION = "2026.1"
# Of each model, when several are merged, whose work grows by the square: more than a manifest's line has room for.
MAX_SIGHTINGS = 500


def merge_frame(
    seen: Sequence[ModelDetections], camera: str, width: int, height: int
) -> tuple[Detections, Counter[str]]:
    """What the models that answered saw of a frame of `width` x `height` pixels, merged; most confident first.

    And how many detections were left out, by why.
    """
    dropped: Counter[str] = Counter()
    claimed = _claimed(seen)
    allowed = _authorised(seen, claimed, dropped) if claimed else seen
    if len(allowed) > 1:
        # Here and not above: a run of one model does not pay for numpy.
        from autolabel.labelling.weighted_boxes import vote_on

        merged = vote_on([_strongest(one, dropped) for one in allowed], claimed, camera, width, height)
    else:
        merged = [d for one in allowed for d in one.detections]
    kept = _suppress_other_names(merged)
    if len(kept) < len(merged):
        dropped["another name for the same object"] = len(merged) - len(kept)
    return Detections(width, height, tuple(kept)), dropped


def _claimed(seen: Sequence[ModelDetections]) -> dict[str, set[str]]:
    """The classes over which models that answered have authority, each with those models."""
    claims = {name: {one.model.id for one in seen if name in one.model.authority} for name in current_taxonomy().names}
    return {name: models for name, models in claims.items() if models}


def _authorised(
    seen: Sequence[ModelDetections], claimed: Mapping[str, set[str]], dropped: Counter[str]
) -> Sequence[ModelDetections]:
    """Without what models say of classes over which others have authority."""
    allowed = []
    for model, detections in seen:
        kept = [d for d in detections if model.id in claimed.get(d.name, {model.id})]
        if len(kept) < len(detections):
            dropped[f"{model.id} has no authority over the class"] += len(detections) - len(kept)
        allowed.append(ModelDetections(model, kept))
    return allowed


def _strongest(one: ModelDetections, dropped: Counter[str]) -> ModelDetections:
    if len(one.detections) <= MAX_SIGHTINGS:
        return one
    dropped[f"weaker than {MAX_SIGHTINGS} others of its model"] += len(one.detections) - MAX_SIGHTINGS
    return ModelDetections(one.model, sorted(one.detections, key=rank)[:MAX_SIGHTINGS])


def _suppress_other_names(detections: Sequence[Detection]) -> list[Detection]:
    """Without what lies, under another name of its group, where a more confident detection does."""
    groups = current_taxonomy().groups
    kept: list[Detection] = []
    rivals: dict[str, list[Detection]] = {}
    for detection in sorted(detections, key=rank):
        same = rivals.setdefault(groups[detection.name], [])
        if all(one.name == detection.name or box_iou(one.box, detection.box) <= GROUP_IOU for one in same):
            same.append(detection)
            kept.append(detection)
    return kept
