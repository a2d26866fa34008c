"""Defines a model's coverage: where a missed object is a vote against the object."""

from __future__ import annotations

import math

import msgspec

from autolabel.labels.detections import Box


class Coverage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The objects that a model should find. Missing another object is not a vote against that object.

    `classes`: of the taxonomy; empty: all of its class map. Heights of boxes are in pixels of the frame. `region`:
    left, top, right, bottom as shares of the frame; a box's centre must be in it. `cameras`: empty: all.
    """

    classes: tuple[str, ...] = ()
    min_height: float = 0.0
    max_height: float | None = None
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    cameras: tuple[str, ...] = ()

    def wrong(self) -> str:
        """Say what is wrong with the coverage; empty if nothing is."""
        left, top, right, bottom = self.region
        if not (0.0 <= left < right <= 1.0 and 0.0 <= top < bottom <= 1.0):
            return f"the region {self.region} is not left < right and top < bottom from 0 to 1"
        if not 0.0 <= self.min_height < (math.inf if self.max_height is None else self.max_height):
            return f"min_height {self.min_height} is negative, or not below max_height {self.max_height}"
        return ""

    def sees(self, camera: str, box: Box, width: int, height: int) -> bool:
        """Check whether the coverage includes a box (xyxy, pixels) in a frame of `width` x `height`, for any class."""
        if self.cameras and camera not in self.cameras:
            return False
        x1, y1, x2, y2 = box
        if not self.min_height <= y2 - y1 <= (math.inf if self.max_height is None else self.max_height):
            return False
        left, top, right, bottom = self.region
        return left <= (x1 + x2) / 2 / width <= right and top <= (y1 + y2) / 2 / height <= bottom
