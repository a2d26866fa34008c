"""Truth of a frame: its objects, and the regions where detections do not count."""

from __future__ import annotations

from typing import NamedTuple

from autolabel.labels import Box

COUNTS, IGNORED, REGION = "counts", "ignored", "region"


class Truth(NamedTuple):
    """Object or region of a frame (xyxy pixels). `role`: COUNTS, IGNORED or REGION."""

    box: Box
    role: str
