"""Calibration: what a model's score is worth, by class."""

from __future__ import annotations

import math

import msgspec

# Scores of 0 and 1 have no finite log odds.
EDGE = 1e-6


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a score becomes a confidence: `sigmoid(slope * logit(score) + offset)` (Platt, 1999, on log odds).

    `recall`: the share of objects within reach that the model sees, which is what its silence is worth.
    """

    slope: float = 1.0
    offset: float = 0.0
    recall: float = 1.0

    def wrong(self) -> str:
        """What makes no sense in it; empty when it does."""
        if not (0.0 <= self.slope <= 100.0 and abs(self.offset) <= 100.0):
            return f"a slope of {self.slope} and an offset of {self.offset} calibrate nothing"
        if not 0.0 <= self.recall <= 1.0:
            return f"the recall {self.recall} is not between 0 and 1"
        return ""

    def confidence(self, score: float) -> float:
        """The calibrated score, 0 to 1."""
        if (self.slope, self.offset) == (1.0, 0.0):
            return score
        score = min(max(score, EDGE), 1.0 - EDGE)
        odds = self.slope * math.log(score / (1.0 - score)) + self.offset
        return 1.0 / (1.0 + math.exp(-odds)) if odds > -500.0 else 0.0


IDENTITY = Calibration()
