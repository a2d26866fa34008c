"""Compute what a count of errors proves: exact one-sided bounds of a share."""

from __future__ import annotations

import math
from functools import cache

CONFIDENCE = 0.95
# The largest error of a bound.
_PRECISION = 1e-12


@cache
def lower_bound(trials: int, errors: int, confidence: float = CONFIDENCE) -> float:
    """Compute the lower bound of the share that is right, from `errors` in `trials` independent trials.

    Clopper and Pearson's bound (Biometrika 1934): at this share, at most `errors` errors have a chance of
    1 - `confidence`. 59 trials without an error prove 0.95, 93 with one. It is 0 without trials. The confidence holds
    for one look at the trials, not for repeated looks.
    """
    if not 0 <= errors <= trials:
        raise ValueError(f"there cannot be {errors} errors in {trials} trials")
    if errors == trials:
        return 0.0
    low, high = 0.0, 1.0
    while high - low > _PRECISION:
        share = (low + high) / 2
        if _chance_of_few(trials, errors, share) < 1.0 - confidence:
            low = share
        else:
            high = share
    return low


@cache
def proves(trials: int, errors: int, target: float, confidence: float = CONFIDENCE) -> bool:
    """Return whether the lower bound reaches a target between 0 and 1, without computing the bound."""
    return errors < trials and _chance_of_few(trials, errors, target) <= 1.0 - confidence


@cache
def trials_needed(errors: int, target: float, confidence: float = CONFIDENCE) -> int:
    """Return the least number of trials that prove a target (below 1) with this number of errors."""
    low, high = errors, errors + 1
    while not proves(high, errors, target, confidence):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if proves(middle, errors, target, confidence):
            high = middle
        else:
            low = middle
    return high


def _chance_of_few(trials: int, errors: int, share: float) -> float:
    """Compute the chance of at most `errors` errors if `share` of trials is right: the binomial's lower tail."""
    right, wrong = math.log(share), math.log1p(-share)
    known = math.lgamma(trials + 1)
    return math.fsum(
        math.exp(known - math.lgamma(n + 1) - math.lgamma(trials - n + 1) + n * wrong + (trials - n) * right)
        for n in range(errors + 1)
    )
