"""Intervals of shares."""

from __future__ import annotations

import math

# The share of the times that an interval holds the true share is 95 %.
_Z = 1.96


def share_interval(share: float, count: int) -> tuple[float, float]:
    """Compute the interval of a share of `count` things at 95 % (Wilson, JASA 22, 1927)."""
    middle = share + _Z**2 / (2 * count)
    half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    whole = 1 + _Z**2 / count
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)
