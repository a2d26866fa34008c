"""What one model found in one frame, before it is merged with what others found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from autolabel.labels.detections import Detection
from autolabel.models.catalogue import Model

# One object under two names of a confusable group: two objects that overlap so much are hardly ever both labelled.
GROUP_IOU = 0.7


class ModelDetections(NamedTuple):
    """What one model that answered saw of a frame."""

    model: Model
    detections: Sequence[Detection]
