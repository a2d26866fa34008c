"""A model's reach: where its silence says something."""

from __future__ import annotations

import math

import msgspec

from autolabel.labels.detections import Box


class Coverage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a model can be expected to see; that it does not see what lies outside is no vote against it.

    `classes` of the taxonomy, all of its class map when empty. Heights of boxes in pixels of the frame. `region`: left,
    top, right, bottom as shares of the frame, in which a box's centre lies. `cameras`: all when empty.
    """

    classes: tuple[str, ...] = ()
    min_height: float = 0.0
    max_height: float | None = None
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    cameras: tuple[str, ...] = ()

    def wrong(self) -> str:
        """What makes no sense in it; empty when it does."""
        left, top, right, bottom = self.region
        if not (0.0 <= left < right <= 1.0 and 0.0 <= top < bottom <= 1.0):
            return f"the region {self.region} is no left, top, right, bottom from 0 to 1"
        if not 0.0 <= self.min_height < (math.inf if self.max_height is None else self.max_height):
            return f"no box is higher than {self.min_height} and lower than {self.max_height} pixels"
        return ""

    def sees(self, camera: str, box: Box, width: int, height: int) -> bool:
        """Whether a box (xyxy, pixels) in a frame of `width` x `height` lies within reach, its class aside."""
        if self.cameras and camera not in self.cameras:
            return False
        x1, y1, x2, y2 = box
        if not self.min_height <= y2 - y1 <= (math.inf if self.max_height is None else self.max_height):
            return False
        left, top, right, bottom = self.region
        return left <= (x1 + x2) / 2 / width <= right and top <= (y1 + y2) / 2 / height <= bottom
