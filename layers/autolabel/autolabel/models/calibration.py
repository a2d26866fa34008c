"""Calibrates a model's scores and boxes, by class."""

from __future__ import annotations

import math

import msgspec

from autolabel.labels.detections import Box

# Scores of 0 and 1 have no finite log odds.
EDGE = 1e-6
# A side this close to the frame's edge, in pixels, is where the object leaves the frame.
CUT_OFF = 1.0
# A box with a side that is off by more than this share of the box shows another object.
MAX_SHIFT = 0.25


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Turns a score into a confidence: `sigmoid(slope * logit(score) + offset)` (Platt, 1999, on log odds).

    `recall`: the share of the objects in its coverage that the model finds; it is the weight of all votes of the model.
    `shift`: how far left, top, right and bottom of its boxes must move, as shares of a box's width and height.
    """

    slope: float = 1.0
    offset: float = 0.0
    recall: float = 1.0
    shift: Box = (0.0, 0.0, 0.0, 0.0)

    def wrong(self) -> str:
        """Say what is wrong with the calibration; empty if nothing is."""
        if not (0.0 <= self.slope <= 100.0 and abs(self.offset) <= 100.0):
            return f"the slope {self.slope} is not 0 to 100, or the offset {self.offset} is not -100 to 100"
        if not 0.0 <= self.recall <= 1.0:
            return f"the recall {self.recall} is not between 0 and 1"
        if not all(abs(side) <= MAX_SHIFT for side in self.shift):
            return f"the shift {self.shift} moves a side by more than {MAX_SHIFT} of its box"
        return ""

    def confidence(self, score: float) -> float:
        """Compute the calibrated score, 0 to 1."""
        if (self.slope, self.offset) == (1.0, 0.0):
            return score
        score = min(max(score, EDGE), 1.0 - EDGE)
        odds = self.slope * math.log(score / (1.0 - score)) + self.offset
        return 1.0 / (1.0 + math.exp(-odds)) if odds > -500.0 else 0.0

    def place(self, box: Box, width: int, height: int) -> Box:
        """Shift the sides of a box (xyxy, pixels), and keep it inside the frame of `width` x `height`.

        A side at the frame's edge stays there.
        """
        if not any(self.shift):
            return box
        x1, y1, x2, y2 = box
        left, top, right, bottom = self.shift
        wide, high = x2 - x1, y2 - y1
        return (
            max(0.0, x1 + left * wide) if x1 > CUT_OFF else x1,
            max(0.0, y1 + top * high) if y1 > CUT_OFF else y1,
            min(float(width), x2 + right * wide) if x2 < width - CUT_OFF else x2,
            min(float(height), y2 + bottom * high) if y2 < height - CUT_OFF else y2,
        )


IDENTITY = Calibration()


def least_worthwhile(delete_cost: float) -> float:
    """Compute the confidence from which a pre-label is expected to save work.

    `delete_cost`: the cost to delete a box, if it costs 1 to draw one. A box that is right with probability p saves
    p drawings and costs 1 - p deletions.
    """
    return delete_cost / (1.0 + delete_cost)
