"""The detections of one model in one frame, before they are merged with those of other models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from autolabel.labels.detections import Detection
from autolabel.models.catalogue import Model

# Above this IoU, two detections of one group are one object under two names: two real objects hardly ever overlap
# this much.
GROUP_IOU = 0.7


class ModelDetections(NamedTuple):
    """The detections of one model that answered for a frame."""

    model: Model
    detections: Sequence[Detection]
