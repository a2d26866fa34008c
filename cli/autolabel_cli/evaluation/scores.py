"""Scores of one system on one class, added up frame by frame."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from autolabel_cli.evaluation.document import Scores
from autolabel_cli.models.matching import Verdict, average_precisions, draws, resampled_precisions

AT = 0.5
IOUS = (AT, 0.7)
_DIGITS = 4


@dataclass
class Tally:
    """What is kept of all frames: 17 bytes for each candidate, eight for each frame, and four counts."""

    objects: int = 0
    right: int = 0
    judged: int = 0
    _confidences: array[float] = field(default_factory=lambda: array("d"))
    # One bit for each IoU.
    _hits: bytearray = field(default_factory=bytearray)
    # The frame of each candidate, and each frame's objects.
    _frames: array[int] = field(default_factory=lambda: array("l"))
    _objects: array[int] = field(default_factory=lambda: array("l"))

    def add(self, candidates: Sequence[Verdict], prelabels: Sequence[Verdict]) -> None:
        """Add frames: the verdicts on all candidates at IOUS, and those on the pre-labels at AT."""
        for verdict in candidates:
            self.objects += verdict.objects
            self._objects.append(verdict.objects)
            # A candidate that is ignored at one IoU may count at the other; both are kept.
            kept = ~verdict.ignored.all(axis=0)
            self._confidences.frombytes(verdict.confidences[kept].tobytes())
            self._frames.extend([len(self._objects) - 1] * int(kept.sum()))
            bits = verdict.hits[:, kept] * np.array([[1], [2]]) + verdict.ignored[:, kept] * np.array([[4], [8]])
            self._hits += bits.sum(axis=0).astype(np.uint8).tobytes()
        for verdict in prelabels:
            counted = ~verdict.ignored[0]
            self.judged += int(np.count_nonzero(counted))
            self.right += int(np.count_nonzero(verdict.hits[0] & counted))

    def scores(self) -> Scores:
        """Compute the scores of all frames so far."""
        confidences, bits = np.frombuffer(self._confidences), np.frombuffer(self._hits, np.uint8)
        precisions = []
        for at, iou in enumerate(IOUS):
            counted = (bits & (4 << at)) == 0
            hits = (bits[counted] & (1 << at)) > 0
            precisions += average_precisions(confidences[counted], hits[None], self.objects, [iou])
        return Scores(
            self.objects,
            rounded(precisions[0]),
            rounded(precisions[1]),
            rounded(self.right / self.judged) if self.judged else None,
            rounded(self.right / self.objects) if self.objects else None,
        )

    def resampled(self) -> npt.NDArray[np.float64]:
        """Compute the average precision at AT [draws] of frames that are drawn again and again, as `draws` says."""
        bits = np.frombuffer(self._hits, np.uint8)
        counted = (bits & 4) == 0
        confidences, places = np.frombuffer(self._confidences)[counted], np.frombuffer(self._frames, np.int64)[counted]
        weights = draws(len(self._objects))
        return resampled_precisions(confidences, (bits[counted] & 1) > 0, places, np.array(self._objects), weights, AT)


def rounded(value: float) -> float | None:
    """Round a number for people and JSON; None instead of NaN."""
    return None if math.isnan(value) else round(value, _DIGITS)
