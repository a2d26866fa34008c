"""Average precision with intervals, and points of the precision-recall curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autolabel_cli.models.matching import Verdict

Floats = npt.NDArray[np.float64]

# COCO's thresholds: 0.5 to 0.95.
IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
AT_50, AT_70 = IOUS.index(0.5), IOUS.index(0.7)
# COCO averages precision at 101 recalls; KITTI's 40 give nearly the same.
_RECALLS = np.linspace(0.0, 1.0, 101)
_EDGES = (2.5, 97.5)


def draw_resamples(frames: int, count: int, seed: int) -> Floats:
    """Counts of each frame [1 + count, frames]: first each frame once, then `count` draws with replacement."""
    drawn = np.random.default_rng(seed).multinomial(frames, np.full(frames, 1.0 / frames), count)
    return np.concatenate([np.ones((1, frames)), drawn])


class Curve:
    """The precision-recall curve of one scored class over all frames, at one IoU threshold."""

    def __init__(self, verdicts: Sequence[Verdict], threshold: int) -> None:
        frames = np.concatenate([np.full(len(v.confidences), index) for index, v in enumerate(verdicts)])
        judged = ~np.concatenate([v.ignored[threshold] for v in verdicts])
        confidences = np.concatenate([v.confidences for v in verdicts])[judged]
        hits = np.concatenate([v.hits[threshold] for v in verdicts])[judged]
        self._points = len(hits), int(hits.sum())
        order = np.argsort(-confidences, kind="stable")
        # Guesses after the last hit change neither the precision at a recall nor the average.
        order = order[: int(np.flatnonzero(hits[order])[-1]) + 1 if hits.any() else 0]
        self._frames = frames[judged][order].astype(np.intp)
        self._hits = hits[order]
        self._objects = np.array([v.objects for v in verdicts], np.float64)

    def average_precision(self, resamples: Floats) -> Floats:
        """COCO's average precision of each resample [resamples, frames]; NaN where no object counts."""
        right, wrong, objects = self._sums(resamples)
        rows, length = right.shape
        if not length:
            return np.where(objects > 0, 0.0, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            recall = right / objects[:, None]
            precision = np.nan_to_num(right / (right + wrong))
        best_beyond = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        best_beyond = np.concatenate([best_beyond, np.zeros((rows, 1))], axis=1)
        # Searches all rows at once: each row is shifted above the one before.
        shift = 2.0 * np.arange(rows)[:, None]
        places = np.searchsorted((np.nan_to_num(recall) + shift).ravel(), (_RECALLS + shift).ravel() - 1e-12)
        places = places.reshape(rows, -1) - np.arange(rows)[:, None] * length
        average = np.take_along_axis(best_beyond, places, axis=1).mean(axis=1)
        return np.where(objects > 0, average, np.nan)

    def precision_at(self, recall: float, resamples: Floats) -> Floats:
        """The precision at the highest threshold that reaches a recall; NaN where none does."""
        right, wrong, objects = self._sums(resamples)
        reached = right >= recall * objects[:, None] - 1e-9
        reached &= right > 0
        if not reached.shape[1]:
            return np.full(len(resamples), np.nan)
        at = reached.argmax(axis=1)
        rows = np.arange(len(at))
        with np.errstate(invalid="ignore"):
            precision = right[rows, at] / (right + wrong)[rows, at]
        return np.where(reached[rows, at], precision, np.nan)

    def operating_point(self) -> tuple[float, float]:
        """Precision and recall of all guesses; NaN without guesses or without objects."""
        (count, right), objects = self._points, float(self._objects.sum())
        return (right / count if count else np.nan, right / objects if objects else np.nan)

    def _sums(self, resamples: Floats) -> tuple[Floats, Floats, Floats]:
        drawn = resamples[:, self._frames]
        right = np.cumsum(drawn * self._hits, axis=1)
        wrong = np.cumsum(drawn * ~self._hits, axis=1)
        return right, wrong, resamples @ self._objects


def interval(values: Floats) -> tuple[float, float]:
    """The middle 95 % of resampled values; NaN, NaN when there are none."""
    known = values[~np.isnan(values)]
    low, high = np.percentile(known, _EDGES) if len(known) else (np.nan, np.nan)
    return float(low), float(high)
