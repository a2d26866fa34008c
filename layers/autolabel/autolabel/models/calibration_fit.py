"""Fits calibrations to labels. Only the command line uses it; no function imports it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autolabel.labels.detections import Box
from autolabel.models.calibration import EDGE, MAX_SHIFT, Calibration

Floats = npt.NDArray[np.float64]

# Prior standard deviations of slope and offset around the identity: a choice. A hundred labels outweigh it, one label
# does not.
PRIOR = np.array([0.25, 0.5])
_IDENTITY = np.array([1.0, 0.0])
# For each side, as shares of the box: the prior standard deviation of its shift, which is 0 before any label; and the
# spread of its single misses: with four sides that miss by 7 %, the IoU is nearly 0.8. The standard error of the median
# of n misses is sqrt(pi / 2n) times their spread.
_SHIFT_PRIOR, _SPREAD = 0.03, 0.07
_PRIOR_BOXES = math.pi / 2.0 * (_SPREAD / _SHIFT_PRIOR) ** 2
_STEPS = 50
_TOLERANCE = 1e-9


def fit_calibration(scores: Sequence[float], hits: Sequence[bool], objects: int) -> Calibration:
    """Fit the calibration of one model and class to which of its detections were objects.

    `scores`: of all its detections, also those below every threshold; `hits`: whether each was matched with an object
    of its own; `objects`: the number of objects. Slope (never negative) and offset are the likeliest under a prior
    around the identity, so that few labels change little and no labels change nothing. For the same reason the recall
    counts one more object, as found. Raises ValueError for impossible numbers.
    """
    found = int(np.count_nonzero(hits))
    if len(scores) != len(hits) or found > objects:
        raise ValueError(f"{len(scores)} scores and {found} of {len(hits)} hits do not fit {objects} objects")
    clipped = np.clip(np.asarray(scores, dtype=np.float64), EDGE, 1.0 - EDGE)
    evidence = np.stack([np.log(clipped / (1.0 - clipped)), np.ones(len(clipped))], axis=1)
    truth = np.asarray(hits, dtype=np.float64)
    weights = _likeliest(evidence, truth, PRIOR)
    if weights[0] < 0.0:
        # Scores that are lower for objects than for false detections count as scores without information.
        evidence[:, 0] = 0.0
        weights = np.array([0.0, _likeliest(evidence, truth, PRIOR)[1]])
    return Calibration(float(weights[0]), float(weights[1]), (found + 1) / (objects + 1))


def fit_shift(found: Sequence[Box], true: Sequence[Box]) -> Box:
    """Compute how far the sides of one model's boxes of one class must move.

    `found`: the model's boxes; `true`: the boxes of their objects, in the same order.

    Takes the median of each side's misses, as a share of the box, so that a few boxes on other objects do not count. A
    prior draws it towards 0, so that few boxes move the sides little.
    """
    if not found:
        return (0.0, 0.0, 0.0, 0.0)
    boxes = np.asarray(found, dtype=np.float64)
    sizes = boxes[:, 2:] - boxes[:, :2]
    missed = (np.asarray(true, dtype=np.float64) - boxes) / np.concatenate([sizes, sizes], axis=1)
    likely = np.median(missed, axis=0) * (len(boxes) / (len(boxes) + _PRIOR_BOXES))
    left, top, right, bottom = np.clip(likely, -MAX_SHIFT, MAX_SHIFT).tolist()
    return (left, top, right, bottom)


def _likeliest(evidence: Floats, truth: Floats, prior: Floats) -> Floats:
    """Minimise the loss, which has one minimum, with Newton's method; halve steps that increase the loss."""
    weights = _IDENTITY.copy()
    loss = _loss(weights, evidence, truth, prior)
    for _ in range(_STEPS):
        confidence = 1.0 / (1.0 + np.exp(-np.clip(evidence @ weights, -500.0, 500.0)))
        slope = evidence.T @ (confidence - truth) + (weights - _IDENTITY) / prior**2
        curve = (evidence.T * (confidence * (1.0 - confidence))) @ evidence + np.diag(1.0 / prior**2)
        step = np.linalg.solve(curve, slope)
        while (after := _loss(weights - step, evidence, truth, prior)) > loss and np.abs(step).max() > _TOLERANCE:
            step /= 2.0
        if after > loss or np.abs(step).max() < _TOLERANCE:
            break
        weights, loss = weights - step, after
    return weights


def _loss(weights: Floats, evidence: Floats, truth: Floats, prior: Floats) -> float:
    odds = evidence @ weights
    return float(np.sum(np.logaddexp(0.0, odds) - truth * odds) + np.sum(((weights - _IDENTITY) / prior) ** 2) / 2.0)
