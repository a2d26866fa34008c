"""What is true of a frame: its objects, and the regions in which detections do not count."""

from __future__ import annotations

from typing import NamedTuple

from autolabel.labels.detections import Box

COUNTS, IGNORED, REGION = "counts", "ignored", "region"


class Truth(NamedTuple):
    """An object or region of a frame (xyxy pixels); `standing`: COUNTS, IGNORED or REGION."""

    box: Box
    standing: str
